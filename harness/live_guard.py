"""The live guard: ends a run that burns its error budget too fast, has lost its steady state, or cannot be seen. Pure.

It acts on the generator's own live figures; the verdicts rest on the record, not on it. Time is an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from harness.model.abort import SHORT_WINDOW_RATIO, AbortLimits
from harness.model.load import LoadSnapshot

_QUIET_STAGES = frozenset({"idle", "ended"})


@dataclass
class _Since:
    """How long something has been so, without a break."""

    start_s: float | None = None

    def look(self, now_s: float, so: bool) -> float:
        """Return the seconds so far."""
        self.start_s = (now_s if self.start_s is None else self.start_s) if so else None
        return 0.0 if self.start_s is None else now_s - self.start_s


@dataclass
class LiveGuard:
    """Looks at one run, once a tick.

    Attributes:
        limits: Its limits.
    """

    limits: AbortLimits
    _seen: deque[LoadSnapshot] = field(default_factory=deque)
    _burning: _Since = field(default_factory=_Since)
    _unsteady: _Since = field(default_factory=_Since)

    def look(self, now_s: float, latest: LoadSnapshot | None, steady: bool | None = None) -> str:
        """Look once.

        Args:
            now_s: Seconds since the run's origin.
            latest: The generator's newest snapshot; None before its first.
            steady: Whether the steady state holds; None where it was not asked, or cannot be told.

        Returns:
            Why the run must end, or an empty string.
        """
        if latest is None or latest.stage in _QUIET_STAGES:
            return ""
        silent_s = now_s - latest.t_s
        if silent_s > self.limits.blind_s:
            return f"the load generator has said nothing for {silent_s:.0f} s (limit {self.limits.blind_s:g} s)"
        self._take(latest)
        return self._burnt(now_s) or self._lost(now_s, steady)

    def _take(self, latest: LoadSnapshot) -> None:
        if not self._seen or latest.t_s > self._seen[-1].t_s:
            self._seen.append(latest)
        while len(self._seen) > 1 and self._seen[1].t_s <= latest.t_s - self.limits.window_s:
            self._seen.popleft()

    def _burnt(self, now_s: float) -> str:
        long, short = self.burn_rate(self.limits.window_s), self.burn_rate(self.limits.window_s * SHORT_WINDOW_RATIO)
        burning = None not in {long, short} and min(long or 0.0, short or 0.0) > self.limits.burn_rate
        lasted_s = self._burning.look(now_s, burning)
        if not burning or lasted_s < self.limits.grace_s:
            return ""
        told = f"the error budget burns {long:.0f} times too fast over {self.limits.window_s:g} s"
        return f"{told}, for {lasted_s:.0f} s now (limit {self.limits.burn_rate:g})"

    def burn_rate(self, window_s: float) -> float | None:
        """Return how many times faster than allowed the budget burnt over a window; None for too few requests."""
        newest = self._seen[-1]
        oldest = next((one for one in self._seen if one.t_s >= newest.t_s - window_s), newest)
        requests, failures = newest.requests - oldest.requests, newest.failures - oldest.failures
        if requests < self.limits.requests_min:
            return None
        return failures / requests / (1 - self.limits.objective)

    def _lost(self, now_s: float, steady: bool | None) -> str:
        lasted_s = self._unsteady.look(now_s, steady is False)
        limit_s = self.limits.unsteady_s
        if limit_s is None or lasted_s < limit_s:
            return ""
        return f"the steady state has been lost for {lasted_s:.0f} s (limit {limit_s:g} s)"
