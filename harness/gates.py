"""Conditions that must hold for a while. Pure functions of elapsed seconds; no clock is read here."""

from __future__ import annotations

from collections.abc import Callable


class HeldFor:
    """True once a condition has held without a break for a number of seconds."""

    def __init__(self, hold_s: float, condition: Callable[[], bool]) -> None:
        self._hold_s = hold_s
        self._condition = condition
        self._since_s: float | None = None

    def __call__(self, now_s: float) -> bool:
        """Look once."""
        if not self._condition():
            self._since_s = None
            return False
        self._since_s = now_s if self._since_s is None else self._since_s
        return now_s - self._since_s >= self._hold_s


class EverHeld:
    """Remembers whether a condition ever held without a break for a number of seconds."""

    def __init__(self, hold_s: float, condition: Callable[[], bool]) -> None:
        self._held = HeldFor(hold_s, condition)
        self.seen = False

    def look(self, now_s: float) -> None:
        """Look once."""
        self.seen = self._held(now_s) or self.seen
