"""When a drill ends, and how. Pure: what people said, what the run said, what time it is."""

from __future__ import annotations

from harness.drill.observed import Observed
from harness.model.drill import Drill, DrillEnd, Mark

STEADY_S = 10.0
"""How long the steady state must hold after people said that they have mended it."""


def ending(drill: Drill, seen: Observed, limit_s: float, now_unix_s: float) -> tuple[DrillEnd, str] | None:
    """Return how the drill ends now and why, or None while it goes on.

    Args:
        drill: What people said.
        seen: What the run said; its words may name what is hidden.
        limit_s: Longest time from the fault.
        now_unix_s: Wall clock.
    """
    stops = drill.of("stop")
    if stops:
        return DrillEnd.SAFETY_STOP, f"{stops[0].by}: {stops[0].detail['reason']}"
    if seen.over:
        return DrillEnd.RUN_ENDED, "the run beneath it ended by itself"
    if seen.failed:
        return DrillEnd.RUN_ENDED, f"the fault has no proven effect: {seen.failed}"
    if _mended(drill, seen, now_unix_s):
        return DrillEnd.MITIGATED, f"marked, and the steady state held for {STEADY_S:g} s"
    if seen.acted_unix_s is not None and now_unix_s >= seen.acted_unix_s + limit_s:
        return DrillEnd.TIME_LIMIT, f"{limit_s:g} s since the fault"
    return None


def _mended(drill: Drill, seen: Observed, now_unix_s: float) -> bool:
    """Tell whether the mark is made and the steady state held since; a mark before any effect mends nothing."""
    mark = drill.marks.get(Mark.MITIGATED)
    if mark is None or seen.effect_unix_s is None or seen.steady_since_unix_s is None:
        return False
    return now_unix_s >= max(mark.at_unix_s, seen.effect_unix_s, seen.steady_since_unix_s) + STEADY_S
