"""When each arrival of a profile is due, and which user class it is for: pure functions of the profile and the seed.

Drawn in blocks whose numbers depend on the block's place alone, so that every worker sees the same arrivals however it
asks. Must not read a clock. A recorded trace is the only thing that is read, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from harness.load_trace import read_trace
from harness.model.load import Arrivals, LoadProfile, Stage

Floats = npt.NDArray[np.float64]
BLOCK = 1024
"""Arrivals that are drawn at a time."""
_TIMES, _CLASSES, _COPIES = 1, 2, 3
"""Streams of random numbers that must not know of each other."""


def arrival_chunks(profile: LoadProfile, seed: int) -> Iterator[Floats]:
    """Yield the due times of all arrivals, rising, in seconds after the load's beginning, piece by piece.

    Args:
        profile: What is offered.
        seed: Same seed, same times.

    Raises:
        SpecError: The profile's trace cannot be read.
    """
    if profile.arrivals == Arrivals.TRACE:
        yield from _recorded(profile, seed)
        return
    counts = _poisson_counts(seed) if profile.arrivals == Arrivals.POISSON else _even_counts(seed)
    curve = CumulativeCount(profile.stages)
    for block in counts:
        due_s = curve.time_of(block)
        there = due_s[np.isfinite(due_s)]
        if len(there):
            yield there
        if len(there) < len(block):
            return


def class_choices(profile: LoadProfile, seed: int, first_number: int, count: int) -> npt.NDArray[np.intp]:
    """Return the user class of some arrivals, by its place in the profile: by weight, and by the arrival's number.

    Args:
        profile: With weighted user classes.
        seed: Same seed, same choices, whoever asks.
        first_number: Number of the first of these arrivals.
        count: How many.
    """
    if len(profile.user_classes) == 1:
        return np.zeros(count, dtype=np.intp)
    bounds = np.cumsum(np.fromiter(profile.user_classes.values(), dtype=np.float64))
    first, last = first_number // BLOCK, (first_number + count - 1) // BLOCK
    draws = np.concatenate([_uniform(seed, _CLASSES, block, BLOCK) for block in range(first, last + 1)])
    mine = draws[first_number - first * BLOCK :][:count]
    chosen: npt.NDArray[np.intp] = np.searchsorted(bounds, mine * bounds[-1], side="right")
    return chosen


def densest_second(profile: LoadProfile, seed: int) -> int:
    """Return the most arrivals that are due within any one second."""
    most, before = 0, np.empty(0)
    for chunk in arrival_chunks(profile, seed):
        due_s = np.concatenate([before, chunk])
        within = np.searchsorted(due_s, due_s + 1.0) - np.arange(len(due_s))
        most = max(most, int(within.max()))
        before = due_s[due_s > due_s[-1] - 1.0]  # their second may go on in the next chunk
    return most


class CumulativeCount:
    """How many arrivals are due until when, and the inverse, for many at a time."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        pieces = [piece for stage in stages if stage.duration_s > 0 for piece in stage.pieces()]
        self._from = np.array([piece.from_rps for piece in pieces])
        self._width_s = np.array([piece.duration_s for piece in pieces])
        self._slope = (np.array([piece.to_rps for piece in pieces]) - self._from) / self._width_s
        self._whole = self._from * self._width_s + self._slope * self._width_s**2 / 2
        self._ends = np.cumsum(self._whole)
        self._begins = np.concatenate([[0.0], self._ends[:-1]])
        self._starts_s = np.concatenate([[0.0], np.cumsum(self._width_s)[:-1]])

    def time_of(self, counts: Floats) -> Floats:
        """Return when the count is reached; infinite where it never is.

        Solves from·t + slope·t²/2 = count within a piece, in the form that stays stable as the slope goes to 0.
        """
        if not len(self._ends):
            return np.full(len(counts), np.inf)
        piece = np.searchsorted(self._ends, counts, side="right")
        beyond = piece >= len(self._ends)
        piece = np.minimum(piece, len(self._ends) - 1)
        left = np.minimum(counts - self._begins[piece], self._whole[piece])
        root = np.sqrt(np.maximum(self._from[piece] ** 2 + 2 * self._slope[piece] * left, 0.0))
        divisor = self._from[piece] + root
        within_s = np.divide(2 * left, divisor, out=np.zeros_like(left), where=divisor > 0)
        due_s = self._starts_s[piece] + np.clip(within_s, 0.0, self._width_s[piece])
        return np.where(beyond, np.inf, due_s)


def _uniform(seed: int, stream: int, block: int, count: int) -> Floats:
    """Return numbers from 0 to below 1.

    From the raw bits, which numpy promises to keep: workers with another version of it must see the same arrivals.
    """
    bits = np.random.Philox(np.random.SeedSequence([seed % 2**63, stream, block])).random_raw(count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _even_counts(seed: int) -> Iterator[Floats]:
    """Yield one place within each unit of the count: less than one off the integral, and in step with nothing."""
    block = 0
    while True:
        yield block * BLOCK + np.arange(BLOCK) + _uniform(seed, _TIMES, block, BLOCK)
        block += 1


def _poisson_counts(seed: int) -> Iterator[Floats]:
    """Yield a Poisson process of rate one; through the inverse of the integral it gets the profile's rate."""
    block, last = 0, 0.0
    while True:
        counts = last - np.cumsum(np.log1p(-_uniform(seed, _TIMES, block, BLOCK)))
        yield counts
        block, last = block + 1, float(counts[-1])


def _recorded(profile: LoadProfile, seed: int) -> Iterator[Floats]:
    """Yield recorded instants, each as many times as the scale says: itself, and copies until the next one.

    Copies are dealt out by the count so far, not by a draw each: from one recorded instant to any other they are within
    one of the scaled recording, so that a small scale gives no other load by chance. The seed says where it begins.
    """
    due_s, scale = read_trace(profile.trace_file).due_s, profile.trace_scale
    begin = float(_uniform(seed, _COPIES, 0, 1)[0])
    for block in range(0, len(due_s), BLOCK):
        here = due_s[block : block + BLOCK]
        copies = np.diff(np.floor(np.arange(block, block + len(here) + 1) * scale + begin)).astype(np.intp)
        gaps_s = np.diff(due_s[block : block + BLOCK + 1], append=due_s[-1:])[: len(here)]
        shares = _uniform(seed, _COPIES, block + 1, int(copies.sum()))
        shares[(np.cumsum(copies) - copies)[copies > 0]] = 0.0
        if len(shares):
            yield np.sort(np.repeat(here, copies) + shares * np.repeat(gaps_s, copies))


__all__ = ["BLOCK", "CumulativeCount", "arrival_chunks", "class_choices", "densest_second"]
