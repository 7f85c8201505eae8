"""The inverse of the cumulative count, one at a time: what `loadprofiles.arrivals` does for many is held to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.model.load import Stage
from loadprofiles.shapes import arrivals_until


def arrival_time_s(stages: Sequence[Stage], count: float) -> float:
    """Return when the cumulative count reaches ``count``; inf where it never does."""
    left, start_s = count, 0.0
    for piece in (piece for stage in stages if stage.duration_s > 0 for piece in stage.pieces()):
        whole = arrivals_until((piece,), piece.duration_s)
        if left < whole:
            return start_s + _time_within(piece, left)
        left, start_s = left - whole, start_s + piece.duration_s
    return math.inf


def _time_within(stage: Stage, count: float) -> float:
    """Solve from·t + slope·t²/2 = count for t, in the form that stays stable as the slope goes to 0."""
    slope = (stage.to_rps - stage.from_rps) / stage.duration_s
    root = math.sqrt(max(0.0, stage.from_rps * stage.from_rps + 2 * slope * count))
    divisor = stage.from_rps + root
    return min(stage.duration_s, 2 * count / divisor) if divisor > 0 else 0.0
