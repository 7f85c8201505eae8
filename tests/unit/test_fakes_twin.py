"""Whole game days against the twin: all is well, or every sabotage gives the answer that it must (no silent green)."""

import pytest

from harness.model.facts import WorkloadFact
from harness.model.record import Ending
from harness.model.verdict import Outcome
from tests.unit.twin_runs import Rehearsal, rehearse

KILL, QUEUE = "pod-kill-under-burst", "queue-burst"
PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
SCALES, BUDGET, BACKLOG, ERRORS, RESTORED = (
    "autoscaler-response", "pdb-safety", "queue-backlog", "error-budget", "restored",
)  # fmt: skip


def outcomes(run: Rehearsal) -> dict[str, Outcome]:
    return {name: verdict.outcome for name, verdict in run.verdicts.items()}


@pytest.mark.parametrize("name", [KILL, QUEUE])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_platform_that_behaves_holds_everything(name: str, seed: int) -> None:
    run = rehearse(name, seed)
    assert {name: v.reason for name, v in run.verdicts.items() if v.outcome is not PASS} == {}
    assert run.record.header.ending is Ending.COMPLETED


def test_the_same_seed_gives_the_same_run() -> None:
    one, other = rehearse(KILL, 5), rehearse(KILL, 5)
    assert one.record.timeline == other.record.timeline
    assert one.record.requests.equals(other.record.requests)
    assert rehearse(KILL, 6).record.timeline != one.record.timeline


def test_the_planner_grows_from_three_to_nine_and_victims_are_a_third() -> None:
    run = rehearse(KILL)
    asked = [w.spec_replicas for _, w in run.record.timeline.facts(WorkloadFact, lambda w: w.name == "planner")]
    assert max(a for a in asked if a is not None) == 9
    assert [(i.fault, len(i.victims)) for i in run.record.timeline.injections()] == [
        ("kill-a-third-of-the-planners", 3),
        ("evict-one-planner", 1),
    ]


def test_the_request_log_and_the_gateway_agree_to_the_last_request() -> None:
    run = rehearse(KILL, error_ratio=0.01)
    figures = run.verdicts[ERRORS].figures
    assert figures["requests"] == figures["gateway_requests"] == len(run.record.requests)
    assert list(run.record.requests["seq"]) == list(range(len(run.record.requests)))


SABOTAGE = [
    ({"hpa_missing": True}, {SCALES: FAIL, BUDGET: UNKNOWN, BACKLOG: UNKNOWN, ERRORS: UNKNOWN}),
    ({"hpa_dead": True}, {SCALES: FAIL, BUDGET: UNKNOWN, BACKLOG: UNKNOWN, ERRORS: UNKNOWN}),
    ({"hpa_delay_s": 60}, {SCALES: FAIL, BUDGET: PASS, ERRORS: PASS, RESTORED: PASS}),
    ({"pdb_missing": True}, {SCALES: UNKNOWN, BUDGET: FAIL, BACKLOG: UNKNOWN, ERRORS: UNKNOWN}),
    ({"pods_lost_at_s": 100, "pod_start_s": 15}, {BUDGET: FAIL, ERRORS: FAIL, RESTORED: PASS}),
    ({"error_ratio": 0.02}, {SCALES: PASS, BUDGET: PASS, ERRORS: FAIL}),
    ({"fault_absent": True}, {SCALES: UNKNOWN, BUDGET: UNKNOWN, BACKLOG: UNKNOWN, ERRORS: UNKNOWN, RESTORED: PASS}),
    ({"store_down_s": 80}, {SCALES: PASS, BUDGET: PASS, BACKLOG: UNKNOWN, ERRORS: UNKNOWN, RESTORED: PASS}),
    ({"scrapes_end_s": 80}, {SCALES: PASS, BUDGET: PASS, BACKLOG: UNKNOWN, ERRORS: UNKNOWN, RESTORED: PASS}),
    ({"load_ratio": 0.5}, {SCALES: UNKNOWN, BUDGET: UNKNOWN, BACKLOG: UNKNOWN, ERRORS: UNKNOWN, RESTORED: PASS}),
    ({"load_dies_at_s": 70}, {SCALES: UNKNOWN, BUDGET: UNKNOWN, BACKLOG: UNKNOWN, ERRORS: UNKNOWN, RESTORED: PASS}),
    ({"watch_hole_at_s": 90}, {SCALES: UNKNOWN, BUDGET: UNKNOWN, BACKLOG: PASS, ERRORS: PASS, RESTORED: PASS}),
    ({"undo_fails": True}, {SCALES: PASS, BUDGET: PASS, BACKLOG: PASS, ERRORS: PASS, RESTORED: FAIL}),
    ({"lease_lost_at_s": 90}, {SCALES: UNKNOWN, BUDGET: UNKNOWN, BACKLOG: UNKNOWN, ERRORS: UNKNOWN, RESTORED: PASS}),
]


@pytest.mark.parametrize(("switches", "expected"), SABOTAGE, ids=["+".join(switches) for switches, _ in SABOTAGE])
def test_sabotage_of_a_pod_kill_is_answered_as_it_must_be(
    switches: dict[str, object], expected: dict[str, Outcome]
) -> None:
    found = outcomes(rehearse(KILL, **switches))
    assert {name: found[name] for name in expected} == expected


def test_adapters_that_work_off_nothing_break_the_backlog() -> None:
    run = rehearse(QUEUE, adapters_stuck=True)
    assert run.verdicts[BACKLOG].outcome is not PASS
    assert run.verdicts[BACKLOG].figures["tasks_finished"] == 0


def test_a_lease_that_another_run_holds_is_a_refusal_and_nothing_is_touched() -> None:
    run = rehearse(KILL, lease_holder="somebody")
    assert run.record.header.ending is Ending.REFUSED
    assert "somebody" in run.record.header.reason
    assert set(outcomes(run).values()) == {UNKNOWN}
    assert list(run.record.timeline.of("load-edge")) == list(run.record.timeline.of("fault")) == []
