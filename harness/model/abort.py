"""When a run is ended early for the platform's sake: the live guard's limits, as the experiment states them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.model.time import parse_duration_s

SHORT_WINDOW_RATIO = 1 / 6
"""Length of the short window: it ends the alarm soon after the burning has ended (SRE workbook, "Alerting on SLOs")."""


@dataclass(frozen=True, slots=True)
class AbortLimits:
    """Limits of the live guard.

    Attributes:
        burn_rate: How many times faster than allowed the error budget may burn, over both windows.
        objective: Share of requests that must succeed; the budget is the rest.
        window_s: Length of the long window.
        grace_s: How long burning, or a steady state that is lost, must last before the run is ended.
        blind_s: How long the generator may say nothing.
        unsteady_s: How long the steady state may be lost once faults may start; None: as long as it likes.
        requests_min: Requests in the short window under which nothing is said.
    """

    burn_rate: float
    objective: float
    window_s: float = 30.0
    grace_s: float = 10.0
    blind_s: float = 10.0
    unsteady_s: float | None = None
    requests_min: int = 20

    @classmethod
    def of(cls, written: Mapping[str, Any], objective: float) -> AbortLimits:
        """Return the limits of an experiment's block ``abort``; durations as ``30s``."""
        whole = cls(float(written["burn_rate"]), objective)
        keys = (key for key in ("window", "grace", "blind", "unsteady") if key in written)
        return replace(whole, **{f"{key}_s": parse_duration_s(written[key]) for key in keys})  # type: ignore[arg-type] # all seconds
