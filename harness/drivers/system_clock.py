"""The real clock: one wall-clock origin and a monotonic count that every process of a run shares. Nothing else.

CLOCK_MONOTONIC is the same in every process of a machine, so a child rebuilds the run's clock from two numbers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RealClock:
    """A `Clock` over the system's clocks.

    Attributes:
        origin_unix_s: Wall clock of second 0.
        origin_monotonic_s: CLOCK_MONOTONIC of second 0.
    """

    origin_unix_s: float
    origin_monotonic_s: float

    @classmethod
    def starting_now(cls) -> RealClock:
        """Return a clock whose second 0 is now."""
        return cls(time.time(), time.monotonic())

    def now_s(self) -> float:
        """Return seconds since the origin."""
        return time.monotonic() - self.origin_monotonic_s

    def sleep(self, duration_s: float) -> None:
        """Wait; not at all for a duration that is not positive."""
        if duration_s > 0:
            time.sleep(duration_s)
