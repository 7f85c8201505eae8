"""Records that `pdb_safety` must pass, fail or leave open."""

from __future__ import annotations

from dataclasses import replace

from harness.model.fault import Loss
from harness.model.verdict import Outcome
from tests.replay.builders import Run, add_fault, add_loss, add_pod, good_run, judged, pdb, pod, with_params, workload

KIND = "pdb_safety"


def small_run(replicas: int = 3) -> Run:
    """Return a run whose planner stays at its first pods, without losses."""
    run = good_run()
    run.drop("pod", lambda t, s, d: t < 2 and int(s[-1]) < replicas)
    run.drop("workload", lambda t, s, d: t < 2)
    run.drop("fault")
    return run


def lose(run: Run, count: int, loss: Loss, disruption: str = "") -> Run:
    """Take the first pods away at +100 s by a fault of this kind."""
    victims = [f"planner-{i}" for i in range(count)]
    add_fault(run, 99.9, "fault", loss, victims)
    for victim in victims:
        add_loss(run, 100, victim, disruption)
    return run


def test_a_budget_kept_under_kills_and_an_eviction_passes() -> None:
    verdict = judged(good_run(), KIND)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["headroom_min"] == 1
    assert verdict.figures["evicted_pods"] == 1


def test_an_eviction_below_the_demand_fails_and_is_called_voluntary() -> None:
    verdict = judged(lose(small_run(), 2, Loss.EVICTION, "EvictionByEvictionAPI"), KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "voluntary: an eviction was granted" in verdict.reason
    assert "1 Ready, 2 demanded" in verdict.reason


def test_an_abrupt_kill_below_the_demand_fails_and_is_called_involuntary_f05() -> None:
    verdict = judged(lose(small_run(), 2, Loss.ABRUPT), KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "involuntary" in verdict.reason
    assert "abrupt kill" in verdict.reason


def test_involuntary_losses_can_be_left_out_or_have_a_floor_of_their_own() -> None:
    run = lose(small_run(), 2, Loss.ABRUPT)
    assert judged(with_params(run, KIND, count_involuntary=False), KIND).outcome is Outcome.PASS
    assert judged(with_params(run, KIND, count_involuntary=True, minimum_ready=1), KIND).outcome is Outcome.PASS
    assert judged(with_params(run, KIND, minimum_ready=2), KIND).outcome is Outcome.FAIL


def test_a_kill_and_then_an_eviction_below_the_demand_is_voluntary() -> None:
    run = lose(small_run(), 1, Loss.ABRUPT)
    add_loss(run, 101, "planner-1", "EvictionByEvictionAPI")
    verdict = judged(with_params(run, KIND, count_involuntary=False), KIND)
    assert verdict.outcome is Outcome.FAIL


def test_a_missing_budget_fails_if_it_was_watched_and_is_open_if_not() -> None:
    run = good_run()
    run.drop("pdb")
    assert judged(run, KIND).outcome is Outcome.FAIL
    run.drop("watch")
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_a_budget_deleted_at_any_time_fails() -> None:
    run = good_run()
    run.fact(90, pdb(deleted=True))
    run.fact(95, pdb())
    assert "was deleted at +90.0s" in judged(run, KIND).reason


def test_a_budget_that_came_after_the_load_fails() -> None:
    run = good_run()
    run.drop("pdb")
    run.fact(40, pdb())
    assert judged(run, KIND).outcome is Outcome.FAIL


def test_too_few_pods_from_the_start_fail_and_are_not_called_growth() -> None:
    verdict = judged(small_run(replicas=1), KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "it was so when the load started" in verdict.reason


def test_no_pod_at_all_fails() -> None:
    run = good_run()
    run.drop("pod")
    assert judged(run, KIND).outcome is Outcome.FAIL


def test_a_demand_in_percent_that_grows_with_the_workload_is_no_disruption() -> None:
    run = good_run()
    run.drop("pdb")
    run.fact(1, pdb(min_available="60%", generation=2))
    run.fact(70, pdb(min_available="60%", desired_healthy=6, expected_pods=9))
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.PASS
    assert "shortfalls that do not count" in verdict.observed
    assert any("grew faster" in line for line in verdict.evidence)


def test_percent_rounds_up_as_kubernetes_does_f02() -> None:
    run = small_run()
    run.drop("pdb")
    run.fact(1, pdb(min_available=None, max_unavailable="40%", desired_healthy=1))
    assert judged(lose(run, 2, Loss.EVICTION), KIND).outcome is Outcome.PASS
    run = small_run()
    run.drop("pdb")
    run.fact(1, pdb(min_available="50%", desired_healthy=2))
    assert judged(lose(run, 2, Loss.EVICTION), KIND).outcome is Outcome.FAIL


def test_a_status_that_lags_behind_is_not_trusted_f04() -> None:
    run = good_run()
    run.fact(170, pdb(generation=2, observed_generation=1, desired_healthy=7))
    assert judged(run, KIND).outcome is Outcome.PASS


def test_a_current_status_that_denies_our_reading_is_inconclusive() -> None:
    run = good_run()
    run.fact(170, pdb(desired_healthy=7))
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "its status says 7" in verdict.reason


def test_a_budget_that_cannot_be_computed_is_not_the_same_as_an_exhausted_one() -> None:
    run = good_run()
    run.fact(60, pdb(computed=False))
    run.fact(80, pdb())
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "cannot compute it" in verdict.reason


def test_a_pod_that_loses_readiness_counts_as_lost_a12() -> None:
    run = small_run()
    for i in range(2):
        run.fact(100, pod(f"planner-{i}", ready=False, reason="probe failed"))
    assert "not Ready any more (probe failed)" in judged(run, KIND).reason


def test_a_node_loss_is_named_as_its_cause() -> None:
    run = small_run()
    for i in range(2):
        add_loss(run, 100, f"planner-{i}", "DeletionByTaintManager")
    assert "DeletionByTaintManager" in judged(run, KIND).reason


def test_a_pod_whose_labels_leave_the_selector_is_not_counted_any_more() -> None:
    run = small_run()
    for i in range(2):
        run.fact(100, pod(f"planner-{i}", labels={"app": "debug"}))
    assert judged(run, KIND).outcome is Outcome.FAIL


def test_pods_seen_to_go_just_before_the_workload_is_seen_to_shrink_are_no_breach() -> None:
    run = small_run()
    run.drop("pdb")
    run.fact(1, pdb(min_available="60%", desired_healthy=2))
    for i in range(2):
        add_loss(run, 170, f"planner-{i}")
    run.fact(170.1, workload(1))
    run.fact(171, pdb(min_available="60%", desired_healthy=1))
    assert judged(run, KIND).outcome is Outcome.PASS


def test_a_breach_is_not_missed_between_two_looks() -> None:
    run = small_run()
    add_loss(run, 100.00, "planner-0")
    add_loss(run, 100.00, "planner-1")
    add_pod(run, 100.01, "planner-8", ready_after_s=0.15)
    assert judged(run, KIND).figures["breaches"] == 1


def test_without_load_it_is_inconclusive() -> None:
    run = good_run()
    run.drop("load-edge")
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_an_unknown_expected_count_makes_percent_unknown() -> None:
    run = good_run()
    run.drop("workload")
    run.drop("pdb")
    run.fact(1, replace(pdb(min_available="50%"), expected_pods=None, desired_healthy=None))
    assert "number of expected pods is not known" in judged(run, KIND).reason
