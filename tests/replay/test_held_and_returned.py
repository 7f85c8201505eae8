"""Records that `replicas_held` and `node_recovery` must pass, fail or leave open."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.facts import NodeFact
from harness.model.fault import Loss
from harness.model.verdict import Outcome, Verdict
from tests.replay.builders import Run, asserting, good_run, hpa, judged, workload
from tests.replay.fault_builders import node_victim, one_fault, tell_fault
from tests.replay.keda_builders import keda_run, scaled_object

HELD, NODE = "replicas_held", "node_recovery"
GPU, MIG = "nvidia.com/gpu", "nvidia.com/mig-1g.5gb"


def blackout(effect: str = "CONFIRMED", undone_s: float | None = 130) -> Run:
    """Return a run whose metrics are away from +97 s to +130 s; the HPA says so and holds 9 replicas."""
    run = one_fault(good_run(), "blackout", Loss.DEPENDENCY)
    tell_fault(run, "blackout", Loss.DEPENDENCY, [], effect=effect, undone_s=undone_s)
    run.fact(105, hpa(9, None, active=False, active_reason="FailedGetResourceMetric"))
    run.fact(135, hpa(9, 70))
    return run


def replicas(run: Run, **params: Any) -> Verdict:
    asked = {"autoscaler": "hpa/agents/planner", "during": "blackout"} | params
    verdict: Verdict = judged(asserting(run, HELD, **asked), HELD)
    return verdict


def test_replicas_that_stay_while_the_scaler_is_blind_pass_with_its_own_words_as_evidence() -> None:
    verdict = replicas(blackout())
    assert verdict.outcome is Outcome.PASS
    assert verdict.evidence == ("+105.0s HPA agents/planner: ScalingActive=False (FailedGetResourceMetric)",)
    assert verdict.figures["replicas_before"] == verdict.figures["replicas_min"] == 9


def test_a_drop_while_the_demand_stays_fails_f15() -> None:
    run = blackout()
    run.fact(110, workload(3))
    run.fact(120, workload(9))
    verdict = replicas(run)
    assert verdict.outcome is Outcome.FAIL
    assert "fell from 9 to 3 at +110.0s" in verdict.reason


def test_a_drop_after_the_undo_or_after_the_burst_is_not_the_faults() -> None:
    run = blackout()
    run.fact(131, workload(3))
    assert replicas(run).outcome is Outcome.PASS
    run = blackout(undone_s=158)
    run.fact(155, workload(3))
    assert replicas(run).outcome is Outcome.PASS


def test_a_fallback_below_the_need_fails_f14() -> None:
    run = keda_run()
    one_fault(run, "blackout", Loss.DEPENDENCY)
    tell_fault(run, "blackout", Loss.DEPENDENCY, [])
    params = {"autoscaler": "scaledobject/agents/tool-adapter"}
    assert replicas(run, **params).outcome is Outcome.PASS
    run.fact(104, scaled_object(fallback=True))
    run.fact(105, workload(1, uid="uid-adapter", name="tool-adapter", selector={"app": "tool-adapter"}))
    verdict = replicas(run, **params)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.evidence == ("+104.0s ScaledObject agents/tool-adapter: Fallback=True",)


def test_a_target_at_its_minimum_leaves_it_open_for_it_could_not_fall() -> None:
    run = blackout()
    run.change("hpa", lambda t, s, d: {"min_replicas": 9})
    assert "nothing could have been taken back" in replicas(run).reason


def test_a_deleted_scaler_fails_and_a_paused_one_leaves_it_open() -> None:
    run = blackout()
    run.fact(100, hpa(9, 70, deleted=True))
    assert replicas(run).outcome is Outcome.FAIL
    run = keda_run()
    one_fault(run, "blackout", Loss.DEPENDENCY)
    tell_fault(run, "blackout", Loss.DEPENDENCY, [])
    run.fact(90, scaled_object(paused=True))
    assert replicas(run, autoscaler="scaledobject/agents/tool-adapter").outcome is Outcome.INCONCLUSIVE


def test_a_fault_that_is_not_proven_or_unknown_leaves_replicas_open_a02() -> None:
    assert "effect UNCLEAR" in replicas(blackout(effect="UNCLEAR")).reason
    assert "has no fault typo" in replicas(blackout(), during="typo").reason


def test_a_hole_a_missing_scaler_or_a_missing_workload_leaves_replicas_open() -> None:
    run = blackout()
    run.say(110, "cluster", "watch", "deployments.apps in agents", state="hole", gap_s=6.0, reason="reset")
    assert "blind at +110s (reset)" in replicas(run).reason
    assert "was never seen" in replicas(blackout(), autoscaler="hpa/agents/ghost").reason
    run = blackout()
    run.drop("workload")
    assert "are not known when the fault struck" in replicas(run).reason


def test_a_fault_without_load_leaves_replicas_open() -> None:
    run = blackout()
    run.drop("load-edge")
    assert "there was no load" in replicas(run).reason


# Nodes ----------------------------------------------------------------------------------------------------------------


def node(**changes: Any) -> NodeFact:
    base: dict[str, Any] = {"ready": True, "taints": ["gpu=true:NoSchedule"], "allocatable": {"cpu": "4", GPU: "4"}}
    return NodeFact("uid-gpu-1", "", "gpu-1", **(base | changes))


def node_run(*returns: tuple[float, NodeFact], effect: str = "CONFIRMED", undone_s: float | None = 130) -> Run:
    """Return a run that loses node gpu-1 at +97 s (noticed at +110 s) and gives it back at +130 s."""
    run = one_fault(good_run(), "lose", Loss.NODE)
    run.fact(1, node())
    tell_fault(run, "lose", Loss.NODE, [node_victim("gpu-1")], effect=effect, undone_s=undone_s)
    run.fact(110, node(ready=False, taints=["gpu=true:NoSchedule", "node.kubernetes.io/unreachable=:NoExecute"]))
    for t_s, fact in returns:
        run.fact(t_s, fact)
    return run


def returned(run: Run, **params: Any) -> Verdict:
    verdict: Verdict = judged(asserting(run, NODE, **({"fault": "lose"} | params)), NODE)
    return verdict


def test_devices_that_the_fault_took_must_be_back_without_being_named_again() -> None:
    run = one_fault(good_run(), "unplug", Loss.CAPACITY)
    run.fact(1, node(allocatable={MIG: "7", GPU: "4"}))
    tell_fault(run, "unplug", Loss.CAPACITY, [node_victim("gpu-1")], resource=MIG)
    run.fact(98, node(allocatable={MIG: "0", GPU: "4"}))
    short = returned(run, fault="unplug", ready_within="20s")
    assert short.outcome is Outcome.FAIL
    assert f"it offers 0 of 7 {MIG}" in short.reason
    run.fact(140, node(allocatable={MIG: "7", GPU: "4"}))
    assert returned(run, fault="unplug", ready_within="20s").outcome is Outcome.PASS


def test_a_node_that_is_back_in_time_passes() -> None:
    verdict = returned(node_run((140, node())), ready_within="20s")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures == {"gpu-1_recovery_s": pytest.approx(10)}


def test_a_node_that_is_back_late_or_never_fails() -> None:
    assert (
        "was back 10.0 s after the undo, the limit is 5 s"
        in returned(node_run((140, node())), ready_within="5s").reason
    )
    verdict = returned(node_run(), ready_within="20s")
    assert verdict.outcome is Outcome.FAIL
    assert "it is not Ready, it has the taint node.kubernetes.io/unreachable=:NoExecute" in verdict.reason


@pytest.mark.parametrize(
    ("state", "lacks"),
    [
        (node(unschedulable=True), "it is cordoned"),
        (node(taints=["spot=true:NoSchedule", "gpu=true:NoSchedule"]), "it has the taint spot=true:NoSchedule"),
        (node(allocatable={"cpu": "4"}), f"it offers 0 of 4 {GPU}"),
        (node(allocatable={GPU: "3"}), f"it offers 3 of 4 {GPU}"),
        (node(deleted=True), "it is gone"),
    ],
)
def test_a14_f18_a_node_that_is_ready_but_not_as_before_is_not_back(state: NodeFact, lacks: str) -> None:
    verdict = returned(node_run((140, state)), ready_within="20s", resource=GPU)
    assert verdict.outcome is Outcome.FAIL
    assert lacks in verdict.reason


def test_capacity_counts_when_it_is_offered_and_not_when_the_node_is_ready_f18() -> None:
    run = node_run((135, node(allocatable={GPU: "0"})), (150, node()))
    assert returned(run, ready_within="10s").outcome is Outcome.PASS
    assert returned(run, ready_within="10s", resource=GPU).outcome is Outcome.FAIL
    assert returned(run, ready_within="30s", resource=GPU).figures == {"gpu-1_recovery_s": pytest.approx(20)}


def test_a_node_that_comes_back_and_goes_again_is_not_back() -> None:
    assert returned(node_run((135, node()), (150, node(ready=False))), ready_within="20s").outcome is Outcome.FAIL


def test_a_loss_that_is_noticed_only_after_the_undo_is_timed_to_its_end() -> None:
    run = node_run((132, node(ready=False)), (136, node()))
    run.drop("node", lambda t, s, d: t != 110)
    assert returned(run).figures == {"gpu-1_recovery_s": pytest.approx(6)}


def test_a_cordon_of_somebody_else_may_stay() -> None:
    run = node_run((140, node(unschedulable=True)))
    run.change("node", lambda t, s, d: {"unschedulable": True} if t < 97 else None)
    assert returned(run).outcome is Outcome.PASS


def test_a_node_that_was_never_away_leaves_it_open() -> None:
    run = node_run()
    run.drop("node", lambda t, s, d: t < 97)
    assert "never seen to be away" in returned(run).reason


def test_a_record_that_ends_before_the_limit_leaves_the_node_open() -> None:
    assert "60 s are allowed" in returned(node_run(), ready_within="60s").reason


def test_a_hole_in_the_watch_of_nodes_leaves_a_late_node_open() -> None:
    run = node_run()
    run.say(150, "cluster", "watch", "nodes", state="hole", gap_s=9.0, reason="reset")
    assert returned(run, ready_within="20s").outcome is Outcome.INCONCLUSIVE


def test_what_cannot_be_compared_leaves_the_node_open() -> None:
    run = node_run((140, node()))
    assert "offered no example.com/dev before" in returned(run, resource="example.com/dev").reason
    assert "nothing shows that fault lose was taken back" in returned(node_run(undone_s=None)).reason
    assert "effect ABSENT" in returned(node_run(effect="ABSENT")).reason
    run.drop("node", lambda t, s, d: t > 97)
    assert "not seen before the fault" in returned(run).reason
    run = one_fault(good_run(), "lose", Loss.NODE)
    tell_fault(run, "lose", Loss.NODE, [])
    assert "names no node" in returned(run).reason


def test_a_node_that_was_not_well_before_leaves_it_open() -> None:
    run = node_run((140, node()))
    run.change("node", lambda t, s, d: {"ready": False} if t < 97 else None)
    assert "was not Ready before the fault" in returned(run).reason
