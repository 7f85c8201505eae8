"""Records that `pending_time` and `preemption` must pass, fail or leave open."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.facts import PodFact
from harness.model.fault import Loss
from harness.model.verdict import Outcome, Verdict
from tests.replay.builders import ORIGIN, Run, asserting, good_run, judged, pod
from tests.replay.fault_builders import node_victim, one_fault, tell_fault

PENDING, PREEMPTION = "pending_time", "preemption"
GPU = {"app": "inference"}
BATCH = {"app": "batch"}
PREEMPTED = "PreemptionByScheduler"


def pending(run: Run, **params: Any) -> Verdict:
    asked = {"namespace": "agents", "selector": "app=planner"} | params
    verdict: Verdict = judged(asserting(run, PENDING, **asked), PENDING)
    return verdict


def wait_for_node(run: Run, made_s: float, node_s: float | None, name: str = "slow", **changes: Any) -> Run:
    """Add a pod that waits, and then has a node and is Ready."""
    waiting = {"node": "", "phase": "Pending", "ready": False, "reason": "Unschedulable"} | changes
    run.fact(made_s, pod(name, **waiting))
    if node_s is not None:
        run.fact(node_s, pod(name, phase="Pending", ready=False, **changes))
        run.fact(node_s + 1, pod(name, **changes))
    return run


def test_pods_that_get_a_node_at_once_pass() -> None:
    verdict = pending(good_run(), within="1s")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures == {"pods": 10.0, "pending_max_s": pytest.approx(0.1)}


def test_a_pod_that_waits_too_long_fails_with_its_name_time_and_reason() -> None:
    verdict = pending(wait_for_node(good_run(), 100, 131), within="30s")
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason == "pod slow waited 31.0 s (Unschedulable), the limit is 30 s"


def test_a_pod_that_still_waits_counts_until_the_end() -> None:
    verdict = pending(wait_for_node(good_run(), 100, None), within="30s")
    assert verdict.outcome is Outcome.FAIL
    assert "pod slow waited 80.0 s (Unschedulable) and still waits" in verdict.reason


def test_a_pod_that_still_waits_within_its_limit_leaves_it_open() -> None:
    verdict = pending(wait_for_node(good_run(), 170, None), within="30s")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "at the end of the record, 30 s are allowed" in verdict.reason


def test_a_pod_that_went_without_a_node_waited_all_its_life() -> None:
    run = wait_for_node(good_run(), 100, None)
    run.fact(140, pod("slow", node="", ready=False, terminating=True, deleted=True))
    verdict = pending(run, within="30s")
    assert "pod slow waited 40.0 s (Unschedulable) and went without a node" in verdict.reason


def test_where_nothing_was_made_it_is_open_unless_none_need_be() -> None:
    verdict = pending(good_run(), selector="app=ghost")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "nothing had to be scheduled" in verdict.reason
    assert pending(good_run(), selector="app=ghost", created_min=0).outcome is Outcome.PASS
    assert "only 10 pods were made" in pending(good_run(), created_min=11).reason


def test_pods_that_ran_before_the_load_are_not_counted() -> None:
    run = good_run()
    run.drop("pod", lambda t, s, d: t < 5)
    assert pending(run).outcome is Outcome.INCONCLUSIVE


def test_pods_of_which_none_got_a_node_leave_it_open() -> None:
    run = good_run()
    run.drop("pod")
    run.fact(100, pod("slow", node="", ready=False))
    run.fact(110, pod("slow", node="", ready=False, deleted=True))
    assert "no pod ever got a node" in pending(run).reason


def test_a_hole_in_the_watch_leaves_it_open_either_way() -> None:
    for run in (good_run(), wait_for_node(good_run(), 100, 131)):
        run.say(120, "cluster", "watch", "pods in agents", state="hole", gap_s=4.0, reason="silent")
        verdict = pending(run, within="30s")
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert "blind at +120s (silent)" in verdict.reason


def test_a_pod_that_was_listed_late_is_timed_by_its_own_times() -> None:
    run = good_run()
    made = ORIGIN.timestamp() + 20
    run.fact(100, pod("late", created_unix_s=made, scheduled_unix_s=made + 40, ready_unix_s=made + 41))
    verdict = pending(run, within="30s")
    assert verdict.outcome is Outcome.FAIL
    assert "pod late waited 40.0 s" in verdict.reason


def test_without_load_pending_time_is_open() -> None:
    run = good_run()
    run.drop("load-edge")
    assert pending(run).outcome is Outcome.INCONCLUSIVE


# Preemption -----------------------------------------------------------------------------------------------------------


def inference(name: str = "inference-1", **changes: Any) -> PodFact:
    return pod(name, **({"labels": GPU, "node": "gpu-1", "priority": 1000} | changes))


def batch(name: str = "batch-1", **changes: Any) -> PodFact:
    return pod(name, **({"labels": BATCH, "node": "gpu-1", "priority": 10} | changes))


def gpu_run(effect: str = "CONFIRMED") -> Run:
    """Return a run whose GPUs are taken from +97 s to +130 s; inference takes one of batch at +101 s."""
    run = one_fault(good_run(), "take-gpus", Loss.CAPACITY)
    tell_fault(run, "take-gpus", Loss.CAPACITY, [node_victim("gpu-1")], effect=effect)
    run.fact(50, batch())
    run.fact(100, inference(node="", ready=False, reason="Unschedulable"))
    run.fact(101, batch(terminating=True, ready=False, disruption=PREEMPTED))
    run.fact(102, batch(terminating=True, ready=False, disruption=PREEMPTED, deleted=True))
    run.fact(102.5, inference(ready=False))
    run.fact(105, inference())
    return run


def preempt(run: Run, **params: Any) -> Verdict:
    victims = {"namespace": "agents", "selector": "app=batch"}
    asked = {"namespace": "agents", "selector": "app=inference", "victims": victims} | params
    verdict: Verdict = judged(asserting(run, PREEMPTION, **asked), PREEMPTION)
    return verdict


def test_important_pods_that_preempt_unimportant_ones_pass() -> None:
    verdict = preempt(gpu_run())
    assert verdict.outcome is Outcome.PASS
    assert "inference-1 was Ready after 5.0 s (preempted for it: batch-1)" in verdict.observed
    assert verdict.figures == {"preempted_pods": 1.0, "ready_max_s": pytest.approx(5.0)}
    assert verdict.evidence == ("+101.0s batch-1 (priority 10) was preempted from gpu-1",)


def test_an_important_pod_that_is_not_ready_in_time_fails() -> None:
    run = gpu_run()
    run.drop("pod", lambda t, s, d: not (s == "agents/inference-1" and t > 101))
    verdict = preempt(run, ready_within="20s")
    assert verdict.outcome is Outcome.FAIL
    assert "inference-1 was not Ready after 30.0 s (Unschedulable), the limit is 20 s" in verdict.reason
    assert preempt(run, ready_within="60s").outcome is Outcome.INCONCLUSIVE
    assert preempt(gpu_run(), ready_within="4s").outcome is Outcome.FAIL


def test_an_important_pod_that_is_itself_preempted_fails() -> None:
    run = gpu_run()
    run.fact(120, inference(ready=False, terminating=True, disruption=PREEMPTED))
    verdict = preempt(run)
    assert verdict.outcome is Outcome.FAIL
    assert "inference-1 was itself preempted at +120.0s" in verdict.reason


def test_room_without_a_preemption_leaves_it_open() -> None:
    run = gpu_run()
    run.drop("pod", lambda t, s, d: s != "agents/batch-1")
    verdict = preempt(run)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "there was room" in verdict.reason


@pytest.mark.parametrize(("moved_s", "node"), [(108.0, "gpu-1"), (101.0, "gpu-2")])
def test_a_preemption_after_the_readiness_or_on_another_node_is_not_for_this_pod(moved_s: float, node: str) -> None:
    run = gpu_run()
    run.drop("pod", lambda t, s, d: s != "agents/batch-1")
    run.fact(moved_s, batch(node=node, terminating=True, ready=False, disruption=PREEMPTED))
    assert "there was room" in preempt(run).reason


def test_a_preemption_of_a_pod_that_is_no_less_important_fails_and_an_unknown_priority_leaves_it_open() -> None:
    run = gpu_run()
    run.change("pod", lambda t, s, d: {"priority": 1000} if s == "agents/batch-1" else None)
    assert preempt(run).outcome is Outcome.FAIL
    run.change("pod", lambda t, s, d: {"priority": None} if s == "agents/batch-1" else None)
    assert preempt(run).outcome is Outcome.INCONCLUSIVE


def test_where_nobody_wanted_capacity_it_is_open() -> None:
    run = gpu_run()
    run.drop("pod", lambda t, s, d: s != "agents/inference-1")
    assert "let it scale while the fault holds" in preempt(run).remedy


def test_capacity_that_is_not_proven_to_be_taken_leaves_it_open_a02() -> None:
    assert preempt(gpu_run(effect="ABSENT")).outcome is Outcome.INCONCLUSIVE
    assert "no fault of the method takes capacity" in preempt(good_run()).reason
    assert preempt(good_run(), during="evict-one").outcome is Outcome.INCONCLUSIVE


def test_a_hole_in_the_watch_leaves_preemption_open() -> None:
    run = gpu_run()
    run.say(104, "cluster", "watch", "pods in agents", state="hole", gap_s=4.0, reason="silent")
    assert preempt(run).outcome is Outcome.INCONCLUSIVE
