"""What must never be a silent green, nor a false red, of the kinds that look at alerts, GPUs, CPU and tasks."""

from __future__ import annotations

from harness.model.verdict import Outcome
from tests.replay.builders import Run, judged
from tests.replay.test_alerts import alert_run

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
