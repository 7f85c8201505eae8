"""Whom a fault must not hit, and how much at a time (harness.blast_radius; CASES A06)."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.blast_radius import Surroundings, objection
from harness.model.facts import NodeFact, PodFact, WorkloadFact
from tests.unit.conductor_doubles import EXPERIMENT, TARGET

APP = {"app": "planner"}
LIMITS = replace(TARGET, protected=("platform-infra/app=envoy",), namespaces=("agents", "platform-infra"))


def pods(count, **changes):
    return [PodFact(f"u{n}", "agents", f"planner-{n}", labels=APP, ready=True, node="general-1") for n in range(count)]


def workload(**changes):
    return replace(WorkloadFact("w1", "agents", "planner", selector=APP), **changes)


def nodes(*ready):
    labels = {LIMITS.pool_label: "general"}
    return [NodeFact(f"n{n}", "", f"general-{n}", labels=labels, ready=ok) for n, ok in enumerate(ready, start=1)]


def around(may_hit=(), target=LIMITS, own_node="", own_pod="", takes_nodes=True, **facts):
    facts = {"pod": pods(4), "workload": [workload()], "node": nodes(True, True), **facts}
    return Surroundings(replace(EXPERIMENT, may_hit=may_hit), target, facts, own_node, own_pod, takes_nodes)


def as_victims(kind, objects):
    return [{"kind": kind, "namespace": o.namespace, "name": o.name, "uid": o.uid} for o in objects]


def hit_pods(count, **where):
    return objection(around(**where), "kill", as_victims("Pod", pods(count)))


def hit_nodes(names, **where):
    found = around(**where)
    chosen = [node for node in found.facts["node"] if node.name in names]
    return objection(found, "drain", as_victims("Node", chosen))


@pytest.mark.parametrize(
    ("count", "problem"), [(1, ""), (2, ""), (3, "more than the share 0.5"), (4, "last Ready pod")]
)
def test_no_more_than_the_share_of_a_workload_and_never_the_last_pod(count, problem):
    found = hit_pods(count)
    assert (problem in found) if problem else found == ""
    assert not problem or "may_hit: [agents/app=planner]" in found


def test_what_the_experiment_names_may_be_hit():
    assert hit_pods(4, may_hit=("agents/app=planner",)) == ""


def test_terminating_and_unready_pods_do_not_count_as_left():
    left = [*pods(2), replace(pods(4)[2], terminating=True), replace(pods(4)[3], ready=False)]
    assert "2 of 2" in hit_pods(2, pod=left)


def test_a_victim_that_is_not_watched_is_refused():
    assert "is not watched" in hit_pods(2, pod=[])
    deployment = [SimpleNamespace(namespace="agents", name="x", uid="?")]
    assert "is not watched" in objection(around(), "scale", as_victims("Deployment", deployment))
    assert "is not watched" in objection(
        around(), "drain", [{"kind": "Node", "namespace": "", "name": "n", "uid": "n"}]
    )


def test_a_namespace_that_the_target_does_not_name_is_refused():
    elsewhere = [replace(pods(1)[0], namespace="prod")]
    assert "targets.local.namespaces" in objection(around(), "kill", as_victims("Pod", elsewhere)).replace(
        f"targets.{LIMITS.name}", "targets.local"
    )


def test_a_kind_without_a_rule_is_refused_and_a_victim_named_twice():
    odd = [{"kind": "Secret", "namespace": "agents", "name": "s", "uid": "1"}]
    assert "no rule" in objection(around(), "f", odd)
    assert "twice" in objection(around(), "f", as_victims("Pod", [pods(1)[0], pods(1)[0]]))


@pytest.mark.parametrize("kind", ["APIService", "ConfigMap", "CronJob"])
def test_a06_objects_without_pods_are_the_faults_own_matter(kind):
    assert objection(around(), "f", [{"kind": kind, "namespace": "", "name": "x", "uid": "1"}]) == ""


ENVOY = PodFact("e1", "platform-infra", "envoy-1", labels={"app": "envoy"}, ready=True, node="general-1")
GATEWAY = WorkloadFact("e2", "platform-infra", "envoy", selector={"app": "envoy"})


def test_the_gateway_is_protected_as_a_pod_as_a_deployment_and_on_its_node():
    facts = {"pod": [*pods(4), ENVOY], "workload": [workload(), GATEWAY]}
    assert "is protected" in objection(around(**facts), "kill", as_victims("Pod", [ENVOY]))
    assert "is protected" in objection(around(**facts), "scale", as_victims("Deployment", [GATEWAY]))
    assert "hosts what must not be hit" in hit_nodes({"general-1"}, **facts)
    assert hit_nodes({"general-2"}, **facts) == ""
    named = ("platform-infra/app=envoy",)
    assert hit_nodes({"general-1"}, may_hit=named, **facts) == ""
    assert hit_nodes({"general-1"}, may_hit=("node/general-1",), **facts) == ""


def test_what_runs_the_game_day_is_never_a_victim():
    assert "runs this game day" in hit_nodes({"general-1"}, own_node="general-1")
    assert "runs this game day" in hit_pods(1, own_pod="planner-0")


@pytest.mark.parametrize(
    ("ready", "names", "problem"),
    [
        ((True, True), {"general-1"}, ""),
        ((True, True), {"general-1", "general-2"}, "last node"),
        ((True,), {"general-1"}, "last node"),
        ((True, False), {"general-1"}, "last node"),
        ((True, True, False), {"general-1"}, "more than the share 0.5"),
        ((True, True, True, True), {"general-1", "general-2"}, ""),
    ],
)
def test_no_more_than_the_share_of_a_pool_and_never_its_last_node(ready, names, problem):
    found = hit_nodes(names, node=nodes(*ready))
    assert (problem in found) if problem else found == ""


def test_a_pool_that_the_experiment_names_may_be_taken_whole():
    assert hit_nodes({"general-1", "general-2"}, may_hit=("pool/general",)) == ""


def test_taking_devices_leaves_a_node_its_pods_and_is_no_loss_of_the_node():
    assert hit_nodes({"general-1", "general-2"}, takes_nodes=False) == ""


@given(total=st.integers(1, 40), hit=st.integers(1, 40), share=st.floats(0.01, 1.0))
def test_whatever_is_allowed_keeps_the_cap_and_leaves_a_pod(total, hit, share):
    every = [PodFact(f"u{n}", "agents", f"p{n}", labels=APP, ready=True) for n in range(total)]
    chosen = every[: min(hit, total)]
    found = around(target=replace(LIMITS, workload_share_max=share), pod=every)
    if objection(found, "kill", as_victims("Pod", chosen)) == "":
        assert len(chosen) < total and len(chosen) <= share * total + 1e-6
