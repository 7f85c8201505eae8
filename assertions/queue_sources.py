"""Queues of other kinds as the one view of a queue: Redis lists, Kafka topics, what only Prometheus knows. Pure.

Where nobody measures the age of the oldest task, counts bound it: with n tasks finished, one of the first n + 1 still
waits, so the oldest is at least as old as that number; and none is older than the last instant at which the queue was
empty. Within a partition of Kafka order is kept, so that there the first bound is the age itself: each partition has
its own, since a stuck one would drown in the sum. A lag in seconds that an exporter estimates is never used (CASES
G10), and a partition without a committed offset is unknown, not empty (CASES G09).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from assertions.queue_view import (
    DEAD,
    DEPTH,
    DONE,
    ENQUEUED,
    LAG,
    PENDING,
    SIGNALS,
    QueueView,
    age_by_counts_s,
    overlap,
    queue_view,
)
from harness.model.signal import Floats, Harvest, Series, SignalHarvest, joined
from harness.model.time import Window

KAFKA_COMMITTED, KAFKA_END = "kafka_committed_offset", "kafka_end_offset"
KAFKA_SIGNALS = (KAFKA_COMMITTED, KAFKA_END)
UNCOMMITTED = -1.0

View = Callable[[Harvest, Window], QueueView]


def list_view(harvest: Harvest, window: Window) -> QueueView:
    """Look at a Redis list: its length is the depth; there is no group that could lag."""
    return queue_view(harvest, window, tuple(name for name in SIGNALS if name not in {LAG, PENDING}))


def counts_view(harvest: Harvest, window: Window) -> QueueView:
    """Look at a queue of which only depth and counts are known; they bound the age."""
    with_dead = _with_no_dead(harvest)
    view = queue_view(with_dead, window, (DEPTH, ENQUEUED, DONE, DEAD))
    return _with_age(view, with_dead, window)


def kafka_view(harvest: Harvest, window: Window) -> QueueView:
    """Look at a topic's partitions: end offsets are what came, committed ones what was done."""
    problems = [problem for problem in map(harvest.problem, KAFKA_SIGNALS) if problem]
    if problems:
        return _of_offsets(queue_view(Harvest(), window), problems)
    ends, committed = (_by_partition(harvest, name) for name in (KAFKA_END, KAFKA_COMMITTED))
    several = sorted({key for side in (ends, committed) for key, parts in side.items() if overlap(parts)})
    if several:
        told = (
            f"partition {several[0]} has several series at once (consumer groups, exporters): the query must name one"
        )
        return _of_offsets(queue_view(Harvest(), window), [told])
    both = {
        key: (joined(KAFKA_END, ends[key]), joined(KAFKA_COMMITTED, committed[key]))
        for key in ends.keys() & committed.keys()
    }
    known = {key: sides for key, sides in sorted(both.items()) if not _ever_uncommitted(sides[1], window)}
    times, came, done = _summed(list(known.values()))
    view = queue_view(_harvest_of(harvest, times, came, done), window, (DEPTH, ENQUEUED, DONE, DEAD))
    view = _with_oldest(view, known, window)
    unknown = sorted((ends.keys() | committed.keys()) - known.keys())
    return _of_offsets(view, _unknown_told(view, unknown, window))


def _of_offsets(view: QueueView, problems: Sequence[str]) -> QueueView:
    kept = view.problems if not math.isnan(view.enqueued) or not problems else ()  # what follows from ours says nothing
    age_from = f"signals {KAFKA_END} and {KAFKA_COMMITTED}, partition by partition"
    return replace(view, problems=(*kept, *problems), lost=math.nan, loss_known=False, age_from=age_from)


def _unknown_told(view: QueueView, unknown: Sequence[str], window: Window) -> list[str]:
    if not unknown:
        return []
    left = view.depth.at(window.end_s) if len(view.depth.t_s) else 0.0
    told = f"{left:.0f} known + {len(unknown)} partition{'s' * (len(unknown) > 1)} unknown: {', '.join(unknown)}"
    return [f"{told} had no committed offset, or no end offset, for some time, so that their backlog cannot be told"]


def _by_partition(harvest: Harvest, name: str) -> dict[str, list[Series]]:
    found: dict[str, list[Series]] = {}
    for one in harvest.series(name):
        key = f"{one.labels.get('topic', '')}/{one.labels.get('partition', '')}"
        found.setdefault(key, []).append(one)
    return found


def _ever_uncommitted(committed: Series, window: Window) -> bool:
    values = committed.within(window).values
    return not len(values) or bool((values <= UNCOMMITTED).any())


def _together(one: Series, other: Series) -> tuple[Floats, Floats, Floats]:
    """Return the instants at which both were scraped, and their values there."""
    times = np.intersect1d(one.t_s, other.t_s)
    at, other_at = np.searchsorted(one.t_s, times), np.searchsorted(other.t_s, times)
    return times, one.values[at], other.values[other_at]


def _summed(sides: Sequence[tuple[Series, Series]]) -> tuple[Floats, Floats, Floats]:
    """Sum offsets over partitions at the instants at which all of them were scraped."""
    every = [one for pair in sides for one in pair]
    if not every:
        return np.empty(0), np.empty(0), np.empty(0)
    times = every[0].t_s
    for one in every[1:]:
        times = np.intersect1d(times, one.t_s)
    rows = np.array([one.values[np.searchsorted(one.t_s, times)] for one in every], dtype=np.float64)
    return times, rows[0::2].sum(axis=0), rows[1::2].sum(axis=0)


def _with_oldest(view: QueueView, known: Mapping[str, tuple[Series, Series]], window: Window) -> QueueView:
    """Add the age of the oldest task of any partition, and where the offsets of one deny each other."""
    oldest, oldest_at_s = math.nan, math.nan
    wrong: list[str] = []
    for key, (end, done) in known.items():
        times, came, ended = _together(end, done)
        told = _wrong(came, ended)
        if told:  # the sum may hide it; what other partitions prove stays proven
            wrong.append(f"partition {key}: {told}")
            continue
        age = np.where((times >= window.start_s) & (times < window.end_s), age_by_counts_s(times, came, ended), -1.0)
        peak = int(np.argmax(age))
        if age[peak] >= 0 and not age[peak] <= oldest:
            oldest, oldest_at_s = float(age[peak]), float(times[peak])
    contradictions = (*view.contradictions, *wrong)
    return replace(view, age_max_s=oldest, age_max_at_s=oldest_at_s, contradictions=contradictions)


def _wrong(came: Floats, ended: Floats) -> str:
    """Return why the offsets of one partition cannot be leaned on; empty where they can."""
    if not len(came):
        return "its offsets were never scraped together"
    if not np.isfinite([came, ended]).all():
        return "its offsets hold values that are not finite numbers"
    if (np.diff(came) < 0).any() or (np.diff(ended) < 0).any():
        return "its offsets went back: the topic was made anew, or the group was set back"
    if (ended[:-1] > came[1:]).any():  # what is committed had been written one scrape later at the latest
        return "its committed offset lies beyond its end"
    return ""


def _harvest_of(harvest: Harvest, times: Floats, came: Floats, done: Floats) -> Harvest:
    """Return the offsets' sums as the signals of a queue."""
    values = {ENQUEUED: came, DONE: done, DEPTH: came - done, DEAD: np.zeros(len(times))}
    asked = harvest.signals[KAFKA_END]
    made = {
        name: SignalHarvest(replace(asked.signal, name=name), (Series(name, {}, times, row),), asked.step_s)
        for name, row in values.items()
        if len(times)
    }
    return replace(harvest, signals=made)


def _with_no_dead(harvest: Harvest) -> Harvest:
    """Add a count of dead letters that stays at 0, where the queue knows none."""
    if DEAD in harvest.signals or DONE not in harvest.signals:
        return harvest
    done = harvest.signals[DONE]
    none = tuple(replace(one, signal=DEAD, values=np.zeros(len(one.values))) for one in done.series)
    dead = replace(done, signal=replace(done.signal, name=DEAD), series=none)
    return replace(harvest, signals={**harvest.signals, DEAD: dead})


def _with_age(view: QueueView, harvest: Harvest, window: Window) -> QueueView:
    """Add both bounds of the age, from series that replaced exporters may have left in parts."""
    view = replace(view, age_from=f"signals {ENQUEUED} and {DONE}")
    parts = [joined(name, harvest.series(name)) for name in (ENQUEUED, DONE, DEAD, DEPTH)]
    times = parts[0].t_s
    for one in parts[1:]:
        times = np.intersect1d(times, one.t_s)
    came, ended, given_up, depth = (one.values[np.searchsorted(one.t_s, times)] for one in parts)
    inside = (times >= window.start_s) & (times < window.end_s)
    if not inside.any() or not np.isfinite([came, ended, given_up, depth]).all() or (np.diff(came) < 0).any():
        return view
    vanished = came[0] - ended[0] - given_up[0] - depth[0]  # before the run; they are nobody's backlog
    age = age_by_counts_s(times, came - vanished, ended + given_up)
    peak = int(np.argmax(np.where(inside, age, -1.0)))
    coverage = replace(parts[0], t_s=times, values=came).coverage(window, harvest.scrape_interval_s or 1.0)
    bound_s = float(_since_empty_s(times, depth)[inside].max())
    return replace(
        view, age_max_s=float(age[peak]), age_max_at_s=float(times[peak]), age_bound_s=bound_s, coverage=coverage
    )


def _since_empty_s(times: Floats, depth: Floats) -> Floats:
    """Return how long ago the queue was last seen empty, at each instant: nothing in it can be older."""
    empty_s = np.maximum.accumulate(np.where(depth <= 0, times, -np.inf))
    return times - empty_s


SOURCES: Mapping[str, View] = {
    "redis-stream": queue_view,
    "redis-list": list_view,
    "kafka": kafka_view,
    "counts": counts_view,
}
"""Every kind of queue by name. ``counts``: only depth and counts are known, such as from Prometheus alone."""
