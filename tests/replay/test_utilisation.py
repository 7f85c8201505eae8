"""Records that `cpu_utilisation` and `gpu_utilisation` must pass, fail or leave open (CASES G03 to G06)."""

from __future__ import annotations

import numpy as np
import pytest

from harness.model.verdict import Outcome
from tests.replay.builders import Run, asserting, good_run, hpa, judged
from tests.replay.signal_builders import SCRAPES_S, SERVING, add_cpu, add_gpu

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
CPU, GPU = "cpu_utilisation", "gpu_utilisation"


def cpu_run(percent: int | None) -> Run:
    """Return a run whose HPA measures this from +56 s on."""
    run = good_run()
    run.drop("hpa", lambda t, s, d: t < 56)
    run.fact(56, hpa(9, percent))
    return asserting(run, CPU, workload="agents/planner")


@pytest.mark.parametrize(("percent", "outcome"), [(70, PASS), (75, PASS), (76, FAIL), (90, FAIL), (None, OPEN)])
def test_cpu_is_held_against_the_limit_once_the_workload_has_scaled(percent: int | None, outcome: Outcome) -> None:
    assert judged(cpu_run(percent), CPU).outcome is outcome


def test_cpu_between_limit_and_tolerance_fails_and_says_that_no_pod_will_come() -> None:
    verdict = judged(cpu_run(76), CPU)
    assert "inside the HPA's tolerance (target 70% + 10% of it = 77%)" in verdict.reason
    assert "will not add a pod" in verdict.reason
    assert "tolerance" not in judged(cpu_run(90), CPU).reason
    assert "HPA planner" in verdict.evidence[0]


def test_cpu_is_taken_from_raw_counters_where_there_are_any() -> None:
    run = cpu_run(70)
    for number, name in enumerate(SERVING):
        add_cpu(run, name, 0.06 if number % 2 else 0.09)
    add_cpu(run, "somebody-else", 5.0)
    verdict = judged(run, CPU)
    assert verdict.figures["cpu_ratio"] == pytest.approx(0.75, abs=0.02)
    assert "pod_cpu_seconds" in verdict.evidence[0]


def test_cpu_counters_with_a_hole_leave_the_hpa_to_tell() -> None:
    run = cpu_run(90)
    add_cpu(run, "planner-0", 0.01)
    run.reshape("pod_cpu_seconds", lambda t, v: (t[(t < 110) | (t > 150)], v[(t < 110) | (t > 150)]))
    verdict = judged(run, CPU)
    assert verdict.outcome is FAIL
    assert "HPA planner" in verdict.evidence[0]


def test_cpu_of_a_burst_shorter_than_settle_is_open() -> None:
    assert judged(asserting(cpu_run(70), CPU, workload="agents/planner", settle="10m"), CPU).outcome is OPEN


# GPU -----------------------------------------------------------------------------------------------------------------


def gpu_run(*percents: float, **labels: str) -> Run:
    run = asserting(good_run(), GPU)
    for number, percent in enumerate(percents):
        add_gpu(run, percent, gpu=str(number), **(labels or {"pod": f"inference-{number}"}))
    return run


@pytest.mark.parametrize(
    ("percents", "outcome"), [((70, 60), PASS), ((90, 20), FAIL), ((60,), PASS), ((0, 0), OPEN), ((), OPEN)]
)
def test_g03_g06_the_mean_over_devices_counts_and_nothing_but_zeros_is_no_answer(
    percents: tuple[float, ...], outcome: Outcome
) -> None:
    assert judged(gpu_run(*percents), GPU).outcome is outcome


def test_g04_the_workload_is_in_exported_pod_where_the_scrape_keeps_pod_for_itself() -> None:
    run = gpu_run(80, pod="dcgm-exporter-x", exported_pod="inference-0")
    assert judged(run, GPU).outcome is PASS
    only_exporter = judged(gpu_run(80, pod="dcgm-exporter-x"), GPU)
    assert (only_exporter.outcome, "names a workload" in only_exporter.reason) == (OPEN, True)


def test_g05_series_without_a_workload_are_counted_and_left_out() -> None:
    run = gpu_run(80)
    add_gpu(run, 0, gpu="9", pod="")
    verdict = judged(run, GPU)
    assert verdict.outcome is PASS
    assert verdict.figures["unlabelled_series"] == 1
    assert "1 of 2 series name no workload" in verdict.evidence


def test_g06_a_split_gpu_is_read_by_its_engine() -> None:
    run = gpu_run(0, pod="inference-0", GPU_I_ID="1")
    assert judged(run, GPU).outcome is OPEN
    add_gpu(run, 0.8, "gpu_engine_active_ratio", pod="inference-0", GPU_I_ID="1")
    verdict = judged(run, GPU)
    assert (verdict.outcome, verdict.figures["gpu_ratio"]) == (PASS, pytest.approx(0.8))


def test_gpu_values_that_are_no_numbers_and_holes_are_open() -> None:
    run = gpu_run(80)
    run.reshape("gpu_utilisation_percent", lambda t, v: (t, np.where(t == SCRAPES_S[40], np.nan, v)))
    assert judged(run, GPU).outcome is OPEN
    holed = gpu_run(80)
    holed.reshape("gpu_utilisation_percent", lambda t, v: (t[(t < 80) | (t > 120)], v[(t < 80) | (t > 120)]))
    assert judged(holed, GPU).outcome is OPEN


@pytest.mark.parametrize("still", [SERVING, SERVING[1:2]])
def test_a_cpu_counter_that_stands_still_is_frozen_and_leaves_the_hpa_to_tell(still: tuple[str, ...]) -> None:
    run = cpu_run(90)
    for name in SERVING:
        add_cpu(run, name, 0.0 if name in still else 0.05)
    verdict = judged(run, CPU)
    assert (verdict.outcome, verdict.figures["cpu_ratio"]) == (FAIL, 0.9)
    assert "stands still: no Ready pod uses nothing at all" in verdict.evidence[1]
