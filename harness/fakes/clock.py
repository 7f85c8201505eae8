"""Simulated time: sleeping advances it in small steps and lets the world live through each. Reads no real clock."""

from __future__ import annotations

import math
from collections.abc import Callable

STEP_S = 0.25
"""Length of a step: the conductor's own tick, so that nothing happens between two of its looks."""

_SLACK_S = 1e-9


class FakeClock:
    """A `Clock` that stands still but for `sleep`.

    Attributes:
        origin_unix_s: Wall clock of second 0.
    """

    def __init__(self, origin_unix_s: float = 1_767_225_600.0) -> None:
        self.origin_unix_s = origin_unix_s
        self._now_s = 0.0
        self._ticks: list[Callable[[float], None]] = []

    def now_s(self) -> float:
        """Return seconds since the origin."""
        return self._now_s

    def unix_s(self) -> float:
        """Return the simulated wall clock."""
        return self.origin_unix_s + self._now_s

    def every_step(self, tick: Callable[[float], None]) -> None:
        """Call ``tick(now_s)`` after each step, in the order in which they were added."""
        self._ticks.append(tick)

    def sleep(self, duration_s: float) -> None:
        """Let time pass; not at all for a duration that is not positive."""
        end_s = self._now_s + max(0.0, duration_s)
        while self._now_s < end_s - _SLACK_S:
            edge_s = (math.floor(self._now_s / STEP_S + _SLACK_S) + 1) * STEP_S
            self._now_s = min(end_s, edge_s)
            for tick in self._ticks:
                tick(self._now_s)
