"""Records that `alerts` must pass, fail or leave open."""

from __future__ import annotations

from harness.model.verdict import Outcome
from tests.replay.builders import Run, asserting, good_run, judged
from tests.replay.signal_builders import add_alert, add_rules

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
KIND = "alerts"


def alert_run(*fires: tuple[str, float], rules: tuple[str, ...] = ("PlannerDown", "QueueOld"), **params: object) -> Run:
    run = asserting(good_run(), KIND, **{"expect": ["PlannerDown"], "within": "60s"} | params)
    first_s = run.record().timeline.injections()[0].window.start_s
    for name, after_s in fires:
        add_alert(run, name, first_s + after_s)
    if not fires:
        add_alert(run, "", 500.0)
    add_rules(run, rules)
    return run


def test_an_alert_in_time_passes_and_one_too_late_fails() -> None:
    assert judged(alert_run(("PlannerDown", 20)), KIND).outcome is PASS
    late = judged(alert_run(("PlannerDown", 20), within="10s"), KIND)
    assert (late.outcome, "the limit is 10 s" in late.reason) == (FAIL, True)


def test_another_alert_fails_unless_it_is_allowed() -> None:
    other = judged(alert_run(("PlannerDown", 20), ("QueueOld", 30)), KIND)
    assert (other.outcome, "QueueOld" in other.reason) == (FAIL, True)
    assert judged(alert_run(("PlannerDown", 20), ("QueueOld", 30), allow=["QueueOld"]), KIND).outcome is PASS


def test_an_alert_that_never_fired_fails_where_its_rule_is_loaded() -> None:
    silent = judged(alert_run(within="20s"), KIND)
    assert (silent.outcome, "did not fire within 20 s" in silent.reason) == (FAIL, True)


def test_a_rule_that_was_removed_is_named() -> None:
    gone = judged(alert_run(rules=("QueueOld",), within="20s"), KIND)
    assert (gone.outcome, "there is no rule PlannerDown" in gone.reason) == (FAIL, True)


def test_silence_without_knowledge_of_the_rules_is_open() -> None:
    assert judged(alert_run(rules=(), within="20s"), KIND).outcome is OPEN


def test_a_count_of_loaded_rules_is_enough_to_fail_an_alert_and_none_is_not() -> None:
    counted = alert_run(rules=("",), within="20s")
    assert judged(counted, KIND).outcome is FAIL
    counted.reshape("alert_rules", lambda t, v: (t, v * 0))
    assert judged(counted, KIND).outcome is OPEN


def test_an_alert_that_fired_before_the_fault_answers_something_else() -> None:
    early = judged(alert_run(("PlannerDown", -10)), KIND)
    assert (early.outcome, "before the fault" in early.reason) == (OPEN, True)


def test_no_answer_of_prometheus_is_open_and_no_alert_at_all_is_an_answer() -> None:
    run = asserting(good_run(), KIND, expect=[])
    assert judged(run, KIND).outcome is OPEN
    assert judged(alert_run(expect=[]), KIND).outcome is PASS
