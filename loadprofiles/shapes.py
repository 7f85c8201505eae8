"""Shapes of load: pure functions from stages and elapsed seconds to rates and arrivals. Must not read a clock.

An open-loop generator asks *when* the n-th arrival is due; it never waits for an answer first (no coordinated
omission). The cumulative count of arrivals is the integral of the rate, so it is monotone and exact at stage edges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

import numpy as np
import numpy.typing as npt

from harness.model.load import LoadProfile, Stage

CHUNK = 512

IDLE, ENDED = "idle", "ended"


def duration_s(stages: Sequence[Stage]) -> float:
    """Return the length of all stages."""
    return sum(stage.duration_s for stage in stages)


def stage_name_at(stages: Sequence[Stage], t_s: float) -> str:
    """Return the stage that is on at ``t_s`` seconds after the start: ``idle`` before, ``ended`` after."""
    if t_s < 0:
        return IDLE
    return next((stage.name for stage, start_s in _placed(stages) if t_s < start_s + stage.duration_s), ENDED)


def rate_at(stages: Sequence[Stage], t_s: float) -> float:
    """Return the arrival rate in requests per second at ``t_s``; 0 outside the stages."""
    for stage, start_s in _placed(stages):
        if start_s <= t_s < start_s + stage.duration_s:
            share = (t_s - start_s) / stage.duration_s
            return stage.from_rps + (stage.to_rps - stage.from_rps) * share
    return 0.0


def arrivals_until(stages: Sequence[Stage], t_s: float) -> float:
    """Return how many arrivals are due until ``t_s``: the integral of the rate, monotone in ``t_s``."""
    return sum(_arrivals_of(stage, min(t_s - start_s, stage.duration_s)) for stage, start_s in _placed(stages))


def arrival_time_s(stages: Sequence[Stage], count: float) -> float:
    """Return when the cumulative count reaches ``count``: the inverse of `arrivals_until`; inf where it never does."""
    left = count
    for stage, start_s in _placed(stages):
        whole = _arrivals_of(stage, stage.duration_s)
        if left < whole:
            return start_s + _time_within(stage, left)
        left -= whole
    return math.inf


def arrivals(stages: Sequence[Stage], seed: int) -> Iterator[float]:
    """Yield every arrival's due time, rising.

    One arrival falls at a seeded place within each unit of the cumulative count, so a second's count differs from the
    profile by less than one arrival and yet arrivals do not march in step with anything.

    Args:
        stages: The profile's stages.
        seed: Same seed, same times.
    """
    random = Random(seed)  # noqa: S311 - load, not secrets
    number = 0
    while (due_s := arrival_time_s(stages, number + random.random())) < math.inf:
        yield due_s
        number += 1


def _placed(stages: Sequence[Stage]) -> Iterator[tuple[Stage, float]]:
    start_s = 0.0
    for stage in stages:
        if stage.duration_s > 0:
            yield stage, start_s
        start_s += stage.duration_s


def _arrivals_of(stage: Stage, elapsed_s: float) -> float:
    if elapsed_s <= 0:
        return 0.0
    slope = (stage.to_rps - stage.from_rps) / stage.duration_s
    return stage.from_rps * elapsed_s + slope * elapsed_s * elapsed_s / 2


def _time_within(stage: Stage, count: float) -> float:
    """Solve from·t + slope·t²/2 = count for t, in the form that stays stable as the slope goes to 0."""
    slope = (stage.to_rps - stage.from_rps) / stage.duration_s
    root = math.sqrt(max(0.0, stage.from_rps * stage.from_rps + 2 * slope * count))
    divisor = stage.from_rps + root
    return min(stage.duration_s, 2 * count / divisor) if divisor > 0 else 0.0


def arrival_chunks(profile: LoadProfile, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield every arrival's due time, rising, in pieces."""
    due_s = arrivals(profile.stages, seed)
    while piece := list(islice(due_s, CHUNK)):
        yield np.array(piece)


def class_choices(profile: LoadProfile, seed: int, first_number: int, count: int) -> npt.NDArray[np.int64]:
    """Return the user class, by its place in the profile, of some arrivals: by weight, and by the arrival's number."""
    if len(profile.user_classes) == 1:  # one class needs no draw
        return np.zeros(count, dtype=np.int64)
    weights = np.cumsum(np.array(list(profile.user_classes.values()), dtype=np.float64))
    draws = [Random(f"{seed}:{first_number + n}").random() for n in range(count)]  # noqa: S311 - load, not secrets
    found: npt.NDArray[np.int64] = np.searchsorted(weights, np.array(draws) * weights[-1], side="right")
    return found
