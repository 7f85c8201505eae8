"""What is read of an autoscaler of nodes, what it needs to be allowed, and what is found before a run (CASES F17)."""

import pytest

from harness import preflight
from harness.drivers.kubernetes.facts import node_fact, pod_fact
from harness.drivers.kubernetes.inventory import EventLog
from harness.drivers.kubernetes.node_autoscaler import (
    flags_fact,
    is_autoscaler,
    more_watches,
    permissions,
    status_fact,
)
from harness.drivers.kubernetes.observer import KubernetesObserver, observer_permissions
from harness.drivers.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS, EVENTS, HPAS, JOBS, NODES, PDBS, PODS
from harness.drivers.kubernetes.resources import STATEFUL_SETS as SETS
from harness.drivers.system_clock import RealClock
from harness.model.experiment import AssertionSpec, Scope
from harness.model.facts import NodeAutoscalerFact, NodeAutoscalerFlagsFact
from harness.rbac import manifests
from harness.spec_assertions import contradictions, node_autoscalers
from harness.store_events import fits
from tests.unit.kubernetes_stub import pod, pod_list, stub_api
from tests.unit.test_preflight import experiment

STATUS, SYSTEM = "kube-system/cluster-autoscaler-status", "kube-system"
SCOPE = Scope(("agents",), node_autoscalers=(STATUS,))
TEXT = """Cluster-autoscaler status at 2024-01-05 14:42:56.660050258 +0000 UTC:
Cluster-wide:
  Health:      Healthy (ready=3 unready=0 notStarted=1 longNotStarted=0 registered=4 longUnregistered=0)
               LastProbeTime:      2024-01-05 14:42:56.011239739 +0000 UTC m=+80.696615970
               LastTransitionTime: 2024-01-05 14:42:43.688753191 +0000 UTC m=+30.485862849
  ScaleUp:     InProgress (ready=3 registered=4)
               LastProbeTime:      2024-01-05 14:42:56.011239739 +0000 UTC m=+80.696615970
  ScaleDown:   CandidatesPresent (candidates=1)
               LastProbeTime:      2024-01-05 14:42:56.011239739 +0000 UTC m=+80.696615970

NodeGroups:
  Name:        https://provider/groups/general
  Health:      Healthy (ready=3 unready=0 notStarted=1 registered=4 cloudProviderTarget=4 (minSize=2, maxSize=5))
               LastProbeTime:      2024-01-05 14:42:56.011239739 +0000 UTC m=+80.696615970
  ScaleUp:     Backoff (ready=3 cloudProviderTarget=4)
  ScaleDown:   CandidatesPresent (candidates=1)
"""
YAML = """time: "2024-01-05 14:42:56.660050258 +0000 UTC"
autoscalerStatus: Running
clusterWide:
  health:
    status: Healthy
    nodeCounts:
      registered: {total: 4, ready: 3, notStarted: 1}
    lastProbeTime: "2024-01-05T14:42:56Z"
  scaleUp:
    status: InProgress
  scaleDown:
    status: CandidatesPresent
    candidates: 1
nodeGroups:
- name: https://provider/groups/general
  health:
    status: Healthy
    cloudProviderTarget: 4
    minSize: 2
    maxSize: 5
  scaleUp:
    status: Backoff
    backoffInfo:
      errorCode: QUOTA_EXCEEDED
      errorMessage: "Quota 'CPUS' exceeded: limit 57"
  scaleDown: {}
"""


def config_map(text):
    meta = {"name": "cluster-autoscaler-status", "namespace": SYSTEM, "uid": "u", "resourceVersion": "7"}
    return {"metadata": meta, "data": {"status": text}}


@pytest.mark.parametrize(("text", "why"), [(TEXT, ""), (YAML, "QUOTA_EXCEEDED: Quota 'CPUS' exceeded: limit 57")])
def test_both_forms_of_the_status_say_the_same(text, why):
    fact = status_fact(config_map(text))
    group = "https://provider/groups/general"
    assert fact == NodeAutoscalerFact(
        "u", SYSTEM, "cluster-autoscaler-status", "7", state="Running", health="Healthy", scale_up="InProgress",
        scale_down="CandidatesPresent", candidates=1, min_sizes={group: 2}, max_sizes={group: 5}, targets={group: 4},
        backoffs={group: why}, updated_unix_s=1704465776.0,
    )  # fmt: skip
    assert fits(fact.kind, fact.detail())


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("Cluster-autoscaler status at 2024-01-05 14:42:56.6 +0000 UTC:\nInitializing", "Initializing"),
        ('time: "2024-01-05 14:42:56 +0000 UTC"\nautoscalerStatus: Initializing\n', "Initializing"),
        ("", ""), ("- a list", ""), ("clusterWide: [", ""), ("autoscalerStatus: {a: b}", ""), ("just words", ""),
        ("autoscalerStatus: Running\nnodeGroups:\n- health: {minSize: many}\n", ""),
        ("Cluster-autoscaler status at no time", ""),
    ],
)  # fmt: skip
def test_a_status_that_has_not_begun_or_cannot_be_read_has_no_figures(text, state):
    fact = status_fact(config_map(text))
    assert (fact.state, fact.candidates, fact.targets) == (state, None, {})
    assert status_fact({**config_map(text), "data": None}).state == ""


def deployment(*words, image="registry.k8s.io/autoscaling/cluster-autoscaler:v1.32.0", **container):
    meta = {"name": "ca", "namespace": SYSTEM, "uid": "u", "resourceVersion": "7"}
    containers = [
        {"image": "proxy", "args": ["--scan-interval=1s"]},
        {"image": image, "args": list(words), **container},
    ]
    return {"metadata": meta, "spec": {"template": {"spec": {"containers": containers}}}}


def test_flags_are_read_as_the_program_reads_them_and_no_others_are_kept():
    obj = deployment(
        "--v=4", "--cloud-config=/etc/secret", "--scale-down-unneeded-time=1m", "--scale-down-unneeded-time", "5m0s",
        "--skip-nodes-with-local-storage=false", "-scan-interval='20s'", "--scale-down-enabled",
        command=["./cluster-autoscaler", "--scale-down-delay-after-add=2m"],
    )  # fmt: skip
    fact = flags_fact(obj)
    assert fact.flags == {
        "scale-down-unneeded-time": "5m0s", "skip-nodes-with-local-storage": "false", "scan-interval": "20s",
        "scale-down-enabled": "true", "scale-down-delay-after-add": "2m",
    }  # fmt: skip
    assert fits(fact.kind, fact.detail())


@pytest.mark.parametrize(
    ("container", "found"),
    [
        ({}, True),
        ({"image": "mirror.example/ca/cluster-autoscaler@sha256:1"}, True),
        ({"image": "own", "command": ["/bin/cluster-autoscaler"]}, True),
        ({"image": "cluster-autoscaler-exporter:1"}, False),
        ({"image": "dns", "command": ["dns"]}, False),
    ],
)
def test_an_autoscaler_is_known_by_its_command_or_its_image(container, found):
    assert is_autoscaler(deployment(**container)) is found


def test_a_deployment_that_is_an_autoscaler_no_more_is_gone():
    sink = next(each.sink for each in more_watches(STATUS, ()) if each.resource == DEPLOYMENTS)
    other = deployment(image="other")
    assert sink.replace([other]) == []
    assert [n.detail["deleted"] for n in sink.apply("MODIFIED", deployment("--scan-interval=1s"))] == [False]
    assert [f.flags for f in sink.facts()] == [{"scan-interval": "1s"}]
    assert [n.detail["deleted"] for n in sink.apply("MODIFIED", other)] == [True]
    assert sink.apply("DELETED", other) == []


def test_what_keeps_a_pod_on_its_node_is_read():
    volumes = [
        {"name": "cache", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/x"}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}}, {"name": "settings", "configMap": {"name": "s"}},
        {"name": "excused", "emptyDir": {}},
    ]  # fmt: skip
    prefix = "cluster-autoscaler.kubernetes.io/"
    obj = pod("a", "u1", "1")
    assert (pod_fact(obj).safe_to_evict, pod_fact(obj).local_volumes) == (None, [])
    obj["spec"]["volumes"] = volumes
    obj["metadata"]["annotations"] = {
        f"{prefix}safe-to-evict": "false",
        f"{prefix}safe-to-evict-local-volumes": "excused",
    }
    assert (pod_fact(obj).safe_to_evict, pod_fact(obj).local_volumes) == (False, ["cache", "host"])
    node = {"metadata": {"name": "n", "uid": "u", "annotations": {f"{prefix}scale-down-disabled": "true"}}}
    assert node_fact(node).kept is True
    assert node_fact({"metadata": {"name": "n", "uid": "u"}}).kept is False


# Rights and watches ---------------------------------------------------------------------------------------------------


def test_only_the_status_itself_may_be_read_of_the_config_maps_and_nothing_may_be_written():
    found = permissions(STATUS, ("agents",))
    assert {p.verb for p in found} == {"list", "watch"}
    assert {p.name for p in found if p.resource == "configmaps"} == {"cluster-autoscaler-status"}
    roles = [m for m in manifests("r", found, {"kind": "User", "name": "u"}) if m["kind"] == "Role"]
    rules = next(role["rules"] for role in roles if role["metadata"]["namespace"] == SYSTEM)
    named = [rule for rule in rules if rule["resources"] == ["configmaps"]]
    assert [rule["resourceNames"] for rule in named] == [["cluster-autoscaler-status"]]
    assert not [rule for rule in rules if rule not in named and "resourceNames" in rule]


def test_without_such_an_assertion_nothing_more_is_asked_for():
    assert {p.namespace for p in observer_permissions(("agents",), keda=False)} == {"", "agents"}
    more = observer_permissions(("agents",), False, (STATUS,))
    assert {p.namespace for p in more} == {"", "agents", SYSTEM, "default"}
    assert len(more) == len(set(more))


def test_what_the_scope_watches_as_a_whole_is_not_watched_again():
    inside = more_watches(STATUS, (SYSTEM, "default"))
    assert [each.resource for each in inside] == [CONFIG_MAPS, DEPLOYMENTS]
    events = [each for each in more_watches(STATUS, ()) if isinstance(each.sink, EventLog)]
    assert [(each.namespace, dict(each.query)) for each in events] == [
        (SYSTEM, {"fieldSelector": "involvedObject.name=cluster-autoscaler-status"}),
        ("default", {"fieldSelector": "involvedObject.kind=Node"}),
    ]


def serve(stub, lists):
    for path, items in lists.items():
        found = pod_list("1", *items)
        stub.on("GET", path, lambda e, found=found: e.json(200, found))
        stub.on("GET?watch", path, lambda e: e.stream(then="silent"))


def test_status_and_flags_are_observed_and_the_watches_are_narrowed():
    here = {kind.path("agents"): () for kind in (PODS, DEPLOYMENTS, SETS, HPAS, PDBS, JOBS, EVENTS)}
    there = {
        CONFIG_MAPS.path(SYSTEM): (config_map(YAML),), DEPLOYMENTS.path(SYSTEM): (deployment("--scan-interval=5s"),),
        PODS.path(SYSTEM): (pod("dns", "u9", "1"),), PDBS.path(SYSTEM): (), EVENTS.path(SYSTEM): (),
        EVENTS.path("default"): (),
    }  # fmt: skip
    with stub_api() as (stub, connection):
        serve(stub, {NODES.path(): (), **here, **there})
        observer = KubernetesObserver(connection, RealClock.starting_now())
        observer.start(SCOPE)
        observer.stop()
        (status,), (flags,) = observer.current(NodeAutoscalerFact.kind), observer.current(NodeAutoscalerFlagsFact.kind)
    assert (status.state, flags.flags) == ("Running", {"scan-interval": "5s"})
    seen = observer.poll()
    assert {status.kind, flags.kind} <= {o.kind for o in seen}
    asked = {e.path: e.query for e in stub.requests if e.path == CONFIG_MAPS.path(SYSTEM)}
    assert "metadata.name" in str(asked)


# Before a run ---------------------------------------------------------------------------------------------------------

UP = AssertionSpec("up", "nodes_scaled", {"direction": "up"})
DOWN = AssertionSpec("down", "nodes_scaled", {"direction": "down"})


def told(**changes):
    base = {
        "uid": "u",
        "namespace": SYSTEM,
        "name": "cluster-autoscaler-status",
        "state": "Running",
        "health": "Healthy",
    }
    return {"nodeautoscaler": [NodeAutoscalerFact(**{**base, **changes})]}


def test_f17_no_autoscaler_of_nodes_is_found_before_the_run_and_breaks_no_promise():
    (finding,) = preflight.find_all(experiment(UP, DOWN), {})
    assert (finding.code, finding.concerns) == ("node-autoscaler-missing", ())
    assert "there is no ConfigMap kube-system/cluster-autoscaler-status" in finding.message
    assert preflight.find_all(experiment(UP, DOWN), told()) == ()


@pytest.mark.parametrize(
    ("changes", "code", "concerns"),
    [
        ({"state": ""}, "node-autoscaler-unreadable", ()),
        ({"state": "Initializing"}, "autoscaler-dead", ("nodes_scaled",)),
        ({"health": "Unhealthy"}, "autoscaler-dead", ("nodes_scaled",)),
    ],
)
def test_an_autoscaler_of_nodes_that_cannot_scale_is_a_finding(changes, code, concerns):
    (finding,) = preflight.find_all(experiment(UP), told(**changes))
    assert (finding.code, finding.concerns) == (code, concerns)


def test_the_scope_follows_from_the_assertions():
    other = AssertionSpec("o", "nodes_scaled", {"direction": "up", "status": "scaling/status"})
    assert node_autoscalers((UP, DOWN, other)) == (STATUS, "scaling/status")
    assert node_autoscalers((AssertionSpec("l", "latency", {"limit": "1s"}),)) == ()


def test_a_limit_of_the_other_direction_is_an_error():
    assert [key for key, _, _ in contradictions({"direction": "down", "offered_within": "1m", "nodes": "a=b"})] == [
        "offered_within"
    ]
    assert [key for key, _, _ in contradictions({"direction": "up", "removed_within": "1m"})] == ["removed_within"]
    assert list(contradictions({"namespace": "agents", "resource": "nvidia.com/gpu"})) == []
