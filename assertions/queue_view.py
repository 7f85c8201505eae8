"""One consistent view of the queue from its signals, with everything that stands against trusting it. Pure.

Backlog is the group's lag plus its pending entries, not the stream's length or its pending entries alone (CASES G11);
the depth signal must say the same. It judges no limit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assertions.temporal import Steps, steps_of_series
from harness.model.signal import Floats, Harvest, Series, joined
from harness.model.time import Window
from harness.model.verdict import Coverage

SIGNALS = (
    "queue_oldest_task_age_seconds",
    "queue_depth",
    "queue_lag",
    "queue_pending",
    "queue_up",
    "tasks_unique_enqueued",
    "tasks_unique_done",
    "tasks_dead",
)
AGE, DEPTH, LAG, PENDING, UP, ENQUEUED, DONE, DEAD = SIGNALS

REMEDY = "see that the queue exporter is scraped and reads its broker all through the run"
RUN_OF_SAMPLES = 3
"""So many samples on end must contradict each other: one may fall between two changes."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class QueueView:
    """The queue over a window. NaN is "not known".

    Attributes:
        age_max_s: Greatest age of the oldest task.
        age_max_at_s: When.
        depth: Unfinished tasks over time.
        depth_max: Most of them.
        enqueued: Tasks that came within the window.
        finished: Tasks that were done or became dead letters within it.
        lost: Tasks that vanished within it; negative where more are accounted for than came.
        problems: What is missing.
        contradictions: Where the signals deny each other.
        coverage: Of the age signal.
        age_from: What the age was taken from.
        age_bound_s: No task can have been older; infinite where nothing bounds it, NaN where the age is as measured.
        loss_known: Whether tasks that vanish can be seen at all.
    """

    age_max_s: float
    age_max_at_s: float
    depth: Steps
    depth_max: float
    enqueued: float
    finished: float
    lost: float
    problems: tuple[str, ...]
    contradictions: tuple[str, ...]
    coverage: Coverage
    age_from: str = f"signal {AGE}"
    age_bound_s: float = math.nan
    loss_known: bool = True


def queue_view(harvest: Harvest, window: Window, names: Sequence[str] = SIGNALS) -> QueueView:
    """Look at the queue over a window (and the one sample before it, which holds at its start).

    Args:
        harvest: The signals.
        window: What is looked at.
        names: Those of `SIGNALS` that this kind of queue has; of the others nothing is said, and nothing missed.
    """
    series = {name: joined(name, harvest.series(name) if name in names else ()) for name in SIGNALS}
    gap_s = _hole_max_s(harvest, DEPTH)
    age, depth = series[AGE].within(window), series[DEPTH].within(window)
    peak = int(np.nanargmax(age.values)) if np.isfinite(age.values).any() else None
    step_s = harvest.scrape_interval_s or 1.0
    return QueueView(
        age_max_s=math.nan if peak is None else float(age.values[peak]),
        age_max_at_s=math.nan if peak is None else float(age.t_s[peak]),
        depth=steps_of_series(series[DEPTH], gap_s),
        depth_max=float(np.nanmax(depth.values)) if np.isfinite(depth.values).any() else math.nan,
        enqueued=_rise(series[ENQUEUED], window),
        finished=_rise(series[DONE], window) + _rise(series[DEAD], window),
        lost=_lost(series, window),
        problems=tuple(_problems(harvest, series, window, names)),
        contradictions=tuple(_contradictions(series, window, step_s, names)),
        coverage=series[AGE].coverage(window, step_s),
    )


def _hole_max_s(harvest: Harvest, name: str) -> float:
    asked = harvest.signals.get(name)
    return asked.hole_max_s if asked else 0.0


def _problems(harvest: Harvest, series: Mapping[str, Series], window: Window, names: Sequence[str]) -> Iterator[str]:
    """Yield what is missing, each problem once with the signals that have it."""
    by_problem: dict[str, list[str]] = {}
    for name in names:
        for problem in _problems_of(harvest, name, series[name].within(window), window):
            by_problem.setdefault(problem, []).append(name)
    for problem, bad in by_problem.items():
        yield f"signal{'s' if len(bad) > 1 else ''} {', '.join(bad)}: {problem}"
    if UP not in names:
        return
    up = series[UP].within(window)
    down = up.t_s[up.values < 1]
    blind_s, limit_s = _longest_blindness_s(up, window), _hole_max_s(harvest, UP)
    if len(down) and blind_s > limit_s:
        samples = f"{len(down)} samples of queue_up are 0"
        yield f"the queue could not be read for {blind_s:.0f} s from +{down[0]:.0f}s (limit {limit_s:g} s; {samples})"


def _longest_blindness_s(up: Series, window: Window) -> float:
    """Return the longest time between two samples at which the queue could be read; a broker away is a hole."""
    seen = [window.start_s, *up.t_s[up.values >= 1].tolist(), window.end_s]
    return max((later - earlier for earlier, later in itertools.pairwise(seen)), default=window.duration_s)


def _problems_of(harvest: Harvest, name: str, part: Series, window: Window) -> Iterator[str]:
    problem = harvest.problem(name)
    if problem:
        yield problem.removeprefix(f"signal {name}").lstrip(": ")
        return
    if overlap(harvest.series(name)):
        yield "several series at once (queues, exporters): the query must name one"
    if not np.isfinite(part.values).all():
        yield "holds values that are not finite numbers"
    gap_s, limit_s = part.coverage(window, 1.0).gap_max_s, _hole_max_s(harvest, name)
    if gap_s > limit_s:
        yield f"a hole of {gap_s:.0f} s (limit {limit_s:g} s)"


def overlap(parts: Sequence[Series]) -> bool:
    """Tell whether two series of one thing ran at once; an exporter that was replaced leaves one after the other."""
    spans = sorted((float(one.t_s[0]), float(one.t_s[-1])) for one in parts if len(one.t_s))
    return any(later[0] <= earlier[1] for earlier, later in itertools.pairwise(spans))


def _rise(counter: Series, window: Window) -> float:
    """Return how much a count rose from the window's start to its last sample; NaN where it is not known."""
    before = counter.values[counter.t_s <= window.start_s]
    inside = counter.within(window).values
    if not len(inside):
        return math.nan
    return float(inside[-1] - (before[-1] if len(before) else inside[0]))


def _together(series: Mapping[str, Series], names: Sequence[str], window: Window) -> tuple[Floats, list[Floats]]:
    """Return the instants at which all signals were scraped at once, and their values there."""
    times = series[names[0]].t_s
    for name in names[1:]:
        times = np.intersect1d(times, series[name].t_s)
    times = times[times < window.end_s]
    values = [series[name].values[np.searchsorted(series[name].t_s, times)] for name in names]
    return times, values


def _lost(series: Mapping[str, Series], window: Window) -> float:
    """Return tasks that vanished: the least of the last two samples, against the state at the window's start."""
    times, (enqueued, done, dead, depth) = _together(series, (ENQUEUED, DONE, DEAD, DEPTH), window)
    missing = enqueued - done - dead - depth
    inside = missing[times >= window.start_s]
    if len(inside) < 2 or not np.isfinite(missing).all():  # noqa: PLR2004 - two samples, so that one is no accident
        return math.nan
    before = missing[times < window.start_s]
    last = inside[-2:] - (before[-1] if len(before) else inside[0])
    return float(last[np.argmin(np.abs(last))])


def _contradictions(series: Mapping[str, Series], window: Window, step_s: float, names: Sequence[str]) -> Iterator[str]:
    if AGE in names:
        yield from _age_against_depth(series, window)
        yield from _age_against_counts(series, window, step_s)
    if {LAG, PENDING} <= set(names):
        yield from _depth_against_group(series, window)
    times, (enqueued, done) = _together(series, (ENQUEUED, DONE), window)
    anew = (np.diff(enqueued) < 0) | (np.diff(done) < 0)
    if anew.any():
        yield f"the task counts began anew at +{times[1:][anew][0]:.0f}s: tasks before it cannot be accounted for"


def _age_against_depth(series: Mapping[str, Series], window: Window) -> Iterator[str]:
    times, (age, depth) = _together(series, (AGE, DEPTH), window)
    for wrong, text in (
        ((age <= 0) & (depth > 0), "tasks wait and the oldest is 0 s old"),
        ((age > 0) & (depth <= 0), "the oldest task has an age and none waits"),
    ):
        at = _first_run(wrong)
        if at is not None:
            yield f"from +{times[at]:.0f}s on {text}"


def _age_against_counts(series: Mapping[str, Series], window: Window, step_s: float) -> Iterator[str]:
    """Compare the age gauge with what the counts prove (CASES G10).

    With n tasks finished, one of the first n + 1 that were enqueued still waits, so the oldest is at least as old as
    the instant at which number n + 1 was seen. This holds whatever the order in which tasks are finished. Tasks that
    had vanished before the first sample are taken off first.
    """
    times, (age, enqueued, done, dead, depth) = _together(series, (AGE, ENQUEUED, DONE, DEAD, DEPTH), window)
    if not len(times) or not np.isfinite([age, enqueued, done, dead, depth]).all() or (np.diff(enqueued) < 0).any():
        return
    least_s = age_by_counts_s(times, enqueued - (enqueued[0] - done[0] - dead[0] - depth[0]), done + dead)
    at = _first_run(age < least_s - (2 * step_s + 1))
    if at is not None:
        told = f"an age of {least_s[at]:.0f} s, the age signal says {age[at]:.0f} s"
        yield f"at +{times[at]:.0f}s the counts prove {told}"


def age_by_counts_s(times: Floats, enqueued: Floats, finished: Floats) -> Floats:
    """Return the least age of the oldest task that counts prove, at each instant; 0 where none waits.

    Args:
        times: Instants.
        enqueued: Tasks that came up to each instant, rising.
        finished: Tasks that were finished up to each instant.
    """
    seen = np.searchsorted(enqueued, finished + 1, side="left")
    return np.where(seen < len(times), times - times[np.minimum(seen, len(times) - 1)], 0.0)


def _depth_against_group(series: Mapping[str, Series], window: Window) -> Iterator[str]:
    times, (depth, lag, pending) = _together(series, (DEPTH, LAG, PENDING), window)
    apart = np.abs(lag + pending - depth)
    at = _first_run(apart > np.maximum(2.0, 0.05 * depth))
    if at is not None:
        told = f"depth {depth[at]:.0f}, lag {lag[at]:.0f} + pending {pending[at]:.0f}"
        yield f"from +{times[at]:.0f}s on the depth is not the group's lag plus pending ({told})"


def _first_run(wrong: Bools) -> int | None:
    """Return the index at which the first run of `RUN_OF_SAMPLES` begins."""
    if len(wrong) < RUN_OF_SAMPLES:
        return None
    runs = np.lib.stride_tricks.sliding_window_view(wrong, RUN_OF_SAMPLES).all(axis=1)
    return int(np.argmax(runs)) if runs.any() else None
