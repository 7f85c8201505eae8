"""Backlogs of Redis lists, Kafka topics and counts alone: must pass, must fail, must stay open (CASES G09 to G12)."""

from __future__ import annotations

import numpy as np
import pytest

from harness.model.verdict import Outcome
from tests.replay.builders import Run, add_queue, good_run, judged, scrapes, with_params

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
KIND = "backlog"
GROUP, AGE = ("queue_lag", "queue_pending"), "queue_oldest_task_age_seconds"


def source_run(source: str, work_rps: float = 18.0, **params: object) -> Run:
    run = good_run()
    add_queue(run, work_rps=work_rps)
    for name in {"redis-list": GROUP, "counts": (*GROUP, AGE, "queue_up", "tasks_dead")}.get(source, ()):
        del run.series[name]
    if source == "counts":
        run.reshape("tasks_unique_done", lambda t, v: (t, v + 10))
    return with_params(run, KIND, source=source, **params)


@pytest.mark.parametrize("source", ["redis-stream", "redis-list", "counts"])
def test_each_source_passes_a_young_backlog_and_fails_an_old_one(source: str) -> None:
    good = judged(source_run(source), KIND)
    assert good.outcome is PASS, good.reason
    old = judged(source_run(source, age_max="5s"), KIND)
    assert (old.outcome, "the limit is 5 s" in old.reason) == (FAIL, True)


@pytest.mark.parametrize("source", ["redis-list", "counts"])
def test_a_missing_signal_of_its_own_leaves_it_open(source: str) -> None:
    run = source_run(source)
    del run.series["tasks_unique_done"]
    assert judged(run, KIND).outcome is OPEN


def test_g11_a_stream_without_its_groups_figures_is_open_and_a_list_has_none() -> None:
    run = source_run("redis-list")
    assert judged(with_params(run, KIND, source="redis-stream"), KIND).outcome is OPEN


def test_g10_the_age_that_counts_give_is_the_age_that_was_measured() -> None:
    measured = judged(source_run("redis-stream"), KIND).figures["backlog_age_max_s"]
    counted = judged(source_run("counts"), KIND).figures["backlog_age_max_s"]
    assert counted == pytest.approx(measured, abs=4.0)


# Kafka ---------------------------------------------------------------------------------------------------------------


def kafka_run(*partitions: tuple[float, float], **params: object) -> Run:
    """Return a run with partitions: how many tasks of 1,000 are committed at the end, and at which offset it began."""
    run = good_run()
    for name in list(run.series):
        if name.startswith(("queue_", "tasks_")):
            del run.series[name]
    times = scrapes()
    for number, (done, start) in enumerate(partitions):
        labels = {"topic": "tasks", "partition": str(number)}
        run.add_series("kafka_end_offset", times, np.interp(times, [54, 140], [start, start + 1000]), **labels)
        committed = np.full(len(times), -1.0) if done < 0 else np.interp(times, [56, 144], [start, start + done])
        run.add_series("kafka_committed_offset", times, committed, **labels)
    return with_params(run, KIND, source="kafka", **params)


def test_a_topic_that_is_worked_off_passes_and_one_that_is_not_fails() -> None:
    good = judged(kafka_run((1000, 0), (1000, 500)), KIND)
    assert good.outcome is PASS, good.reason
    assert good.figures["tasks_enqueued"] == pytest.approx(2000, abs=2)
    old = judged(kafka_run((600, 0), age_max="10s"), KIND)
    assert (old.outcome, "the limit is 10 s" in old.reason) == (FAIL, True)


def test_g09_a_partition_without_a_committed_offset_is_told_apart_and_never_a_pass() -> None:
    verdict = judged(kafka_run((980, 0), (-1, 0)), KIND)
    assert verdict.outcome is not PASS
    assert "20 known + 1 partition unknown: tasks/1" in verdict.reason


def test_g10_a_quiet_topic_has_an_age_of_zero_and_not_none() -> None:
    run = kafka_run((1000, 0))
    run.reshape("kafka_end_offset", lambda t, v: (t, v * 0 + 7))
    run.reshape("kafka_committed_offset", lambda t, v: (t, v * 0 + 7))
    verdict = judged(run, KIND)
    assert verdict.figures["backlog_age_max_s"] == 0
    assert verdict.outcome is OPEN, "nothing was queued"


def test_g12_a_group_that_appears_late_is_open_not_empty() -> None:
    run = kafka_run((1000, 0))
    run.reshape("kafka_committed_offset", lambda t, v: (t, np.where(t < 100, -1.0, v)))
    assert judged(run, KIND).outcome is OPEN


def test_no_partition_at_all_is_open() -> None:
    run = kafka_run()
    assert judged(run, KIND).outcome is OPEN
