"""Records that `backlog` must pass, fail or leave open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.model.verdict import Outcome
from tests.replay.builders import Run, add_queue, good_run, judged, with_params

KIND = "backlog"
AGE = "queue_oldest_task_age_seconds"


def idle_run(**params: Any) -> Run:
    """Return a run in which nothing is enqueued."""
    run = good_run()
    add_queue(run, enqueue_rps=0.0)
    return with_params(run, KIND, **params)


def test_a_backlog_that_stays_young_and_drains_passes() -> None:
    verdict = judged(good_run(), KIND)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["tasks_enqueued"] == verdict.figures["tasks_finished"] == 2040


def test_a_task_older_than_the_limit_fails_even_if_the_rest_is_missing() -> None:
    run = with_params(good_run(), KIND, age_max="10s")
    assert "the limit is 10 s" in judged(run, KIND).reason
    for name in ("queue_lag", "tasks_unique_done", "queue_up"):
        run.errors[name] = "HTTP 503"
    assert judged(run, KIND).outcome is Outcome.FAIL


def test_a_backlog_that_does_not_drain_in_time_fails() -> None:
    run = good_run()
    add_queue(run, work_rps=15.0)
    verdict = judged(with_params(run, KIND, drained_within="20s"), KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "still waiting 20 s after the burst" in verdict.reason


def test_a_record_that_ends_before_the_queue_is_short_is_inconclusive() -> None:
    run = good_run()
    add_queue(run, work_rps=15.0)
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "waiting at the end of the record" in verdict.reason


def test_a_lost_task_fails() -> None:
    run = good_run()
    run.reshape("tasks_unique_done", lambda t, v: (t, np.where(t > 120, v - 3, v)))
    run.reshape("queue_depth", lambda t, v: (t, v))
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "3 tasks were enqueued and are neither done, dead nor in the queue" in verdict.reason


def test_tasks_lost_in_an_earlier_run_do_not_count() -> None:
    run = good_run()
    run.reshape("tasks_unique_enqueued", lambda t, v: (t, v + 7))
    assert judged(run, KIND).outcome is Outcome.PASS


def test_more_tasks_accounted_for_than_came_is_inconclusive() -> None:
    run = good_run()
    run.reshape("tasks_dead", lambda t, v: (t, np.where(t > 100, v + 2, v)))
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_a_queue_in_which_nothing_was_put_proves_nothing() -> None:
    verdict = judged(idle_run(), KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "nothing was queued" in verdict.reason


def test_an_idle_queue_passes_where_no_task_is_expected() -> None:
    assert judged(idle_run(expect_tasks=False), KIND).outcome is Outcome.PASS


def test_an_idle_queue_fails_where_a_task_waits_unexpectedly() -> None:
    assert judged(with_params(good_run(), KIND, expect_tasks=False), KIND).outcome is Outcome.FAIL


def test_an_idle_queue_that_could_not_be_read_is_inconclusive() -> None:
    run = idle_run(expect_tasks=False)
    run.reshape("queue_up", lambda t, v: (t, np.where((t > 90) & (t < 125), 0.0, v)))
    assert "could not be read for 3" in judged(run, KIND).reason


def test_a_queue_that_could_not_be_read_for_no_longer_than_a_hole_may_last_is_judged_by_the_rest() -> None:
    run = idle_run(expect_tasks=False)
    run.reshape("queue_up", lambda t, v: (t, np.where((t > 90) & (t < 95), 0.0, v)))
    assert judged(run, KIND).outcome is Outcome.PASS


def gone(run: Run) -> None:
    run.series[AGE] = []


def nan(run: Run) -> None:
    run.reshape(AGE, lambda t, v: (t, np.where((t > 100) & (t < 110), np.nan, v)))


def holed(run: Run) -> None:
    run.reshape(AGE, lambda t, v: (t[(t < 100) | (t > 130)], v[(t < 100) | (t > 130)]))


def lag_null(run: Run) -> None:
    run.series["queue_lag"] = []


def lag_null_for_a_while(run: Run) -> None:
    run.reshape("queue_lag", lambda t, v: (t[(t < 100) | (t > 130)], v[(t < 100) | (t > 130)]))


def partial(run: Run) -> None:
    run.warnings["queue_depth"] = "PARTIAL_RESPONSE"


def age_stuck_at_zero(run: Run) -> None:
    run.reshape(AGE, lambda t, v: (t, np.zeros_like(v)))


def age_of_nothing(run: Run) -> None:
    run.reshape(AGE, lambda t, v: (t, np.maximum(v, 1.0)))


def age_denied_by_counts(run: Run) -> None:
    run.reshape(AGE, lambda t, v: (t, v / 4))


def depth_is_the_streams_length(run: Run) -> None:
    for name in ("queue_lag", "queue_pending"):
        run.reshape(name, lambda t, v: (t, v / 2))


def counts_began_anew(run: Run) -> None:
    for name in ("tasks_unique_enqueued", "tasks_unique_done", "tasks_dead"):
        run.reshape(name, lambda t, v: (t, np.where(t > 100, v - v[t > 100][0], v)))


def never_seen_together(run: Run) -> None:
    run.reshape("tasks_dead", lambda t, v: (t + 0.5, v))


@pytest.mark.parametrize(
    ("spoiler", "reason"),
    [
        (gone, "no series"),
        (nan, "not finite"),
        (holed, "a hole of"),
        (lag_null, "signal queue_lag: no series"),
        (lag_null_for_a_while, "signal queue_lag: a hole of"),
        (partial, "PARTIAL_RESPONSE"),
        (age_stuck_at_zero, "the oldest is 0 s old"),
        (age_of_nothing, "none waits"),
        (age_denied_by_counts, "the counts prove an age of"),
        (depth_is_the_streams_length, "not the group's lag plus pending"),
        (counts_began_anew, "began anew"),
        (never_seen_together, "never seen together"),
    ],
)
def test_signals_that_are_missing_or_deny_each_other_are_inconclusive_g10_g11(spoiler: Any, reason: str) -> None:
    run = good_run()
    spoiler(run)
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert reason in verdict.reason


def test_frozen_metrics_are_not_a_short_queue() -> None:
    run = good_run()
    for name in list(run.series):
        run.reshape(name, lambda t, v: (t, np.full_like(v, v[0])))
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def test_an_exporter_that_was_replaced_leaves_one_view() -> None:
    run = good_run()
    for name in [n for n in run.series if n.startswith(("queue", "tasks"))]:
        (one,) = run.series[name]
        run.series[name] = []
        early = one.t_s < 100
        run.add_series(name, one.t_s[early], one.values[early], instance="a")
        run.add_series(name, one.t_s[~early], one.values[~early], instance="b")
    assert judged(run, KIND).outcome is Outcome.PASS


def test_without_load_it_is_inconclusive() -> None:
    run = good_run()
    run.drop("load-edge")
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE
