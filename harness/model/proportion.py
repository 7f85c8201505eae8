"""Bounds of a ratio that was counted, and of the difference of two. Pure arithmetic; knows no run and no judge.

Wilson's score interval, and Newcombe's hybrid of two of them (method 10 of Newcombe 1998), which both stay inside
[0, 1] and hold near 0, where a good platform's error ratio lies.
"""

from __future__ import annotations

import math
from statistics import NormalDist

CONFIDENCE = 0.95


def upper_bound(bad: float, total: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of an error ratio (Wilson's score; rule of three for no error at all)."""
    if not total:
        return math.nan
    if not bad:
        return min(1.0, -math.log(1 - confidence) / total)
    return _wilson(bad, total, NormalDist().inv_cdf(confidence))


def lower_bound(bad: float, total: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of an error ratio (Wilson's score)."""
    return _wilson(bad, total, -NormalDist().inv_cdf(confidence)) if total else math.nan


def wilson_interval(bad: float, total: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided interval of an error ratio; NaN for nothing counted.

    Args:
        bad: Counted as bad; a fraction where the counts were scaled to what they are worth (`difference`).
        total: Counted in all.
        confidence: Share of such intervals that hold the true ratio.
    """
    if not total:
        return math.nan, math.nan
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return max(0.0, _wilson(bad, total, -z)), min(1.0, _wilson(bad, total, z))


def newcombe_interval(
    before: tuple[float, float], after: tuple[float, float], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of the ratio after minus the ratio before; NaN where one of them counted nothing.

    Args:
        before: ``(bad, total)``.
        after: ``(bad, total)``.
        confidence: Share of such intervals that hold the true difference.
    """
    if not (before[1] and after[1]):
        return math.nan, math.nan
    p_before, p_after = before[0] / before[1], after[0] / after[1]
    (low_before, high_before), (low_after, high_after) = (wilson_interval(*one, confidence) for one in (before, after))
    difference = p_after - p_before
    down = math.hypot(p_after - low_after, high_before - p_before)
    up = math.hypot(high_after - p_after, p_before - low_before)
    return difference - down, difference + up


def _wilson(bad: float, total: float, z: float) -> float:
    p, zz = bad / total, z * z
    spread = z * math.sqrt(p * (1 - p) / total + zz / (4 * total * total))
    return (p + zz / (2 * total) + spread) / (1 + zz / total)
