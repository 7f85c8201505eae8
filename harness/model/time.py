"""Time as values: windows and phases in seconds since the run's origin. Must not read a clock."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from enum import StrEnum

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class PhaseName(StrEnum):
    """The phases of a run, in their order."""

    PREFLIGHT = "preflight"
    BASELINE = "baseline"
    BURST = "burst"
    INJECT = "inject"
    RECOVER = "recover"
    SETTLE = "settle"
    HARVEST = "harvest"


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open span ``[start_s, end_s)`` of seconds since the run's origin."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        """Refuse a window that is not finite or that runs backwards."""
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s)) or self.end_s < self.start_s:
            raise ValueError(f"not a window: [{self.start_s}, {self.end_s})")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    def contains(self, t_s: float) -> bool:
        """Tell whether ``t_s`` lies inside."""
        return self.start_s <= t_s < self.end_s

    def intersect(self, other: Window) -> Window | None:
        """Return the common part, or None where there is none."""
        start_s, end_s = max(self.start_s, other.start_s), min(self.end_s, other.end_s)
        return Window(start_s, end_s) if start_s < end_s else None

    def __str__(self) -> str:
        """Return ``+12.0s…+34.0s``."""
        return f"+{self.start_s:.1f}s…+{self.end_s:.1f}s"


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase that took place."""

    name: PhaseName
    window: Window


def parse_duration_s(text: str | float | int) -> float:
    """Parse ``90s``, ``1m30s``, ``250ms`` or a plain number of seconds.

    Args:
        text: The duration.

    Returns:
        Seconds, finite and not negative.

    Raises:
        ValueError: The text is not a duration.
    """
    if isinstance(text, bool):
        raise ValueError(f"{text!r} is not a duration")
    if isinstance(text, (int, float)):
        if not 0 <= text <= sys.float_info.max:  # also for an integer that no float can hold
            raise ValueError(f"{text!r} is not a duration")
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text.strip():
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 1m30s or 250ms")
    found_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if not math.isfinite(found_s):
        raise ValueError(f"{text!r} is not a duration: nothing lasts so long")
    return found_s
