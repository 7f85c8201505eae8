"""What must never be a silent green, nor a false red, of the kinds that look at alerts, GPUs, CPU and tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.model.verdict import Outcome
from tests.replay.builders import Run, asserting, good_run, hpa, judged
from tests.replay.signal_builders import SCRAPES_S, SERVING, add_cpu, add_gpu
from tests.replay.test_agent_outcomes import outcome_run
from tests.replay.test_alerts import alert_run
from tests.replay.test_utilisation import cpu_run, gpu_run

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE

# Alerts --------------------------------------------------------------------------------------------------------------

ALERTS = "alerts"


def rules_seen_until(run: Run, end_s: float) -> Run:
    run.reshape("alert_rules", lambda t, v: (t[t < end_s], v[t < end_s]))
    return run


def test_no_alert_of_a_prometheus_without_rules_proves_nothing() -> None:
    for run in (alert_run(expect=[], rules=()), alert_run(("PlannerDown", 20), rules=())):
        verdict = judged(run, ALERTS)
        assert (verdict.outcome, "whether any rule is loaded" in verdict.reason) == (OPEN, True)


def test_silence_of_a_prometheus_that_went_away_is_open_and_not_held_against_the_alert() -> None:
    quiet = judged(rules_seen_until(alert_run(expect=[]), 40), ALERTS)
    assert (quiet.outcome, "no loaded rule was seen for" in quiet.reason) == (OPEN, True)
    silent = judged(rules_seen_until(alert_run(within="20s"), 40), ALERTS)
    assert (silent.outcome, "was not seen to fire, but" in silent.reason) == (OPEN, True)


def test_an_unexpected_alert_is_proof_whatever_else_is_missing() -> None:
    run = alert_run(("QueueOld", 20), expect=[], rules=())
    assert judged(run, ALERTS).outcome is FAIL
    run.warnings["alerts_firing"] = "PARTIAL_RESPONSE"
    verdict = judged(run, ALERTS)
    assert (verdict.outcome, "QueueOld" in verdict.reason) == (FAIL, True)


def test_a_partial_answer_without_any_alert_is_open_c11() -> None:
    run = alert_run(expect=[])
    run.warnings["alerts_firing"] = "PARTIAL_RESPONSE"
    assert judged(run, ALERTS).outcome is OPEN


# GPUs ----------------------------------------------------------------------------------------------------------------

GPU, UTIL, ENGINE = "gpu_utilisation", "gpu_utilisation_percent", "gpu_engine_active_ratio"


@pytest.mark.parametrize("percent", [9.2e18, 140.0, -1.0])
def test_a_figure_outside_of_0_to_100_percent_is_how_dcgm_says_not_known(percent: float) -> None:
    verdict = judged(gpu_run(percent), GPU)
    assert (verdict.outcome, "outside 0 to 100" in verdict.reason) == (OPEN, True)


def test_a_device_that_goes_to_another_pod_is_still_one_device() -> None:
    run = asserting(good_run(), GPU)
    for pod, times in (("inference-0", SCRAPES_S[:50]), ("inference-1", SCRAPES_S[50:])):
        run.add_series(UTIL, times, np.full(len(times), 80.0), UUID="GPU-a", pod=pod)
    verdict = judged(run, GPU)
    assert (verdict.outcome, verdict.figures["gpus"]) == (PASS, 1)


def test_g05_the_gpus_of_another_workload_are_not_called_unlabelled() -> None:
    run = asserting(gpu_run(80), GPU, workload="inference")
    add_gpu(run, 10, gpu="7", pod="training-0")
    verdict = judged(run, GPU)
    assert (verdict.outcome, verdict.figures["unlabelled_series"]) == (PASS, 0)
    assert judged(asserting(run, GPU, workload="nobody"), GPU).outcome is OPEN


def test_g06_a_whole_gpu_beside_a_split_one_is_not_left_out() -> None:
    run = asserting(good_run(), GPU)
    add_gpu(run, 0, UUID="GPU-whole", pod="inference-0")
    add_gpu(run, 0.9, ENGINE, UUID="GPU-split", pod="inference-1", GPU_I_ID="1")
    verdict = judged(run, GPU)
    assert (verdict.outcome, "1 GPUs have no gpu_engine_active_ratio" in verdict.reason) == (OPEN, True)
    add_gpu(run, 0.1, ENGINE, UUID="GPU-whole", pod="inference-0")
    assert judged(run, GPU).outcome is FAIL


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=6), st.floats(0.01, 1))
def test_gpu_answers_follow_the_mean_over_devices(percents: list[float], limit: float) -> None:
    assume(abs(float(np.mean(percents)) / 100 - limit) > 1e-6)
    verdict = judged(asserting(gpu_run(*percents), GPU, limit_ratio=limit), GPU)
    assert verdict.outcome is (PASS if np.mean(percents) / 100 >= limit else FAIL)


def test_a_low_mean_over_figures_with_a_hole_is_no_proof() -> None:
    run = gpu_run(20)
    run.reshape(UTIL, lambda t, v: (t[(t < 80) | (t > 120)], v[(t < 80) | (t > 120)]))
    assert judged(run, GPU).outcome is OPEN


# CPU -----------------------------------------------------------------------------------------------------------------

CPU, SECONDS, REQUEST = "cpu_utilisation", "pod_cpu_seconds", "pod_cpu_request_cores"


def counted_run(cores: float, request: float = 0.1) -> Run:
    """Return a run whose HPA says nothing and whose pods all use this much."""
    run = cpu_run(None)
    for name in SERVING:
        add_cpu(run, name, cores, request)
    return run


@pytest.mark.parametrize("signal", [SECONDS, REQUEST])
def test_a_ready_pod_of_which_nothing_is_known_is_no_idle_pod(signal: str) -> None:
    run = counted_run(0.05)
    run.series[signal] = [one for one in run.series[signal] if one.labels["pod"] != "planner-again-1"]
    verdict = judged(run, CPU)
    assert (verdict.outcome, "of 1 Ready pods is not known: planner-again-1" in verdict.reason) == (OPEN, True)


@pytest.mark.parametrize("every", [1, 3, 5])
@pytest.mark.parametrize(("cores", "outcome"), [(0.07, PASS), (0.08, FAIL)])
def test_how_often_requests_are_scraped_does_not_count(every: int, cores: float, outcome: Outcome) -> None:
    run = counted_run(cores)
    run.reshape(REQUEST, lambda t, v: (t[::every], v[::every]))
    verdict = judged(run, CPU)
    assert (verdict.outcome, verdict.figures["cpu_ratio"]) == (outcome, pytest.approx(cores * 10))


def test_a_hole_of_a_single_pod_is_not_hidden_by_the_others() -> None:
    run = counted_run(0.05)
    one = run.series[SECONDS][0]
    run.series[SECONDS][0] = replace(one, t_s=one.t_s[:50], values=one.values[:50])
    assert judged(run, CPU).outcome is OPEN


def test_a_container_that_began_anew_is_no_negative_use() -> None:
    run = counted_run(0.07)
    run.reshape(SECONDS, lambda t, v: (t, np.where(t >= 130, v - 130 * 0.07, v)))
    assert judged(run, CPU).figures["cpu_ratio"] == pytest.approx(0.7, abs=0.04)


def test_the_containers_of_a_pod_add_up_and_each_needs_both_figures() -> None:
    run = cpu_run(None)
    for name in SERVING:
        for box, cores in (("main", 0.09), ("sidecar", 0.01), ("POD", 9.0)):
            run.add_series(SECONDS, SCRAPES_S, SCRAPES_S * cores, pod=name, container=box)
        for box in ("main", "sidecar"):
            run.add_series(REQUEST, SCRAPES_S, np.full(len(SCRAPES_S), 0.1), pod=name, container=box)
    assert judged(run, CPU).figures["cpu_ratio"] == pytest.approx(0.5)
    run.series[REQUEST] = [one for one in run.series[REQUEST] if one.labels["container"] == "main"]
    assert "container sidecar" in judged(run, CPU).reason


@pytest.mark.parametrize("change", [{"deleted": True}, {"active": False}])
def test_an_hpa_that_is_gone_or_cannot_scale_says_nothing(change: dict[str, bool]) -> None:
    run = cpu_run(70)
    run.fact(120, hpa(9, 70, **change))
    verdict = judged(run, CPU)
    assert (verdict.outcome, "did not say its CPU for 32 s" in verdict.reason) == (OPEN, True)


def test_why_the_counters_were_left_out_is_evidence() -> None:
    assert "not asked for" in judged(cpu_run(70), CPU).evidence[1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.001, 0.2), min_size=len(SERVING), max_size=len(SERVING)), st.floats(0.1, 2))
def test_cpu_answers_follow_a_mean_between_the_least_and_the_most(cores: list[float], limit: float) -> None:
    run = asserting(cpu_run(None), CPU, workload="agents/planner", limit_ratio=limit)
    for name, used in zip(SERVING, cores, strict=True):
        add_cpu(run, name, used)
    verdict = judged(run, CPU)
    ratio = verdict.figures["cpu_ratio"]
    assert min(cores) * 10 - 1e-6 <= ratio <= max(cores) * 10 + 1e-6
    assert verdict.outcome is (PASS if ratio <= limit else FAIL)


# Tasks ---------------------------------------------------------------------------------------------------------------

OUTCOMES, PLANNER = "agent_outcomes", "planner_requests_total"


def test_more_tasks_accounted_for_than_came_is_no_pass() -> None:
    verdict = judged(outcome_run(tasks_unique_done=1020), OUTCOMES)
    assert (verdict.outcome, "20 tasks more are accounted for" in verdict.reason) == (OPEN, True)


def test_a_ledger_that_began_anew_accounts_for_nothing() -> None:
    run = outcome_run()
    for name in ("tasks_unique_enqueued", "tasks_unique_done", "tasks_duplicate", "tasks_late"):
        run.reshape(name, lambda t, v: (t, np.where(t > 120, 0.0, v + 500)))
    verdict = judged(run, OUTCOMES)
    assert (verdict.outcome, "began anew" in verdict.reason) == (OPEN, True)


def test_a_value_that_is_no_number_in_the_middle_is_no_pass() -> None:
    run = outcome_run()
    run.reshape("tasks_unique_done", lambda t, v: (t, np.where(t == 100, np.nan, v)))
    assert judged(run, OUTCOMES).outcome is OPEN


@pytest.mark.parametrize("counted", [0.0, 2000.0])
def test_a_planner_that_counted_less_than_was_answered_says_nothing_of_retries(counted: float) -> None:
    verdict = judged(outcome_run(planner_requests_total=counted), OUTCOMES)
    assert (verdict.outcome, "its counter lost some" in verdict.reason) == (OPEN, True)


def test_requests_to_another_endpoint_are_not_the_planners() -> None:
    run = outcome_run()
    run.requests.loc[run.requests.index % 2 == 0, "endpoint"] = "/v1/infer"
    verdict = judged(run, OUTCOMES)
    assert (verdict.outcome, verdict.figures["amplification"]) == (FAIL, pytest.approx(2.0, abs=0.01))
    assert judged(asserting(run, OUTCOMES, endpoint="/v2"), OUTCOMES).outcome is OPEN


def test_a_proven_loss_stays_one_though_the_planner_is_not_known() -> None:
    run = outcome_run(tasks_unique_done=990)
    del run.series[PLANNER]
    verdict = judged(run, OUTCOMES)
    assert (verdict.outcome, verdict.figures["tasks_lost"]) == (FAIL, 10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_tasks_that_came_are_done_dead_waiting_or_lost(dead: int, waiting: int, lost: int) -> None:
    done = 1000 - dead - waiting - lost
    run = outcome_run(tasks_unique_done=done, tasks_dead=dead, queue_depth=waiting)
    verdict = judged(asserting(run, OUTCOMES, dead_max=30), OUTCOMES)
    assert verdict.figures["tasks_lost"] == pytest.approx(lost)
    assert verdict.outcome is (FAIL if lost else PASS)
