"""What people do to a real cluster is seen, and told from what controllers and Gameday itself do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.connection import MERGE_PATCH, PLAIN_MANAGER, Call
from harness.drivers.kubernetes.people import PeopleWatch
from harness.model.fault import ObjectRef, UndoRecord
from harness.model.pointer import escape
from tests.contract.cluster_world import SYSTEM_NAMESPACE, RealWorld

pytestmark = pytest.mark.testbed

DRILL_RUN = "20261128-1100-drill-7f3a"
PLANNER = "Deployment"

BESIDE = "application/strategic-merge-patch+json"
"""Adds to what is there: the cordon's own taint may have come already or not."""


class Seen:
    """A cluster with a watch on what people do, and everything that it told so far."""

    def __init__(self, world: RealWorld) -> None:
        self.world, self.actions, self.troubles = world, [], []  # type: ignore[var-annotated]
        self.watch = PeopleWatch(world._fresh(), [world.namespace], SYSTEM_NAMESPACE)

    def path(self, group: str, plural: str, name: str = "", sub: str = "") -> str:
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        parts = [root, "namespaces", self.world.namespace, plural, name, sub]
        return "/".join(part for part in parts if part)

    def write(self, method: str, path: str, body: object, manager: str = "kubectl", kind: str = MERGE_PATCH) -> Any:
        content = kind if method == "PATCH" else "application/json"
        query = {"fieldManager": manager} if manager else {}
        return self.world._admin.send(Call(f"{method} {path}", method, path, query, body, content))

    def told(self, obj: str, what: str) -> dict[str, str]:
        """Wait until a change is told, and return it."""

        def look() -> dict[str, str] | None:
            self.actions += self.watch.poll()
            self.troubles += self.watch.troubles()
            return next((a for a in self.actions if a["object"].startswith(obj) and what in a["what"]), None)

        try:
            return self.world.until(look, f"{obj}: {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}; told are {self.actions}") from error

    def revised(self, revision: str) -> None:
        """Wait until the planner's newest template has a revision of its own: before, nobody could go back from it."""
        path = self.path("apps/v1", "deployments", "planner")
        noted = "deployment.kubernetes.io/revision"
        self.world.until(
            lambda: self.world._admin.get("read planner", path)["metadata"]["annotations"][noted] == revision,
            f"revision {revision}",
        )


@pytest.fixture
def seen(real_world: RealWorld) -> Iterator[Seen]:
    real_world.deploy("planner", 2)
    found = Seen(real_world)
    found.watch.start()
    try:
        yield found
    finally:
        found.watch.stop()


def who(action: dict[str, str]) -> tuple[str, str]:
    return action["manager"], action["origin"]


def test_scaling_by_hand_is_a_persons_and_by_an_autoscaler_a_controllers(seen: Seen) -> None:
    scale = seen.path("apps/v1", "deployments", "planner", "scale")
    seen.write("PATCH", scale, {"spec": {"replicas": 3}})
    assert who(seen.told("Deployment", "replicas 2 → 3")) == ("kubectl", "human")
    hpa = {
        "metadata": {"name": "planner"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "planner"},
            "minReplicas": 5, "maxReplicas": 6,
        },
    }  # fmt: skip
    seen.write("POST", seen.path("autoscaling/v2", "horizontalpodautoscalers"), hpa)
    assert who(seen.told("HorizontalPodAutoscaler", "created")) == ("kubectl", "human")
    assert who(seen.told("Deployment", "replicas 3 → 5")) == ("kube-controller-manager", "controller")
    assert seen.troubles == []


def test_a_change_of_image_and_its_rollback_are_told(seen: Seen) -> None:
    path = seen.path("apps/v1", "deployments", "planner")
    for image, manager in (("pause", "kubectl-set"), ("sleep", "kubectl-rollout")):
        spec = {"containers": [{"name": "main", "image": image, "command": ["sleep", "600"]}]}
        seen.write("PATCH", path, {"spec": {"template": {"spec": spec}}}, manager)
        text = "image of main sleep → pause" if image == "pause" else "rolled back to revision 1: image of main"
        assert who(seen.told("Deployment", text)) == (manager, "human")
        seen.revised("2" if image == "pause" else "3")
    restart = {"kubectl.kubernetes.io/restartedAt": "2026-11-28T11:00:00Z"}
    seen.write("PATCH", path, {"spec": {"template": {"metadata": {"annotations": restart}}}}, "kubectl-rollout")
    seen.told("Deployment", "restarted (rollout restart)")
    assert not [a for a in seen.actions if a["object"].startswith("Pod ")], "a rollout takes its pods away itself"


def test_a_cordon_is_told_and_the_taint_that_follows_is_not(seen: Seen) -> None:
    node = f"/api/v1/nodes/{seen.world.node}"
    seen.write("PATCH", node, {"spec": {"unschedulable": True}})
    assert who(seen.told("Node", "cordoned")) == ("kubectl", "human")
    taint = {"key": "maintenance", "value": "yes", "effect": "NoSchedule"}
    seen.write("PATCH", node, {"spec": {"taints": [taint]}}, "kubectl-taint", BESIDE)
    assert who(seen.told("Node", "taint maintenance=yes:NoSchedule added")) == ("kubectl-taint", "human")
    seen.write("PATCH", node, {"spec": {"unschedulable": None, "taints": None}})
    assert who(seen.told("Node", "uncordoned")) == ("", "unknown"), "what is taken away has no owner any more"
    assert not [a for a in seen.actions if "unschedulable" in a["what"]]


def test_what_gitops_reverts_is_told_as_such(seen: Seen) -> None:
    path = seen.path("apps/v1", "deployments", "planner")
    seen.write("PATCH", path, {"spec": {"replicas": 1}}, "argocd-controller")
    assert who(seen.told("Deployment", "replicas 2 → 1")) == ("argocd-controller", "gitops")


def test_pods_that_a_set_takes_away_are_not_told_and_others_are(seen: Seen) -> None:
    seen.write("PATCH", seen.path("apps/v1", "deployments", "planner", "scale"), {"spec": {"replicas": 1}})
    seen.told("Deployment", "replicas 2 → 1")
    actor = KubernetesActor(seen.world._admin)
    (pod,) = seen.world.until(
        lambda: found if len(found := [p for p in actor.pods(seen.world.namespace, {"app": "planner"})
                                       if not p.terminating]) == 1 else None, "one pod is left",
    )  # fmt: skip
    seen.write("DELETE", seen.path("v1", "pods", pod.name), None, manager="")
    assert who(seen.told(f"Pod {pod.subject}", "deleted")) == ("", "unknown")
    assert [a["object"] for a in seen.actions if a["object"].startswith("Pod ")] == [f"Pod {pod.subject}"]


def test_our_own_changes_are_ours_also_where_nothing_tells_but_the_undo_record(seen: Seen) -> None:
    world = seen.world
    actor = KubernetesActor(world._fresh(), manager=PLAIN_MANAGER)
    ref = ObjectRef("apps/v1", "Deployment", "planner", world.namespace)
    before = actor.get(ref)
    assert before is not None
    mark = f"/metadata/annotations/{escape('config.local/revision.0123456789ab')}"
    actor.patch(ref, before, {"/spec/replicas": 4, mark: "0123456789ab"})
    assert who(seen.told("Deployment", "replicas 2 → 4")) == (PLAIN_MANAGER, "gameday")
    world.budget("planner", "planner", 1)
    seen.told("PodDisruptionBudget", "created")
    path = seen.path("policy/v1", "poddisruptionbudgets", "planner")
    uid = world._admin.get("read", path)["metadata"]["uid"]
    record = UndoRecord("change-1", DRILL_RUN, "change", "policy/v1", "PodDisruptionBudget", world.namespace, "planner",
                        uid, "create", prior={"": {"metadata": {"name": "planner"}}})  # fmt: skip
    world.ledger().write(record)
    seen.write("DELETE", path, None, manager="")
    assert seen.told("PodDisruptionBudget", "deleted")["origin"] == "gameday"


def test_a_resource_that_may_not_be_watched_is_a_trouble_and_the_others_are_seen(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.drivers.kubernetes import people  # noqa: PLC0415
    from harness.drivers.kubernetes.resources import Resource  # noqa: PLC0415

    secrets = Resource("Secret", "secrets")
    monkeypatch.setattr(people, "WATCHED", (*people.WATCHED, secrets))
    watch = PeopleWatch(seen.world._fresh(), [seen.world.namespace], SYSTEM_NAMESPACE)
    watch.start()
    try:
        (trouble,) = watch.troubles()
        assert "secrets" in trouble["message"] and "403" in trouble["message"] and trouble["remedy"]
    finally:
        watch.stop()
