"""Shapes of load: pure functions from stages and elapsed seconds to rates and arrivals. Must not read a clock.

The cumulative count of arrivals is the integral of the rate, so it is monotone and exact at stage edges. When each
arrival is due is `loadprofiles.arrivals`' business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate

from harness.model.load import Stage

IDLE, ENDED = "idle", "ended"


def burst_stages(
    baseline_rps: float, burst_rps: float, *, baseline_s: float, burst_s: float, cooldown_s: float, ramp_s: float = 2.0
) -> tuple[Stage, ...]:
    """Return the shape that the conductor knows: a flat baseline, a short ramp, a flat burst, the baseline again."""
    return (
        Stage("baseline", baseline_s, baseline_rps, baseline_rps),
        Stage("ramp", ramp_s, baseline_rps, burst_rps),
        Stage("burst", burst_s, burst_rps, burst_rps),
        Stage("cooldown", cooldown_s, baseline_rps, baseline_rps),
    )


Points = tuple[tuple[float, float], ...]
"""(Seconds, rate), for `Stage.through`."""


def sine(
    mean_rps: float, swing_ratio: float, *, duration_s: float, from_turn: float, to_turn: float, pieces: int = 48
) -> Points:
    """Return a part of a sine wave.

    Between its points the wave is straight, and never further off than ``(pi * turns / pieces) ** 2 / 2`` of its swing:
    0.2 % for a whole turn in 48 pieces. Over a whole turn the mean is exact.

    Args:
        mean_rps: Its mean over a whole turn.
        swing_ratio: How far it swings to each side of the mean, as a share of it; at most 1.
        duration_s: Length of the part.
        from_turn: Where the part begins, in turns from the lowest point.
        to_turn: Where it ends.
        pieces: How many straight pieces it has.
    """
    shares = [n / pieces for n in range(pieces + 1)]
    turns = [from_turn + (to_turn - from_turn) * share for share in shares]
    rates = [mean_rps * (1 - swing_ratio * math.cos(2 * math.pi * turn)) for turn in turns]
    return tuple((share * duration_s, rps) for share, rps in zip(shares, rates, strict=True))


def spike_train(base_rps: float, spike_rps: float, *, duration_s: float, every_s: float, width_s: float) -> Points:
    """Return spikes, each at the end of its ``every_s`` and straight up and down; exact."""
    points = [(0.0, base_rps)]
    for number in range(1, math.floor(duration_s / every_s + 1e-9) + 1):
        end_s = min(number * every_s, duration_s)
        edges_s = (end_s - width_s, end_s - width_s, end_s, end_s)
        points += zip(edges_s, (base_rps, spike_rps, spike_rps, base_rps), strict=True)
    return (*points, (duration_s, base_rps))


def duration_s(stages: Sequence[Stage]) -> float:
    """Return the length of all stages."""
    return sum(stage.duration_s for stage in stages)


def stage_name_at(stages: Sequence[Stage], t_s: float) -> str:
    """Return the stage that is on at ``t_s`` seconds after the start: ``idle`` before, ``ended`` after."""
    if t_s < 0:
        return IDLE
    ends_s = accumulate(stage.duration_s for stage in stages)
    return next((stage.name for stage, end_s in zip(stages, ends_s, strict=True) if t_s < end_s), ENDED)


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


def _placed(stages: Sequence[Stage]) -> Iterator[tuple[Stage, float]]:
    start_s = 0.0
    for stage in stages:
        for piece in stage.pieces() if stage.duration_s > 0 else ():
            yield piece, start_s
            start_s += piece.duration_s


def _arrivals_of(stage: Stage, elapsed_s: float) -> float:
    if elapsed_s <= 0:
        return 0.0
    slope = (stage.to_rps - stage.from_rps) / stage.duration_s
    return stage.from_rps * elapsed_s + slope * elapsed_s * elapsed_s / 2
