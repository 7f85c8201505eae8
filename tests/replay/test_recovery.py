"""Records that `workload_recovery` must pass, fail or leave open."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.fault import Loss
from harness.model.verdict import Outcome, Verdict
from tests.replay.builders import END_S, Run, add_fault, add_loss, add_pod, asserting, good_run, judged, pod, workload
from tests.replay.fault_builders import node_victim, one_fault, tell_fault

KIND = "workload_recovery"


def recovery(run: Run, **params: Any) -> Verdict:
    """Judge the recovery of the planner."""
    verdict: Verdict = judged(asserting(run, KIND, **({"workload": "agents/planner"} | params)), KIND)
    return verdict


def without_recovery(from_s: float) -> Run:
    """Return a run in which nothing comes back after an instant."""
    run = good_run()
    run.events = [e for e in run.events if not (e[2] in {"pod", "workload"} and e[0] >= from_s and _grows(e[4]))]
    return run


def _grows(detail: dict[str, Any]) -> bool:
    return bool(detail.get("ready")) or detail.get("available_replicas") == 9


def test_each_fault_is_timed_by_itself_and_passes() -> None:
    verdict = recovery(good_run(), within="5s")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures == {
        "kill-a-third_recovery_s": pytest.approx(1.1),
        "evict-one_recovery_s": pytest.approx(1.1),
    }


def test_one_fault_can_be_named() -> None:
    verdict = recovery(good_run(), after="evict-one")
    assert verdict.outcome is Outcome.PASS
    assert list(verdict.figures) == ["evict-one_recovery_s"]


def test_a_recovery_that_is_too_slow_fails_though_the_run_waited_longer_a22() -> None:
    verdict = recovery(good_run(), within="1s")
    assert verdict.outcome is Outcome.FAIL
    assert "kill-a-third: whole again after 1.1 s, the limit is 1 s" in verdict.reason


def test_a_workload_that_never_comes_back_fails() -> None:
    verdict = recovery(without_recovery(117), within="30s")
    assert verdict.outcome is Outcome.FAIL
    assert "evict-one: the workload had 8 of 9 available at the end of the record" in verdict.reason


def test_a_record_that_ends_before_the_limit_is_open() -> None:
    verdict = recovery(without_recovery(117), within="2m", after="evict-one")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "120 s were allowed" in verdict.reason


def test_a_hole_in_the_watch_leaves_a_slow_recovery_open() -> None:
    run = without_recovery(117)
    run.say(140, "cluster", "watch", "pods in agents", state="hole", gap_s=5.0, reason="reset")
    verdict = recovery(run, within="30s", after="evict-one")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "blind at +140s (reset)" in verdict.reason


def test_a_hole_elsewhere_or_before_proves_nothing_against_a_failure() -> None:
    run = without_recovery(117)
    run.say(140, "cluster", "watch", "pods in other", state="hole", gap_s=5.0)
    run.say(100, "cluster", "watch", "pods in agents", state="hole", gap_s=5.0)
    assert recovery(run, within="30s", after="evict-one").outcome is Outcome.FAIL


def test_counters_that_lag_behind_a_kill_are_no_recovery_a13() -> None:
    run = without_recovery(97)
    run.drop("workload", lambda t, s, d: t < 97)
    assert recovery(run, within="30s", after="kill-a-third").outcome is Outcome.FAIL


def test_ready_pods_that_are_not_available_yet_are_no_recovery_f07() -> None:
    run = good_run()
    run.drop("workload", lambda t, s, d: t < 97.5)
    assert recovery(run, within="30s", after="kill-a-third").outcome is Outcome.FAIL


def test_a_status_of_an_older_generation_is_no_recovery_a13() -> None:
    run = good_run()
    run.change("workload", lambda t, s, d: {"generation": 2, "observed_generation": 1} if t > 97 else None)
    assert recovery(run, within="30s", after="kill-a-third").outcome is Outcome.FAIL


def test_a_victim_that_still_terminates_is_no_recovery_a13() -> None:
    run = good_run()
    run.drop("pod", lambda t, s, d: not (s == "agents/planner-1" and d["deleted"]))
    verdict = recovery(run, within="30s", after="kill-a-third")
    assert verdict.outcome is Outcome.FAIL
    assert "9 of 9 available" in verdict.reason


@pytest.mark.parametrize("effect", ["ABSENT", "UNCLEAR"])
def test_a_fault_that_is_not_proven_leaves_it_open_a02(effect: str) -> None:
    run = good_run()
    run.change("fault", lambda t, s, d: {"effect": effect} if d["step"] == "evidence" and s == "evict-one" else None)
    verdict = recovery(run)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert f"evict-one: effect {effect}" in verdict.reason


def test_a_fault_that_was_never_carried_out_leaves_it_open_a01() -> None:
    run = good_run()
    run.drop("fault")
    assert "was never carried out" in recovery(run).reason


def test_a_fault_that_the_method_lacks_leaves_it_open() -> None:
    assert (
        "the experiment has no fault typo (it has: kill-a-third, evict-one)"
        in recovery(good_run(), after="typo").reason
    )


def test_a_workload_that_was_never_seen_leaves_it_open() -> None:
    assert "was never seen" in recovery(good_run(), workload="agents/ghost").reason


def test_a_workload_that_no_fault_hit_leaves_it_open() -> None:
    run = good_run()
    one_fault(run, "kill-others", Loss.ABRUPT)
    add_fault(run, 97, "kill-others", Loss.ABRUPT, ["somebody-else"])
    assert "no fault hit a pod of agents/planner" in recovery(run).reason


def test_a_victim_that_the_watch_never_saw_go_leaves_it_open() -> None:
    run = good_run()
    run.drop("pod", lambda t, s, d: not (s == "agents/planner-1" and t > 97))
    verdict = recovery(run, after="kill-a-third")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "not seen in the record that pod planner-1 was hit" in verdict.reason


def test_growth_that_is_asked_for_after_the_fault_is_not_part_of_its_recovery() -> None:
    run = good_run()
    run.fact(97.25, workload(12, available_replicas=6))
    run.drop("workload", lambda t, s, d: not 97.3 < t < 98.5)
    run.fact(98.2, workload(12, available_replicas=9))
    assert recovery(run, within="5s", after="kill-a-third").outcome is Outcome.PASS


def node_loss(noticed_s: float = 137, back_s: float = 140) -> Run:
    """Return a run that loses node-2 with a planner at +97 s; it is noticed 40 s later (CASES F19)."""
    run = good_run()
    run.fact(90, pod("planner-0", node="node-2"))
    one_fault(run, "lose-a-node", Loss.NODE)
    run.fact(89, pod("planner-0", node="node-2"))
    tell_fault(run, "lose-a-node", Loss.NODE, [node_victim("node-2")], undone_s=None)
    run.fact(noticed_s, pod("planner-0", node="node-2", ready=False))
    run.fact(noticed_s + 0.1, workload(9, available_replicas=8))
    add_pod(run, back_s, "planner-again")
    run.fact(back_s + 1, workload(9))
    return run


def test_a_lost_node_is_no_recovery_before_its_loss_is_noticed_f19() -> None:
    verdict = recovery(node_loss(), within="60s")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["lose-a-node_recovery_s"] == pytest.approx(43.8)
    assert recovery(node_loss(), within="30s").outcome is Outcome.FAIL


def test_a_lost_node_whose_pods_never_look_lost_leaves_it_open_f19() -> None:
    run = node_loss()
    run.drop("pod", lambda t, s, d: t < 137)
    assert "not seen in the record that pod planner-0 was hit" in recovery(run).reason


def test_a_dependency_fault_that_left_the_workload_alone_leaves_it_open() -> None:
    run = good_run()
    one_fault(run, "broker-away", Loss.DEPENDENCY)
    add_fault(run, 97, "broker-away", Loss.DEPENDENCY, ["broker-0"])
    assert "was never short of a pod" in recovery(run, after="broker-away").reason
    run.fact(110, workload(9, available_replicas=2))
    assert recovery(run, after="broker-away", within="20s").outcome is Outcome.FAIL
    run.fact(115, workload(9))
    verdict = recovery(run, after="broker-away", within="20s")
    assert verdict.figures["broker-away_recovery_s"] == pytest.approx(17.9)


def test_a_drain_counts_only_the_pods_that_it_took_away() -> None:
    run = good_run()
    one_fault(run, "drain", Loss.DRAIN)
    outcomes = [{"pod": "agents/planner-0", "uid": "uid-planner-0", "status": "evicted"},
                {"pod": "agents/planner-1", "uid": "uid-planner-1", "status": "left"}]  # fmt: skip
    tell_fault(run, "drain", Loss.DRAIN, [node_victim("node-1")], acted_s=99, outcomes=outcomes)
    add_loss(run, 98, "planner-0", "EvictionByEvictionAPI")
    run.fact(98.1, workload(9, available_replicas=8))
    add_pod(run, 98.5, "planner-again")
    run.fact(101, workload(9))
    verdict = recovery(run, within="5s")
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["drain_recovery_s"] == pytest.approx(2.0)


def test_without_load_it_is_open_and_a_workload_without_replicas_too() -> None:
    run = good_run()
    run.change("workload", lambda t, s, d: {"spec_replicas": 0})
    assert "no replica was asked for" in recovery(run).reason
    run.drop("load-edge")
    assert recovery(run).outcome is Outcome.INCONCLUSIVE
    assert run.record().timeline.end_s > END_S
