"""What must never be a silent green, nor a false red, of the kinds that look at alerts, GPUs, CPU and tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.model.verdict import Outcome
from tests.replay.builders import Run, asserting, good_run, judged
from tests.replay.signal_builders import SCRAPES_S, add_gpu
from tests.replay.test_alerts import alert_run
from tests.replay.test_utilisation import gpu_run

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
