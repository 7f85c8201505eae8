"""Records that `autoscaler_response` must pass, fail or leave open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assertions.scaling_expectation import promise
from assertions.scaling_view import ScalerRef, ScalingView
from assertions.temporal import steps_of
from harness.model.verdict import Outcome
from tests.replay.builders import BURST_END_S, Run, asserting, good_run, hpa, judged, pod, with_params, workload
from tests.replay.keda_builders import adapters, keda_run, scaled_object

KIND = "autoscaler_response"


def without_scaling(cpu_percent: int | None = 40) -> Run:
    """Return a run in which the replicas never moved and the HPA saw this CPU from +56 s on."""
    run = good_run()
    run.drop("workload", lambda t, s, d: t < 50)
    run.drop("hpa", lambda t, s, d: t < 50)
    run.fact(56, hpa(3, cpu_percent))
    return run


def late_scaling(delay_s: float) -> Run:
    """Return a run in which everything about scaling happens later."""
    run = good_run()
    run.drop("workload", lambda t, s, d: t < 70)
    late = {"hpa", "workload", "pod"}
    run.events = [
        (t + delay_s if kind in late and 50 < t < 70 else t, actor, kind, subject, detail)
        for t, actor, kind, subject, detail in run.events
    ]
    return run


def test_an_answer_in_time_passes_with_the_seconds_of_each_stage() -> None:
    verdict = judged(good_run(), KIND)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["asked_s"] == pytest.approx(6.1)
    assert verdict.figures["scheduled_s"] == pytest.approx(0.2)
    assert verdict.figures["ready_s"] == pytest.approx(0.9)
    assert verdict.figures["first_answer_s"] > 0


def test_an_answer_after_the_limit_fails() -> None:
    verdict = judged(late_scaling(45), KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "after 51.1 s, the limit is 45 s" in verdict.reason


def test_a_signal_that_crosses_without_any_answer_fails() -> None:
    verdict = judged(without_scaling(cpu_percent=200), KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "CPU at 200 %" in verdict.reason


def test_a_signal_inside_the_tolerance_proves_nothing() -> None:
    verdict = judged(without_scaling(cpu_percent=76), KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no scale-up was needed" in verdict.reason


def test_an_hpa_without_a_value_is_not_read_as_zero_b05() -> None:
    run = without_scaling(None)
    run.change("hpa", lambda t, s, d: {"cpu_current_percent": None})
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "was never seen" in verdict.reason


def test_a_burst_shorter_than_the_limit_is_inconclusive() -> None:
    run = with_params(without_scaling(200), KIND, desired_within="5m")
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_replicas_at_their_maximum_before_the_burst_are_inconclusive() -> None:
    run = without_scaling(200)
    run.change("workload", lambda t, s, d: {"spec_replicas": 12})
    assert "maximum of 12" in judged(run, KIND).reason


def test_hold_passes_where_nothing_moves_and_fails_where_it_does() -> None:
    assert judged(with_params(without_scaling(), KIND, expect="hold"), KIND).outcome is Outcome.PASS
    assert judged(with_params(good_run(), KIND, expect="hold"), KIND).outcome is Outcome.FAIL


def test_a_missing_autoscaler_fails_if_it_was_watched_and_is_open_if_not() -> None:
    run = good_run()
    run.drop("hpa")
    assert judged(run, KIND).outcome is Outcome.FAIL
    run.drop("watch")
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_an_autoscaler_deleted_during_the_burst_fails_whatever_else_is_missing() -> None:
    run = good_run()
    run.fact(80, hpa(9, 80, deleted=True))
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.rests_on == ()


def test_an_autoscaler_that_cannot_scale_for_long_fails_and_a_blip_does_not() -> None:
    run = good_run()
    run.fact(70, hpa(9, None, active=False, active_reason="FailedGetResourceMetric"))
    run.fact(75, hpa(9, 80))
    assert judged(run, KIND).outcome is Outcome.PASS
    run.fact(80, hpa(9, None, active=False, active_reason="FailedGetResourceMetric"))
    assert "FailedGetResourceMetric" in judged(run, KIND).reason


def test_what_was_asked_is_read_from_the_target_and_not_from_the_status_f12() -> None:
    run = good_run()
    run.change("hpa", lambda t, s, d: {"desired_replicas": 3})
    assert judged(run, KIND).outcome is Outcome.PASS
    run = without_scaling(200)
    run.fact(57, hpa(6, 200))
    assert judged(run, KIND).outcome is Outcome.FAIL


def test_new_pods_that_never_get_ready_fail() -> None:
    run = good_run()
    run.change("pod", lambda t, s, d: {"ready": False} if s.startswith("agents/planner-new") else None)
    run.drop("pod", lambda t, s, d: "again" not in s)
    assert "3 new pods Ready (0 were) within 30 s" in judged(run, KIND).reason


def test_new_pods_that_the_record_does_not_follow_to_the_limit_are_open() -> None:
    run = late_scaling(0)
    run.drop("pod", lambda t, s, d: t < 50)
    run.events = [e for e in run.events if e[0] < 75 or e[2] == "load-edge"]
    run.drop("load-edge", lambda t, s, d: s == "started")
    run.say(70, "load", "load-edge", "ended")
    verdict = judged(with_params(run, KIND, ready_within="2m", scheduled_within="2m"), KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_new_pods_that_get_no_request_fail_d07() -> None:
    run = good_run()
    run.requests["pod"] = "planner-0"
    assert "first good answer of a new pod" in judged(run, KIND).reason


def test_a_log_without_pod_names_leaves_the_first_answer_out_and_says_so() -> None:
    run = good_run()
    run.requests["pod"] = ""
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.PASS
    assert "left out" in verdict.observed


def test_flapping_fails() -> None:
    run = good_run()
    for i, replicas in enumerate((6, 9, 6, 9)):
        run.fact(100 + 5 * i, workload(replicas))
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "changed their direction 4 times" in verdict.reason


def test_small_moves_round_the_need_are_no_flapping() -> None:
    run = good_run()
    for i, replicas in enumerate((8, 9, 8, 9, 7, 9, 7)):
        run.fact(100 + 5 * i, workload(replicas))
    assert judged(run, KIND).outcome is Outcome.PASS


def test_a_drop_of_replicas_while_the_demand_is_on_fails_f15() -> None:
    run = good_run()
    run.fact(120, workload(3))
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "3 of 9 replicas were left while the demand was on" in verdict.reason


def test_a_small_correction_of_an_overshoot_passes() -> None:
    run = good_run()
    run.fact(120, workload(7))
    assert judged(run, KIND).outcome is Outcome.PASS


def test_the_way_back_is_judged_only_with_a_limit_and_only_if_the_record_lasts_f10() -> None:
    run = good_run()
    assert judged(with_params(run, KIND, returned_within="20s"), KIND).outcome is Outcome.FAIL
    assert judged(with_params(run, KIND, returned_within="5m"), KIND).outcome is Outcome.INCONCLUSIVE
    run.fact(BURST_END_S + 15, workload(3))
    assert judged(with_params(run, KIND, returned_within="20s"), KIND).outcome is Outcome.PASS
    assert judged(run, KIND).figures["returned_s"] == pytest.approx(15)


def test_saturation_and_overshoot_are_figures_and_limits_where_asked_for() -> None:
    run = good_run()
    run.change("hpa", lambda t, s, d: {"max_replicas": 9})
    assert judged(run, KIND).figures["saturated_s"] == pytest.approx(BURST_END_S - 66.1)
    assert judged(with_params(run, KIND, saturated_max="30s"), KIND).outcome is Outcome.FAIL
    run.fact(140, workload(7))
    assert judged(with_params(run, KIND, overshoot_max=1, saturated_max="5m"), KIND).outcome is Outcome.FAIL


def test_without_a_burst_there_is_nothing_to_answer() -> None:
    run = good_run()
    run.drop("load-edge")
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_replicas_that_were_never_seen_are_inconclusive() -> None:
    run = good_run()
    run.drop("workload")
    assert "not known" in judged(run, KIND).reason


def test_keda_passes_from_zero() -> None:
    verdict = judged(keda_run(), KIND)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["replicas_before"] == 0
    assert verdict.figures["replicas_peak"] == 4


def test_a_scaled_object_paused_or_not_ready_fails_f16() -> None:
    run = keda_run()
    run.fact(60, scaled_object(paused=True))
    assert "was paused" in judged(run, KIND).reason
    run = keda_run()
    run.fact(60, scaled_object(ready=False, ready_reason="ScaledObjectCheckFailed"))
    assert "ScaledObjectCheckFailed" in judged(run, KIND).reason


def test_keda_back_to_zero_with_tasks_waiting_fails_f15() -> None:
    run = keda_run()
    run.fact(120, adapters(0))
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "tasks waited" in verdict.reason


def test_keda_back_to_zero_without_a_view_of_the_queue_is_inconclusive() -> None:
    run = keda_run()
    run.fact(120, adapters(0))
    run.series.pop("queue_depth")
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_a_fallback_is_told_f14() -> None:
    run = keda_run()
    run.fact(100, scaled_object(fallback=True))
    assert any("fallback" in line for line in judged(run, KIND).evidence)


def test_the_metric_of_kedas_hpa_is_its_signal() -> None:
    run = keda_run()
    made = replace(hpa(1, None, cpu_target_percent=None), uid="uid-keda", name="keda-hpa-tool-adapter")
    run.fact(45, replace(made, metric_current={"s0-redis-streams": 0.0}))
    run.fact(55, replace(made, metric_current={"s0-redis-streams": 40.0}))
    assert "metric of the HPA at 40" in judged(run, KIND).observed


def test_a_pod_that_is_ready_but_terminating_is_no_new_pod() -> None:
    run = good_run()
    run.drop("pod", lambda t, s, d: t < 50)
    run.fact(57, pod("planner-new-9", terminating=True))
    assert judged(run, KIND).outcome is Outcome.FAIL


def test_f10_without_a_limit_the_objects_own_spec_gives_it() -> None:
    slow = good_run()
    slow = with_params(slow, KIND)
    slow.change("hpa", lambda t, s, d: {**d, "up_stabilisation_s": 30.0})
    verdict = judged(asserting(slow, KIND, autoscaler="hpa/agents/planner"), KIND)
    assert verdict.outcome is Outcome.PASS
    assert "within 75 s of the burst" in verdict.expected
    assert any("stabilisation 30 s" in line for line in verdict.evidence)


def test_as_specified_no_change_is_due_while_the_signal_stays_inside_the_tolerance() -> None:
    inside = asserting(without_scaling(76), KIND, autoscaler="hpa/agents/planner", expect="as-specified")
    verdict = judged(inside, KIND)
    assert verdict.outcome is Outcome.PASS
    assert "no change was due" in verdict.observed


def test_as_specified_a_wider_tolerance_of_the_object_counts() -> None:
    run = asserting(without_scaling(80), KIND, autoscaler="hpa/agents/planner", expect="as-specified")
    assert judged(run, KIND).outcome is Outcome.FAIL
    run.change("hpa", lambda t, s, d: {**d, "up_tolerance_ratio": 0.2})
    assert judged(run, KIND).outcome is Outcome.PASS


def test_as_specified_an_unseen_signal_stays_open() -> None:
    run = asserting(without_scaling(None), KIND, autoscaler="hpa/agents/planner", expect="as-specified")
    run.change("hpa", lambda t, s, d: {**d, "cpu_current_percent": None})
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("minimum", "before", "returned_s", "rule"),
    [(0, 0, 60 + 5 + 15, "cool-down 60 s"), (1, 1, 300 + 15 + 5 + 15, "the HPA's stabilisation 300 s")],
)
def test_f13_the_way_back_is_the_cool_downs_only_on_the_step_to_zero(
    minimum: int, before: int, returned_s: float, rule: str
) -> None:
    scaled = scaled_object(min_replicas=minimum, cooldown_s=60.0, polling_interval_s=5.0)
    ref, asked = ScalerRef("scaledobject", "agents", "tool-adapter"), steps_of([(0.0, before)])
    view = ScalingView(ref, [(0.0, scaled)], [(0.0, hpa(before, None))], "Deployment/x", asked, [])
    found = promise(view)
    assert found.returned_s == returned_s
    assert rule in found.returned_rule


def test_replicas_of_keda_that_were_never_said_leave_it_open_and_are_no_crash() -> None:
    run = with_params(keda_run(), KIND, expect="as-specified")
    run.change("workload", lambda t, s, d: {"spec_replicas": None})
    assert "are not known when the burst starts" in judged(run, KIND).reason
