"""What people change is told in words, with its author where the API server names one; nobody is guessed at.

``recorded/people_changes.json`` holds objects of a real API server before and after each change.
"""

from __future__ import annotations

import copy
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import assembly, doctor_wiring, registries
from harness.drill.people import may_be_shown
from harness.drivers.kubernetes.connection import FIELD_MANAGER, PLAIN_MANAGER, manager_of
from harness.drivers.kubernetes.inventory import News
from harness.drivers.kubernetes.people import (
    HOLD_S,
    ObjectStates,
    PeopleWatch,
    people_permissions,
    watched_places,
)
from harness.drivers.kubernetes.people_changes import actions_between
from harness.drivers.kubernetes.people_origin import origin_of
from harness.drivers.kubernetes.people_pods import PodLosses, PodSets, loss_of
from harness.model.drill import Origin
from harness.model.fault import RUN_LABEL, Permission
from harness.model.target import AlertRoute
from tests.unit.conductor_doubles import TARGET
from tests.unit.kubernetes_stub import Exchange, status, stub_api

RECORDED = json.loads((Path(__file__).parent / "recorded" / "people_changes.json").read_text())
EXPECTED = {
    "scaled by kubectl": ("replicas 2 → 3", "kubectl", "human"),
    "scaled by the HPA controller": ("replicas 3 → 5", "kube-controller-manager", "controller"),
    "HPA edited": ("max replicas 6 → 9", "kubectl-edit", "human"),
    "image and env set": ("env TOKEN of main, image of main sleep → pause", "kubectl-set", "human"),
    "restarted": ("restarted (rollout restart)", "kubectl-rollout", "human"),
    "rollout paused": ("rollout paused", "kubectl", "human"),
    "rollout resumed": ("rollout resumed", "", "unknown"),
    "scaled by a fault": ("replicas 5 → 4", "config-revision", "gameday"),
    "cordoned": ("cordoned", "kubectl", "human"),
    "uncordoned": ("uncordoned", "", "unknown"),
    "budget lowered": ("minAvailable 2 → 1", "kubectl", "human"),
}


def obj(kind: str, name: str = "x", **parts: Any) -> dict[str, Any]:
    """Return an object in namespace agents; ``managed`` are its managedFields."""
    meta = {"name": name, "namespace": "agents", "uid": f"uid-{name}", "resourceVersion": "1", **parts.pop("meta", {})}
    managed = parts.pop("managed", [])
    return {"kind": kind, "metadata": {**meta, "managedFields": managed}, "spec": parts.pop("spec", {}), **parts}


def entry(manager: str, fields: Any, time: str = "2026-11-28T11:00:00Z", sub: str = "") -> dict[str, Any]:
    """Return one entry of managedFields."""
    return {"manager": manager, "operation": "Update", "subresource": sub, "time": time, "fieldsV1": fields}


def told(before: Any, after: Any, **more: Any) -> list[tuple[str, str, str]]:
    return [(a["what"], a["manager"], a["origin"]) for a in actions_between(before, after, **more)]


def test_every_recorded_change_has_its_expectation() -> None:
    assert set(RECORDED) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_recorded_change_is_told_with_its_author(name: str) -> None:
    pair = RECORDED[name]
    assert told(pair["before"], pair["after"]) == [EXPECTED[name]]
    assert told(pair["after"], pair["after"]) == []


def test_values_of_the_environment_are_never_told() -> None:
    pair = RECORDED["image and env set"]
    assert "s3cret" in json.dumps(pair["after"]) and "s3cret" not in json.dumps(
        actions_between(pair["before"], pair["after"])
    )


@pytest.mark.parametrize(
    ("manager", "origin"),
    [
        ("kubectl", Origin.HUMAN), ("kubectl-edit", Origin.HUMAN), ("kubectl-client-side-apply", Origin.HUMAN),
        ("Mozilla", Origin.HUMAN), ("k9s", Origin.HUMAN), ("kube-controller-manager", Origin.CONTROLLER),
        ("keda", Origin.CONTROLLER), ("keda-operator", Origin.CONTROLLER), ("argocd-controller", Origin.GITOPS),
        ("flux", Origin.GITOPS), ("kustomize-controller", Origin.GITOPS), ("helm", Origin.GITOPS),
        ("helm-controller", Origin.GITOPS), (FIELD_MANAGER, Origin.GAMEDAY), ("gameday-reaper", Origin.GAMEDAY),
        (PLAIN_MANAGER, Origin.GAMEDAY),
        ("octopus", Origin.UNKNOWN), ("", Origin.UNKNOWN), ("node-fetch", Origin.UNKNOWN),
        ("kubectlx", Origin.UNKNOWN),
    ],
)  # fmt: skip
def test_managers_are_told_apart_by_whole_names(manager: str, origin: Origin) -> None:
    assert origin_of(manager) is origin


def test_a_drills_writes_have_a_plain_name_and_a_game_days_have_ours() -> None:
    assert manager_of("20261128-1100-drill-7f3a") == PLAIN_MANAGER and "gameday" not in PLAIN_MANAGER
    assert manager_of("20261128-1100-drill-of-mine-7f3a") == FIELD_MANAGER


def test_pausing_an_autoscaler_is_told() -> None:
    key = "autoscaling.keda.sh/paused"
    fields = {"f:metadata": {"f:annotations": {f"f:{key}": {}}}}
    before = obj("ScaledObject")
    after = obj("ScaledObject", meta={"annotations": {key: "true"}}, managed=[entry("kubectl-annotate", fields)])
    assert told(before, after) == [(f"{key} unset → true", "kubectl-annotate", "human")]


def test_the_owner_of_the_field_counts_and_not_whoever_wrote_last() -> None:
    replicas = {"f:spec": {"f:replicas": {}}}
    before = obj("Deployment", spec={"replicas": 2}, managed=[entry("kubectl", {"f:spec": {"f:replicas": {}}})])
    later = entry("other", {"f:metadata": {}}, "2026-11-28T11:00:09Z")
    hpa = entry("kube-controller-manager", replicas, "2026-11-28T11:00:05Z", "scale")
    after = obj("Deployment", spec={"replicas": 5}, managed=[later, hpa])
    assert told(before, after) == [("replicas 2 → 5", "kube-controller-manager", "controller")]


def test_whoever_owned_a_field_that_somebody_took_away_is_not_blamed() -> None:
    fields = {"f:spec": {"f:paused": {}}, "f:metadata": {"f:labels": {}}}
    before = obj("Deployment", spec={"paused": True}, managed=[entry("kubectl", fields)])
    after = obj("Deployment", spec={}, managed=[entry("kubectl", {"f:metadata": {"f:labels": {}}})])
    assert told(before, after) == [("rollout resumed", "", "unknown")]


def test_a_mark_of_ours_tells_of_what_was_taken_away_with_it() -> None:
    before = obj("Node", spec={"unschedulable": True})
    for mark in (
        "gameday.local/changed-by.0123456789ab",
        "config.local/revision.0123456789ab",
        "gameday.local/last-undo",
    ):
        after = obj("Node", spec={}, meta={"annotations": {mark: "x"}})
        assert told(before, after) == [("uncordoned", FIELD_MANAGER, "gameday")], mark


def test_a_helper_of_a_run_is_ours_from_its_making_to_its_end() -> None:
    policy = obj("NetworkPolicy", meta={"labels": {RUN_LABEL: "r"}}, managed=[entry("kubectl", {"f:spec": {}})])
    changed = copy.deepcopy(policy) | {"spec": {"ingress": []}}
    for pair in ((None, policy), (policy, changed), (policy, None)):
        assert [origin for *_, origin in told(*pair)] == ["gameday"], pair


def test_what_belongs_to_a_controller_is_deleted_by_it_and_anything_else_by_nobody_known() -> None:
    owner = {"kind": "ScaledObject", "name": "tools", "uid": "u", "controller": True}
    assert told(obj("HorizontalPodAutoscaler", meta={"ownerReferences": [owner]}), None) == [
        ("deleted", "ScaledObject/tools", "controller")
    ]
    assert told(obj("PodDisruptionBudget"), None) == [("deleted", "", "unknown")]


def test_labels_of_nodes_and_taints_are_told_and_what_follows_a_cordon_is_not() -> None:
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    mine = {"key": "mine", "effect": "NoSchedule"}
    before = obj("Node", spec={"taints": [mine], "podCIDR": "a"}, meta={"labels": {"gpu": "yes"}})
    after = obj("Node", spec={"taints": [cordon], "podCIDR": "b"}, meta={"labels": {"gpu": "no"}})
    assert [what for what, *_ in told(before, after)] == ["taint mine=:NoSchedule removed", "label gpu yes → no"]


# pods -----------------------------------------------------------------------------------------------------------------


def replica_set(replicas: int, revision: str = "1", image: str = "a") -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "p", "pod-template-hash": image}},
        "spec": {"containers": [{"name": "m", "image": image}]},
    }
    meta = {
        "annotations": {"deployment.kubernetes.io/revision": revision},
        "ownerReferences": [{"kind": "Deployment", "name": "p", "uid": "uid-p", "controller": True}],
    }
    return obj("ReplicaSet", f"p-{image}", meta=meta, spec={"replicas": replicas, "template": template})


def pod(name: str, owner: str = "ReplicaSet", **parts: Any) -> dict[str, Any]:
    refs = [{"kind": owner, "name": "p-a", "uid": "uid-p-a", "controller": True}] if owner else []
    return obj("Pod", name, meta={"ownerReferences": refs, "deletionTimestamp": "t"}, **parts)


def test_a_set_that_asks_for_fewer_explains_as_many_losses() -> None:
    sets = PodSets()
    sets.take(None, replica_set(3))
    sets.take(None, replica_set(2))
    losses = [loss_of(pod(name), sets) for name in ("one", "two")]
    assert losses[0] is None
    assert losses[1] == {"object": "Pod agents/two", "what": "deleted", "manager": "", "origin": "unknown"}


def test_a_stateful_set_that_rolls_out_takes_its_pods_away() -> None:
    sets = PodSets()
    for update in ("a", "b"):
        one = obj("StatefulSet", "p-a", spec={"replicas": 2}, status={"updateRevision": update})
        sets.take(None, one)
    assert [loss_of(pod(n, "StatefulSet"), sets) is None for n in ("1", "2", "3")] == [True, True, False]


@pytest.mark.parametrize("reason", ["DeletionByTaintManager", "DeletionByPodGC", "PreemptionByScheduler"])
def test_what_the_cluster_takes_away_is_no_persons_doing(reason: str) -> None:
    found = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason}]}
    assert loss_of(pod("x", status=found), PodSets()) is None


def test_an_eviction_is_told_without_a_name_and_ends_of_jobs_are_not() -> None:
    evicted = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}
    told_of = loss_of(pod("x", status=evicted, spec={"nodeName": "n1"}), PodSets())
    assert told_of is not None and (told_of["what"], told_of["origin"]) == ("evicted from n1", "unknown")
    assert loss_of(pod("x", "Job"), PodSets()) is None
    assert loss_of(pod("x", "", status={"phase": "Succeeded"}), PodSets()) is None
    assert loss_of(pod("x", ""), PodSets()) is not None


def test_a_helper_pod_of_a_run_is_taken_away_by_it() -> None:
    helper = obj("Pod", "gameday-part-1", meta={"labels": {RUN_LABEL: "r"}, "deletionTimestamp": "t"})
    told_of = loss_of(helper, PodSets())
    assert told_of is not None and told_of["origin"] == "gameday"


def test_a_pod_goes_once_however_often_it_is_seen() -> None:
    losses, present = PodLosses(), obj("Pod", "a")
    assert losses.replace([present]) == []
    assert len(losses.apply("MODIFIED", pod("a"))) == 1
    assert losses.apply("MODIFIED", pod("a")) == [] and losses.apply("DELETED", pod("a")) == []
    assert losses.apply("DELETED", pod("a")) == [], "what is not known is no news"
    losses.apply("ADDED", obj("Pod", "b"))
    assert [news.subject for news in losses.replace([])] == ["uid-b"], "it went while nobody looked"


def test_an_older_template_is_a_rollback_and_a_new_one_is_not() -> None:
    sets = PodSets()
    for revision, image in (("1", "a"), ("2", "b"), ("3", "c")):
        sets.take(None, replica_set(1, revision, image))
    sets.take(None, replica_set(1, "4", "a"))
    current = {"annotations": {"deployment.kubernetes.io/revision": "2"}}

    def deployment(image: str) -> dict[str, Any]:
        spec = {"containers": [{"name": "m", "image": image}]}
        return obj(
            "Deployment", "p", meta=current, spec={"template": {"metadata": {"labels": {"app": "p"}}, "spec": spec}}
        )

    older = sets.older(deployment("b"))
    assert [number for number, _ in older] == ["1"], "as it was first seen, and none that came after"
    assert (
        told(deployment("b"), deployment("a"), revisions=older)[0][0] == "rolled back to revision 1: image of m b → a"
    )
    assert told(deployment("b"), deployment("c"), revisions=older)[0][0] == "image of m b → c"


# the watch ------------------------------------------------------------------------------------------------------------


def test_what_is_there_at_first_is_no_news_and_a_list_that_lacks_something_is() -> None:
    states = ObjectStates(lambda before, after: [News("action", "u", a) for a in actions_between(before, after)])
    one, two = obj("PodDisruptionBudget", "a", spec={"minAvailable": 2}), obj("PodDisruptionBudget", "b")
    assert states.replace([one, two]) == []
    changed = obj("PodDisruptionBudget", "a", spec={"minAvailable": 1})
    assert [n.detail["what"] for n in states.apply("MODIFIED", changed)] == ["minAvailable 2 → 1"]
    assert states.apply("MODIFIED", changed) == []
    assert [n.detail["what"] for n in states.replace([changed])] == ["deleted"]
    assert [n.detail["what"] for n in states.apply("ADDED", two)] == ["created"]
    assert [n.detail["what"] for n in states.apply("DELETED", two)] == ["deleted"]
    assert states.apply("DELETED", two) == []


LEDGER = "/api/v1/namespaces/gameday-system/configmaps"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_losses_wait_to_be_explained_and_undo_records_name_us() -> None:
    clock = Clock()
    record = {
        "schema": "gameday.undo/1", "record_id": "r", "run_id": "x", "fault": "f", "api_version": "v1", "kind": "Pod",
        "namespace": "agents", "name": "a", "uid": "uid-a", "operation": "none",
    }  # fmt: skip
    stored = {"metadata": {"name": "u", "namespace": "gameday-system"}, "data": {"record": json.dumps(record)}}
    with stub_api() as (api, connection):
        api.on("GET", LEDGER, lambda asked: asked.json(200, {"metadata": {}, "items": [stored]}))
        watch = PeopleWatch(connection, ["agents"], "gameday-system", clock)
        for name in ("a", "b"):
            watch._say(0.0, News("pod-loss", f"uid-{name}", pod(name, "")))
        assert watch.poll() == []
        clock.now_s = HOLD_S
        assert [(a["object"], a["origin"]) for a in watch.poll()] == [
            ("Pod agents/a", "gameday"), ("Pod agents/b", "unknown"),
        ]  # fmt: skip
        assert watch.poll() == [] and watch.troubles() == []


def test_records_that_cannot_be_read_are_a_trouble_and_nobody_is_named() -> None:
    with stub_api() as (api, connection):
        api.on("GET", LEDGER, lambda asked: asked.json(403, status(403, "Forbidden", "no")))
        watch = PeopleWatch(connection, ["agents"], "gameday-system", Clock())
        watch._say(0.0, News("action", "u", actions_between(obj("PodDisruptionBudget"), None)[0]))
        (action,) = watch.poll()
        assert action["origin"] == "unknown" and not may_be_shown(action)
        (trouble,) = watch.troubles()
        assert "undo records cannot be read" in trouble["message"]


def test_a_hole_in_a_watch_is_told() -> None:
    with stub_api() as (_, connection):
        watch = PeopleWatch(connection, ["agents"], "gameday-system", Clock())
        watch._say(5.0, News("watch", "pods in agents", {"state": "hole", "gap_s": 4.2, "reason": "410"}))
        watch._say(5.0, News("watch", "pods in agents", {"state": "open", "gap_s": 0.0, "reason": ""}))
        (trouble,) = watch.troubles()
        assert "pods in agents may have been missed for 4 s" in trouble["message"]


def asked_for(exchange: Exchange) -> Permission | None:
    """Return the right that a request needs; None for discovery, which everybody may do."""
    found = re.fullmatch(r"/(?:api|apis/([^/]+))/[^/]+(?:/namespaces/([^/]+))?/([^/]+)", exchange.path)
    verb = "watch" if "watch" in exchange.query else "list"
    return Permission(verb, found[3], found[1] or "", "", found[2] or "") if found else None


def test_every_read_of_the_watch_is_among_the_rights_that_are_printed_and_nothing_else_is() -> None:
    wanted = set(people_permissions(["agents", "ml"], "gameday-system"))
    resource = {"kind": "ScaledObject", "name": "scaledobjects", "namespaced": True}
    with stub_api() as (api, connection):
        api.on("GET", "/apis/keda.sh/v1alpha1", lambda asked: asked.json(200, {"resources": [resource]}))
        api.on("GET", LEDGER, lambda asked: asked.json(200, {"metadata": {}, "items": []}))
        for kind, place in watched_places(["agents", "ml"], keda=True):
            path = kind.path(place)
            api.on("GET", path, lambda asked: asked.json(200, {"metadata": {"resourceVersion": "1"}, "items": []}))
            api.on("GET?watch", path, lambda asked: asked.stream(then="silent"))
        watch = PeopleWatch(connection, ["agents", "ml"], "gameday-system")
        watch.start()
        watch._say(0.0, News("action", "u", actions_between(obj("PodDisruptionBudget"), None)[0]))
        assert watch.poll() and not watch.troubles()
        deadline_s = time.monotonic() + 20
        while len(found := {right for one in api.requests if (right := asked_for(one))}) < len(wanted):
            assert time.monotonic() < deadline_s, f"never asked: {wanted - found}"
            time.sleep(0.05)
        api.ended.set()
        watch.stop()
    assert found == wanted


def test_a_drill_needs_more_rights_than_the_same_game_day_and_an_experiment_without_one_no_more() -> None:
    drill, game_day = (registries.load(registries.experiment_path(name)) for name in ("network-policy", "queue-burst"))
    target = replace(TARGET, namespaces=("agents",))
    more = set(assembly.drill_permissions(drill, target)) - set(assembly.driver_permissions(drill, target))
    agents = {(p.verb, p.resource) for p in more if p.namespace == "agents"}
    assert {("watch", "networkpolicies"), ("list", "replicasets"), ("watch", "replicasets")} <= agents
    assert assembly.drill_permissions(game_day, target) == ()


def test_the_doctor_asks_for_a_drills_rights_only_where_people_can_be_paged() -> None:
    drill = registries.load(registries.experiment_path("network-policy"))
    paged = replace(TARGET, drill=AlertRoute("http://127.0.0.1:9093"))
    more = set(doctor_wiring.needs(drill, paged)) - set(doctor_wiring.needs(drill, TARGET))
    assert {one.resource for one in more} == {"replicasets", "networkpolicies", "scaledobjects"}


def test_participants_see_only_what_is_surely_neither_the_fault_nor_an_answer_to_it() -> None:
    shown = {origin for origin in Origin if may_be_shown({"origin": origin.value})}
    assert shown == {Origin.HUMAN, Origin.GITOPS}
    assert not may_be_shown({})
