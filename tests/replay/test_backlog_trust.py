"""What no source of a backlog may hide: a stuck partition, a partition half seen, an order that nobody promised."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from harness.judge import judge
from harness.model.verdict import Outcome
from tests.replay.builders import Run, good_run, judged, scrapes, with_params
from tests.replay.test_backlog_sources import KIND, kafka_run, source_run

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
T_S = scrapes()
END, COMMITTED = "kafka_end_offset", "kafka_committed_offset"


def rising(total: float, from_s: float, to_s: float) -> Any:
    return np.interp(T_S, [from_s, to_s], [0, total]).round()


def add_partition(run: Run, number: int, end: Any = None, committed: Any = None, **labels: str) -> Run:
    for name, values in ((END, end), (COMMITTED, committed)):
        if values is not None:
            run.add_series(name, T_S, values, topic="tasks", partition=str(number), **labels)
    return run


def stuck_run(**params: object) -> Run:
    """Return a topic of which one partition is quick and the other keeps 3 tasks from +60 s on."""
    run = add_partition(kafka_run(**params), 0, rising(100, 54, 60), rising(97, 54, 60))
    return add_partition(run, 1, rising(5000, 54, 150), rising(5000, 54.5, 151))


def test_g10_a_partition_that_is_stuck_does_not_drown_in_the_sum() -> None:
    verdict = judged(stuck_run(age_max="60s"), KIND)
    assert verdict.outcome is FAIL
    assert verdict.figures["backlog_age_max_s"] == pytest.approx(118, abs=4)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda v: np.where(T_S > 120, v - 900, v), "went back"),
        (lambda v: np.where(T_S == T_S[70], np.nan, v), "not finite"),
    ],
)
def test_offsets_that_deny_each_other_leave_it_open_and_what_others_prove_stays_proven(edit: Any, reason: str) -> None:
    assert reason in judged(spoilt(stuck_run(age_max="5m"), edit), KIND).reason
    assert judged(spoilt(stuck_run(age_max="60s"), edit), KIND).outcome is FAIL


def spoilt(run: Run, edit: Any) -> Run:
    quick = run.series[END][1]
    run.series[END].remove(quick)
    return add_partition(run, 1, edit(quick.values))


def test_a_committed_offset_beyond_the_end_is_open() -> None:
    verdict = judged(add_partition(kafka_run(), 0, rising(1000, 54, 140), rising(1000, 54, 140) + 500), KIND)
    assert (verdict.outcome, "beyond its end" in verdict.reason) == (OPEN, True)


@pytest.mark.parametrize("side", ["end", "committed"])
def test_g09_a_partition_of_which_one_side_is_missing_is_unknown(side: str) -> None:
    run = kafka_run((1000, 0))
    verdict = judged(add_partition(run, 5, **{side: np.full(len(T_S), 10.0)}), KIND)
    assert (verdict.outcome, "0 known + 1 partition unknown: tasks/5" in verdict.reason) == (OPEN, True)


def test_two_consumer_groups_are_not_taken_for_one() -> None:
    run = kafka_run((1000, 0))
    verdict = judged(add_partition(run, 0, None, rising(100, 56, 144), consumergroup="other"), KIND)
    assert (verdict.outcome, "several series at once" in verdict.reason) == (OPEN, True)


def test_an_exporter_that_was_replaced_leaves_one_topic() -> None:
    run = kafka_run((1000, 0), (1000, 500))
    for name in (END, COMMITTED):
        whole, run.series[name] = run.series[name], []
        for one in whole:
            early = one.t_s < 100
            for part, where in ((early, "a"), (~early, "b")):
                run.add_series(name, one.t_s[part], one.values[part], **one.labels, instance=where)
    verdict = judged(run, KIND)
    assert verdict.outcome is PASS, verdict.reason


def test_offsets_claim_nothing_of_lost_tasks_and_the_evidence_names_them() -> None:
    verdict = judged(kafka_run((1000, 0)), KIND)
    assert "tasks_lost" not in verdict.figures
    assert "no task lost" not in verdict.observed
    assert END in verdict.evidence[0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_g10_the_oldest_task_is_that_of_the_worst_partition(delays_s: list[int]) -> None:
    run = kafka_run(age_max="10m")
    for number, delay_s in enumerate(delays_s):
        add_partition(run, number, rising(1000, 54, 100), rising(1000, 54 + delay_s, 100 + delay_s))
    assert judged(run, KIND).figures["backlog_age_max_s"] == pytest.approx(max(delays_s), abs=4)


# Counts alone --------------------------------------------------------------------------------------------------------


def test_g10_counts_prove_an_old_task_but_no_young_one_unless_order_is_kept() -> None:
    run = source_run("counts", age_max="60s")  # the counts say 11 s; the queue was never empty for 110 s
    verdict = judged(run, KIND)
    assert (verdict.outcome, "passed over" in verdict.reason) == (OPEN, True)
    assert judged(with_params(run, KIND, in_order=True), KIND).outcome is PASS
    assert judged(with_params(run, KIND, in_order=False, age_max="5s"), KIND).outcome is FAIL


def test_counts_are_read_over_exporters_that_were_replaced() -> None:
    run = source_run("counts", work_rps=15.0, age_max="20s")
    for name in ("queue_depth", "tasks_unique_enqueued", "tasks_unique_done"):
        (one,) = run.series[name]
        run.series[name] = []
        early = one.t_s < 90
        run.add_series(name, one.t_s[early], one.values[early], instance="a")
        run.add_series(name, one.t_s[~early], one.values[~early], instance="b")
    assert judged(run, KIND).outcome is FAIL


# The whole judgement -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "others"),
    [
        (kafka_run((1000, 0)), ("queue_lag", "queue_pending", "queue_up", "queue_depth")),
        (source_run("redis-list"), ("queue_lag", "queue_pending")),
        (source_run("redis-stream"), (END, COMMITTED)),
    ],
)
def test_signals_of_other_kinds_of_queues_in_the_pack_do_not_keep_it_from_passing(
    run: Run, others: tuple[str, ...]
) -> None:
    for name in others:
        run.series[name] = []
    found = next(v for v in judge(run.record(), ASSERTIONS, ASSUMPTIONS).verdicts if v.kind == KIND)
    assert found.outcome is PASS, found.reason


@pytest.mark.parametrize("source", ["redis-stream", "redis-list", "counts"])
def test_c11_a_partial_answer_or_a_hole_of_its_own_signals_still_keeps_it_from_passing(source: str) -> None:
    partial = source_run(source)
    partial.warnings["queue_depth"] = "PARTIAL_RESPONSE"
    holed = source_run(source)
    holed.reshape("tasks_unique_done", lambda t, v: (t[(t < 60) | (t > 100)], v[(t < 60) | (t > 100)]))
    for run in (partial, holed):
        found = next(v for v in judge(run.record(), ASSERTIONS, ASSUMPTIONS).verdicts if v.kind == KIND)
        assert found.outcome is OPEN


def test_two_queues_at_once_are_not_mixed_into_one_and_a_replaced_exporter_is_one() -> None:
    run = good_run()
    whole = run.series["queue_depth"][0]
    run.add_series("queue_depth", whole.t_s, whole.values / 2, instance="other")
    verdict = judged(run, KIND)
    assert verdict.outcome is not PASS
    assert "queue_depth: several series at once (queues, exporters): the query must name one" in verdict.reason
    run.series["queue_depth"] = [
        replace(whole, t_s=whole.t_s[part], values=whole.values[part]) for part in (slice(0, 40), slice(40, None))
    ]
    assert judged(run, KIND).outcome is PASS
