"""The live guard, by itself: burning, a steady state that is lost, silence; and never in baseline or after the load."""

from dataclasses import replace

import pytest

from harness.live_guard import LiveGuard
from harness.model.abort import AbortLimits
from harness.model.load import LoadSnapshot
from harness.registries import EXPERIMENTS_DIR, load
from tests.unit.twin_runs import rehearse

LIMITS = AbortLimits(burn_rate=10, objective=0.99, window_s=30, grace_s=10, blind_s=10, unsteady_s=20)


def snapshot(t_s, requests, failures, stage="burst"):
    return LoadSnapshot(t_s, stage, 50, 50, requests, failures, 0, 0, 1, 8, 0.1, 0.0)


def said(failure_ratio, until_s, limits=LIMITS, rps=50, from_s=0, steady=lambda t_s: None):
    """Return when and why a run is ended whose requests fail from a second on."""
    guard, failures = LiveGuard(limits), 0.0
    for t_s in range(until_s):
        failures += rps * failure_ratio if t_s >= from_s else 0
        reason = guard.look(float(t_s), snapshot(float(t_s), rps * t_s, round(failures)), steady(t_s))
        if reason:
            return t_s, reason
    return None


def test_a_budget_that_burns_too_fast_over_both_windows_ends_the_run_after_its_grace():
    at_s, reason = said(0.5, 120, from_s=40)
    assert 50 <= at_s <= 65
    assert "times too fast over 30 s" in reason and "limit 10" in reason


def test_a_short_spike_and_a_slow_burn_do_not():
    guard = LiveGuard(LIMITS)
    spike = [snapshot(float(t), 50 * t, min(60, max(0, 30 * (t - 40)))) for t in range(120)]
    assert not any(guard.look(one.t_s, one) for one in spike)
    assert said(0.05, 120) is None


def test_too_few_requests_say_nothing():
    assert said(1.0, 60, rps=2) is None


def test_a_generator_that_falls_silent_ends_the_run():
    guard = LiveGuard(LIMITS)
    assert guard.look(5.0, snapshot(4.0, 200, 0)) == ""
    assert "has said nothing for 11 s" in guard.look(15.0, snapshot(4.0, 200, 0))


def test_a19_a_steady_state_that_is_lost_for_too_long_ends_the_run_and_unknown_is_not_lost():
    at_s, reason = said(0.0, 120, steady=lambda t_s: t_s < 30)
    assert (at_s, "the steady state has been lost for 20 s" in reason) == (50, True)
    assert said(0.0, 120, steady=lambda t_s: t_s % 15 != 0) is None
    assert said(0.0, 120, steady=lambda t_s: None) is None
    assert said(0.0, 120, limits=replace(LIMITS, unsteady_s=None), steady=lambda t_s: False) is None


@pytest.mark.parametrize("stage", ["idle", "ended"])
def test_without_load_it_says_nothing(stage):
    guard = LiveGuard(LIMITS)
    assert guard.look(100.0, snapshot(1.0, 0, 0, stage)) == guard.look(100.0, None) == ""


def test_limits_come_from_the_file_with_the_objective_of_its_budget(tmp_path):
    text = (EXPERIMENTS_DIR / "pod-kill-under-burst.yaml").read_text()
    path = EXPERIMENTS_DIR / "pod-kill-under-burst.yaml"
    assert load(path).abort == AbortLimits(50.0, 0.995, 30.0, 10.0, 10.0, None)
    assert "abort:" in text


def test_a19_a_run_that_burns_its_budget_is_ended_taken_back_and_says_why():
    run = rehearse("pod-kill-under-burst", error_ratio=0.6)
    assert run.record.header.ending.value == "aborted"
    assert run.record.header.reason.startswith("live guard: the error budget burns")
    budget = run.verdicts["error-budget"]
    assert (budget.outcome.value, "requests were bad" in budget.reason) == ("FAIL", True), budget.reason
    assert run.verdicts["restored"].outcome.value == "PASS"
