"""What a drill knows of the run beneath it: folded from the conductor's stream. Pure.

Of it participants see the curves and whether the steady state holds; decides nothing (`harness.drill.endings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.drill.curves import Curves
from harness.model.fault import Effect
from harness.model.time import PhaseName

FAULT_EVENTS_MAX = 200


@dataclass
class Observed:
    """The run so far.

    Attributes:
        curves: What people watch.
        origin_unix_s: Wall clock of the run's second 0; None before it said so.
        phase: In which phase it is.
        acted_unix_s: When the fault was carried out; None before.
        effect_unix_s: When its effect was proven; None before.
        failed: Why the fault has no proven effect, or empty.
        steady: Whether the steady state holds, as last looked at.
        steady_reason: Why not; may name what is hidden.
        steady_since_unix_s: Since when it holds without a break, or None.
        fault_events: The fault's and its undo's events, for the facilitator.
        over: Whether the run has ended.
    """

    curves: Curves
    origin_unix_s: float | None = None
    phase: str = ""
    acted_unix_s: float | None = None
    effect_unix_s: float | None = None
    failed: str = ""
    steady: bool | None = None
    steady_reason: str = "not looked at yet"
    steady_since_unix_s: float | None = None
    fault_events: list[Mapping[str, Any]] = field(default_factory=list)
    over: bool = False

    def take(self, message: Mapping[str, Any], now_unix_s: float) -> bool:
        """Take in one message of the conductor's stream.

        Args:
            message: As `harness.client` shows it.
            now_unix_s: When it came; what it tells of is dated by the run itself where that is known.

        Returns:
            Whether anything that people see has changed.
        """
        if message["m"] == "run":
            self.origin_unix_s = float(message["origin_unix_s"])
        if message["m"] != "event":
            return False
        said_unix_s = now_unix_s if self.origin_unix_s is None else self.origin_unix_s + float(message["t_s"])
        at_unix_s = min(said_unix_s, now_unix_s)  # a rehearsal may be faster than the clock on the wall
        self.curves.take(message, at_unix_s)
        kind = str(message["kind"])
        if kind == "phase" and message["detail"].get("edge") == "start":
            self.phase = str(message["subject"])
        elif kind in {"fault", "undo"}:
            self._fault(message, at_unix_s)
        elif kind == "sample" and message["subject"] == "steady_state":
            self._steady(message["detail"], at_unix_s)
        return kind in {"phase", "fault", "undo", "sample", "load"}

    def _fault(self, message: Mapping[str, Any], at_unix_s: float) -> None:
        detail = message["detail"]
        if len(self.fault_events) < FAULT_EVENTS_MAX:
            told = {"at_unix_s": at_unix_s, "kind": message["kind"], "subject": message["subject"]}
            self.fault_events.append({**told, "detail": detail})
        if message["kind"] != "fault":
            return
        step, reason = detail.get("step"), str(detail.get("reason", ""))
        if step == "acted":
            self.acted_unix_s = at_unix_s
        elif step == "evidence" and detail.get("effect") == Effect.CONFIRMED.value:
            self.effect_unix_s = at_unix_s
        elif step in {"evidence", "failed", "denied"}:
            self.failed = f"{detail.get('effect', step)}: {reason}"

    def _steady(self, detail: Mapping[str, Any], at_unix_s: float) -> None:
        value = detail.get("value")
        self.steady, self.steady_reason = None if value is None else value == 1, str(detail.get("reason", ""))
        if self.steady is not True:
            self.steady_since_unix_s = None
        elif self.steady_since_unix_s is None:
            self.steady_since_unix_s = at_unix_s

    @property
    def injecting(self) -> bool:
        """Tell whether the fault may come at any moment, or is there."""
        return self.phase == PhaseName.INJECT.value
