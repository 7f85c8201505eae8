import pytest

from harness import preflight
from harness.model.experiment import AssertionSpec, Experiment, Scope, WorkloadRef
from harness.model.facts import HpaFact, PdbFact, PodFact, ScaledObjectFact, WorkloadFact
from harness.model.load import LoadProfile, Stage

PLANNER = {"app": "planner"}
HPA = HpaFact("u1", "agents", "planner", target="Deployment/planner", active=True, able=True)
PDB = PdbFact("u2", "agents", "planner", selector=PLANNER, min_available="2")
POD = PodFact("u3", "agents", "planner-1", labels=PLANNER, phase="Running", ready=True)


def experiment(*specs):
    return Experiment(
        name="e", title="t", hypothesis="h", probes=(), load=LoadProfile("p", (Stage("burst", 10, 60, 60),), {"U": 1}),
        faults=(), assertions=specs, scope=Scope(("agents",), (WorkloadRef("agents", "planner", PLANNER),)),
        components=("core",), settle_s=10, timeout_s=100, runbook="",
    )  # fmt: skip


SCALES = AssertionSpec("scales", "autoscaler_response", {"autoscaler": "hpa/agents/planner"})
KEDA = AssertionSpec("scales", "autoscaler_response", {"autoscaler": "scaledobject/agents/tool-adapter"})
SAFE = AssertionSpec("safe", "pdb_safety", {"pdb": "agents/planner"})


def test_a_healthy_platform_has_no_findings():
    facts = {"hpa": [HPA], "pdb": [PDB], "pod": [POD]}
    assert preflight.find_all(experiment(SCALES, SAFE), facts) == ()


def test_a_deleted_hpa_concerns_the_autoscaler_answer_only():
    (finding,) = preflight.find_all(experiment(SCALES, SAFE), {"pdb": [PDB], "pod": [POD]})
    assert (finding.code, finding.concerns) == ("autoscaler-missing", ("autoscaler_response",))
    assert "subject" not in finding.detail()


@pytest.mark.parametrize("active", [False, None])
def test_b05_f11_an_hpa_that_cannot_scale_is_a_finding_and_unknown_is_not_healthy(active):
    dead = HpaFact("u1", "agents", "planner", active=active, active_reason="FailedGetResourceMetric")
    (finding,) = preflight.find_all(experiment(SCALES), {"hpa": [dead]})
    assert finding.code == "autoscaler-dead"
    assert preflight.not_yet_known(experiment(SCALES), {"hpa": [dead]})


def test_a_paused_or_unready_scaledobject_is_a_finding_f16():
    paused = ScaledObjectFact("u", "agents", "tool-adapter", paused=True, ready=True)
    unready = ScaledObjectFact("u", "agents", "tool-adapter", ready=False)
    codes = [preflight.find_all(experiment(KEDA), {"scaledobject": [o]})[0].code for o in (paused, unready)]
    assert codes == ["autoscaler-paused", "autoscaler-dead"]


def test_two_budgets_over_the_same_pods_are_a_finding_f01():
    rival = PdbFact("u9", "agents", "other", selector=PLANNER)
    apart = PdbFact("u8", "agents", "apart", selector={"app": "x"})
    (finding,) = preflight.find_all(experiment(SAFE), {"pdb": [PDB, rival, apart], "pod": [POD]})
    assert finding.code == "pdb-overlap"
    assert "agents/other" in finding.message


def test_a_missing_budget_is_a_finding():
    assert preflight.find_all(experiment(SAFE), {})[0].code == "pdb-missing"


def test_load_waits_for_ready_pods_with_metrics_f20():
    unready = PodFact("u4", "agents", "planner-2", labels=PLANNER, phase="Running", ready=False)
    leaving = PodFact("u5", "agents", "planner-3", labels=PLANNER, phase="Running", terminating=True)
    lacks = preflight.unready_workloads(experiment(), {"pod": [POD, unready, leaving]}, {"agents": {}})
    assert lacks == ("pod agents/planner-2 is not Ready", "pod agents/planner-1 has no metrics yet")
    assert not preflight.unready_workloads(experiment(), {"pod": [POD]}, {"agents": {"planner-1": 0.1}})


@pytest.mark.parametrize(
    ("replicas", "selector", "asleep"), [(0, "app=a", True), (1, "app=a", False), (0, "app=b", False)]
)
def test_only_victims_of_a_workload_at_zero_may_be_missing_before_the_load(replicas, selector, asleep):
    workload = WorkloadFact("u", "agents", "a", spec_replicas=replicas, selector={"app": "a"})
    arguments = {"namespace": "agents", "selector": selector}
    assert preflight.rests_at_zero({"workload": [workload]}, arguments) is asleep
    assert not preflight.rests_at_zero({"workload": [workload]}, arguments | {"namespace": "other"})
