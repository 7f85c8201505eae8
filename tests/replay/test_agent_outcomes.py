"""Records that `agent_outcomes` must pass, fail or leave open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.model.verdict import Outcome
from tests.replay.builders import Run, asserting, good_run, judged

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
KIND = "agent_outcomes"
T_S = np.arange(0.0, 240.0, 2.0)


def outcome_run(**totals: float) -> Run:
    """Return a run of 1,000 tasks, all done, each request tried once."""
    run = asserting(good_run(), KIND)
    ends: dict[str, Any] = {
        "tasks_unique_enqueued": 1000, "tasks_unique_done": 1000, "tasks_dead": 0, "tasks_duplicate": 0,
        "tasks_late": 0, "queue_depth": 0, "planner_requests_total": len(run.requests),
    } | totals  # fmt: skip
    for name, end in ends.items():
        run.series.pop(name, None)
        run.add_series(name, T_S, np.interp(T_S, [0, 50, 150, 240], [0, 0, end, end]))
    return run


def test_all_done_once_in_time_passes() -> None:
    verdict = judged(outcome_run(), KIND)
    assert verdict.outcome is PASS, verdict.reason
    assert verdict.figures["tasks_lost"] == 0
    assert verdict.figures["amplification"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("totals", "reason"),
    [
        ({"tasks_unique_done": 999}, "tasks lost: 1"),
        ({"tasks_unique_done": 990, "tasks_dead": 10}, "tasks dead: 10"),
        ({"tasks_duplicate": 30}, "tasks done twice: 3.00%"),
        ({"tasks_late": 50}, "tasks late: 5.00%"),
        ({"planner_requests_total": 20000}, "tries a request: 2.93"),
    ],
)
def test_each_limit_fails_by_itself(totals: dict[str, float], reason: str) -> None:
    verdict = judged(outcome_run(**totals), KIND)
    assert verdict.outcome is FAIL
    assert reason in verdict.reason


def test_tasks_that_still_wait_are_not_lost() -> None:
    assert judged(outcome_run(tasks_unique_done=990, queue_depth=10), KIND).outcome is PASS


def test_no_task_a_hole_at_the_end_and_a_missing_signal_are_open() -> None:
    nothing = outcome_run(tasks_unique_enqueued=0, tasks_unique_done=0)
    assert judged(nothing, KIND).outcome is OPEN
    holed = outcome_run()
    holed.reshape("tasks_unique_done", lambda t, v: (t[t < 120], v[t < 120]))
    assert judged(holed, KIND).outcome is OPEN
    spoilt = outcome_run()
    spoilt.reshape("tasks_late", lambda t, v: (t, np.where(t > 150, np.nan, v)))
    assert judged(spoilt, KIND).outcome is OPEN
