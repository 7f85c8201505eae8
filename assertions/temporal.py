"""Always, never, eventually and held-for over values that hold until the next one, with holes that stay unknown. Pure.

Every answer is True, False or None (it cannot be told). An unknown stretch never turns an answer into True, and a
counterexample outside it still proves False.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.model.signal import Floats, Series
from harness.model.time import Window

Predicate = Callable[[Floats], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch over which a condition holds, does not hold, or cannot be told (None)."""

    start_s: float
    end_s: float
    holds: bool | None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Steps:
    """A value that holds from each instant to the next; NaN where it is unknown.

    Attributes:
        t_s: Instants in seconds since the run's origin, rising.
        values: Value from that instant on, same length.
    """

    t_s: Floats
    values: Floats

    def at(self, t_s: float) -> float:
        """Return the value at an instant; NaN before the first."""
        index = int(np.searchsorted(self.t_s, t_s, side="right")) - 1
        return float(self.values[index]) if index >= 0 else float("nan")

    def within(self, window: Window) -> Steps:
        """Return the part inside a window, beginning with the value that holds at its start."""
        inside = (self.t_s > window.start_s) & (self.t_s < window.end_s)
        t_s = np.concatenate(([window.start_s], self.t_s[inside]))
        return Steps(t_s, np.concatenate(([self.at(window.start_s)], self.values[inside])))

    def changes(self) -> list[tuple[float, float, float]]:
        """Return ``(t_s, before, after)`` of every change between two known values."""
        known = np.isfinite(self.values)
        t_s, values = self.t_s[known], self.values[known]
        moved = np.flatnonzero(np.diff(values) != 0) + 1
        return [(float(t_s[i]), float(values[i - 1]), float(values[i])) for i in moved]


def steps_of(pairs: Iterable[tuple[float, float | None]]) -> Steps:
    """Make steps of ``(t_s, value)`` pairs in order of time; None becomes unknown, never 0 (CASES B05)."""
    listed = [(t, float("nan") if value is None else float(value)) for t, value in pairs]
    array = np.array(listed, dtype=np.float64).reshape(-1, 2)
    return Steps(array[:, 0], array[:, 1])


def steps_of_series(series: Series, gap_max_s: float) -> Steps:
    """Make steps of samples: each holds until the next, but no longer than ``gap_max_s``; then it is unknown."""
    if not len(series.t_s):
        return Steps(series.t_s, series.values)
    after = np.append(series.t_s[1:], np.inf)
    lapses = (after - series.t_s) > gap_max_s
    t_s = np.concatenate((series.t_s, series.t_s[lapses] + gap_max_s))
    values = np.concatenate((series.values, np.full(int(lapses.sum()), np.nan)))
    order = np.argsort(t_s, kind="stable")
    return Steps(t_s[order], values[order])


def spans(steps: Steps, window: Window, predicate: Predicate) -> tuple[Span, ...]:
    """Cut a window into stretches by whether a predicate holds.

    Args:
        steps: The values.
        window: What is looked at.
        predicate: Vectorised condition; it is asked for finite values only.

    Returns:
        Touching spans that fill the window, neighbours differing in ``holds``.
    """
    part = steps.within(window)
    known = np.isfinite(part.values)
    truth = predicate(np.where(known, part.values, 0.0))
    edges = np.append(part.t_s, window.end_s)
    found: list[Span] = []
    for i in range(len(part.t_s)):
        holds = bool(truth[i]) if known[i] else None
        if found and found[-1].holds is holds:
            found[-1] = Span(found[-1].start_s, float(edges[i + 1]), holds)
        else:
            found.append(Span(float(edges[i]), float(edges[i + 1]), holds))
    return tuple(span for span in found if span.duration_s > 0)


def always(found: Sequence[Span]) -> bool | None:
    """Tell whether a condition held all the time; nothing at all cannot be told."""
    if any(span.holds is False for span in found):
        return False
    return None if not found or any(span.holds is None for span in found) else True


def never(found: Sequence[Span]) -> bool | None:
    """Tell whether a condition held at no time."""
    turned = [Span(s.start_s, s.end_s, None if s.holds is None else not s.holds) for s in found]
    return always(turned)


def sometimes(found: Sequence[Span]) -> bool | None:
    """Tell whether a condition held at some time; an unknown stretch leaves a "no" open."""
    if any(span.holds for span in found):
        return True
    return None if not found or any(span.holds is None for span in found) else False


def eventually_within(found: Sequence[Span], limit_s: float) -> tuple[bool | None, float | None]:
    """Tell whether a condition came to hold within ``limit_s`` of the first span's start.

    Returns:
        The answer, and the seconds until it held (None where it never was seen to). A record that ends before the
        limit, or an unknown stretch before it, leaves the answer open unless the condition was seen.
    """
    if not found:
        return None, None
    start_s, deadline_s = found[0].start_s, found[0].start_s + limit_s
    first = next((span for span in found if span.holds), None)
    if first is not None and first.start_s <= deadline_s:
        return True, first.start_s - start_s
    unknown = any(span.holds is None and span.start_s <= deadline_s for span in found)
    too_short = found[-1].end_s < deadline_s
    seen_s = None if first is None else first.start_s - start_s
    return (None if unknown or too_short else False), seen_s


def held_for(found: Sequence[Span], duration_s: float) -> bool | None:
    """Tell whether a condition once held for at least ``duration_s`` on end.

    A stretch cut off by the window, or touching an unknown one, leaves the answer open.
    """
    if any(span.holds and span.duration_s >= duration_s for span in found):
        return True
    best_s = longest_s = 0.0
    for span in found:
        best_s = best_s + span.duration_s if span.holds is not False else 0.0
        longest_s = max(longest_s, best_s)
    open_end = bool(found) and found[-1].holds is True
    return None if longest_s >= duration_s or open_end or not found else False


def longest_s(found: Sequence[Span], holds: bool) -> float:
    """Return the longest stretch over which the condition is known to be ``holds``."""
    return max((span.duration_s for span in found if span.holds is holds), default=0.0)
