"""Queues of other kinds as the one view of a queue: Redis lists, Kafka topics, what only Prometheus knows. Pure.

Where nobody measures the age of the oldest task, the counts give it: with n tasks finished in order, task n + 1 is the
oldest, and it has waited since that number was reached. A lag in seconds that an exporter estimates is never used
(CASES G10), and a partition without a committed offset is unknown, not empty (CASES G09).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    queue_view,
)
from harness.model.signal import Floats, Harvest, Series, SignalHarvest
from harness.model.time import Window

KAFKA_COMMITTED, KAFKA_END = "kafka_committed_offset", "kafka_end_offset"
KAFKA_SIGNALS = (KAFKA_COMMITTED, KAFKA_END)
UNCOMMITTED = -1.0

View = Callable[[Harvest, Window], QueueView]


def list_view(harvest: Harvest, window: Window) -> QueueView:
    """Look at a Redis list: its length is the depth; there is no group that could lag."""
    return queue_view(harvest, window, tuple(name for name in SIGNALS if name not in {LAG, PENDING}))


def counts_view(harvest: Harvest, window: Window) -> QueueView:
    """Look at a queue of which only depth and counts are known; the age comes from the counts."""
    with_dead = _with_no_dead(harvest)
    view = queue_view(with_dead, window, (DEPTH, ENQUEUED, DONE, DEAD))
    return _with_age(view, with_dead, window)


def kafka_view(harvest: Harvest, window: Window) -> QueueView:
    """Look at a topic's partitions: end offsets are what came, committed ones what was done."""
    problems = [problem for problem in map(harvest.problem, KAFKA_SIGNALS) if problem]
    if problems:
        return replace(counts_view(harvest, window), problems=tuple(problems))
    ends, committed = (_by_partition(harvest, name) for name in (KAFKA_END, KAFKA_COMMITTED))
    known = [key for key in ends if key in committed and not _ever_uncommitted(committed[key], window)]
    unknown = [key for key in ends if key not in known]
    times, came, done = _summed(ends, committed, known)
    made = _harvest_of(harvest, times, came, done)
    view = counts_view(made, window)
    if not unknown:
        return view
    left = view.depth.at(window.end_s)
    told = f"{left:.0f} known + {len(unknown)} partition{'s' * (len(unknown) > 1)} unknown"
    problem = f"{told}: {', '.join(unknown)} never committed an offset, so that their backlog cannot be told"
    return replace(view, problems=(*view.problems, problem))


def _by_partition(harvest: Harvest, name: str) -> dict[str, Series]:
    found = {f"{s.labels.get('topic', '')}/{s.labels.get('partition', '')}": s for s in harvest.series(name)}
    return dict(sorted(found.items()))


def _ever_uncommitted(committed: Series, window: Window) -> bool:
    values = committed.within(window).values
    return not len(values) or bool((values <= UNCOMMITTED).any())


def _summed(
    ends: Mapping[str, Series], committed: Mapping[str, Series], keys: list[str]
) -> tuple[Floats, Floats, Floats]:
    """Sum offsets over partitions at the instants at which all of them were scraped."""
    if not keys:
        return np.empty(0), np.empty(0), np.empty(0)
    every = [side[key] for key in keys for side in (ends, committed)]
    times = every[0].t_s
    for one in every[1:]:
        times = np.intersect1d(times, one.t_s)

    def total(side: Mapping[str, Series]) -> Floats:
        rows = [side[key].values[np.searchsorted(side[key].t_s, times)] for key in keys]
        return np.asarray(np.sum(rows, axis=0), dtype=np.float64)

    return times, total(ends), total(committed)


def _harvest_of(harvest: Harvest, times: Floats, came: Floats, done: Floats) -> Harvest:
    """Return the counts as the signals of a queue, with the warnings of what they were made of."""
    values = {ENQUEUED: came, DONE: done, DEPTH: came - done}
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
    names = (ENQUEUED, DONE, DEAD, DEPTH)
    if any(not harvest.series(name) for name in names):
        return view
    enqueued, *others = (harvest.series(name)[0] for name in names)
    times = enqueued.t_s
    for one in others:
        times = np.intersect1d(times, one.t_s)
    came, ended, given_up, depth = (one.values[np.searchsorted(one.t_s, times)] for one in (enqueued, *others))
    inside = (times >= window.start_s) & (times < window.end_s)
    if not inside.any() or not np.isfinite([came, ended, given_up, depth]).all() or (np.diff(came) < 0).any():
        return view
    vanished = came[0] - ended[0] - given_up[0] - depth[0]  # before the run; they are nobody's backlog
    age = age_by_counts_s(times, came - vanished, ended + given_up)
    peak = int(np.argmax(np.where(inside, age, -1.0)))
    step_s = harvest.scrape_interval_s or 1.0
    coverage = replace(enqueued, t_s=times, values=came).coverage(window, step_s)
    return replace(view, age_max_s=float(age[peak]), age_max_at_s=float(times[peak]), coverage=coverage)


SOURCES: Mapping[str, View] = {
    "redis-stream": queue_view,
    "redis-list": list_view,
    "kafka": kafka_view,
    "counts": counts_view,
}
"""Every kind of queue by name. ``counts``: only depth and counts are known, such as from Prometheus alone."""
