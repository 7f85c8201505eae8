"""Taking back during a run: each fault once it was held long enough, and at the end whatever is still open.

Says on the record what was taken back and what was not. How a record is carried out is the ledger's (`harness.undo`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from harness.model.errors import PortError
from harness.model.experiment import Experiment
from harness.model.fault import FaultPlan, UndoRecord
from harness.ports import Drivers
from harness.pulse import Pulse
from harness.undo import STEP_LIMIT_S, recover

RELEASE_LIMIT_S = 8.0
"""Of one undo while the method goes on: shorter than a fault waits for its permit. What fails is tried again later."""


class Undoing:
    """Takes back the faults of one run.

    Attributes:
        outcomes: Every record that was taken in hand, with its last outcome.
    """

    def __init__(self, experiment: Experiment, drivers: Drivers, pulse: Pulse, run_id: str) -> None:
        self._experiment, self._drivers, self._pulse, self._run_id = experiment, drivers, pulse, run_id
        self._released: set[str] = set()
        self.outcomes: tuple[Mapping[str, Any], ...] = ()

    @property
    def holds(self) -> bool:
        """Tell whether a fault that bit has not been held yet as long as it asks."""
        held = (plan for plan in self._experiment.faults if plan.hold_s is not None)
        return any(p.name in self._pulse.proven_s and p.name not in self._released for p in held)

    def release_due(self) -> bool:
        """Take back each fault that failed or was held as long as it asks; the method goes on.

        Returns:
            Whether the faults are no longer needed, so that the rest is taken back as well.
        """
        for plan in self._experiment.faults:
            if plan.name not in self._released and self._due(plan):
                self._released.add(plan.name)
                self._undo(RELEASE_LIMIT_S, plan.name)
        return self._pulse.enough

    def _due(self, plan: FaultPlan) -> bool:
        if plan.hold_s is None:
            return False
        proven_s = self._pulse.proven_s.get(plan.name, math.inf)
        over = self._pulse.now_s >= proven_s + plan.hold_s
        return over or plan.name in self._pulse.failed or (self._orphaned and plan.name not in self._pulse.proven_s)

    @property
    def _orphaned(self) -> bool:
        """Tell whether the method died: a fault that it left without proof has nobody who would ever prove it."""
        chaos = self._drivers.chaos
        return bool(chaos.failure) and not chaos.running

    def undo_all(self) -> None:
        """Take back whatever is open, last in first out; then tell of what the reaper took back meanwhile."""
        self._undo(STEP_LIMIT_S)
        self._tell_of_others()

    def _tell_of_others(self) -> None:
        """Say which records somebody else took back: a fault that was held too long must not look as if we ended it."""
        known = {record["record_id"]: record for record in self.outcomes}
        try:
            found = self._drivers.ledger.run_records(self._run_id)
        except PortError as error:
            self._pulse.say("undo", "all", {"step": "failed", "record_id": "", "outcome": str(error)})
            return
        for record in found:
            if record.done and record.record_id not in known:
                told = replace(record, outcome=f"taken back by the reaper: {record.outcome}")
                self._say(told, "done", told.outcome)
                known[record.record_id] = asdict(told)
        self.outcomes = tuple(known.values())

    def _undo(self, step_limit_s: float, fault: str = "") -> None:
        """Take back what is open, of one fault or of all; what fails stays open and is tried again at the end."""
        ledger, clock = self._drivers.ledger, self._drivers.clock
        told = self._say_undoing
        try:
            records = recover(ledger, clock, self._run_id, fault=fault, step_limit_s=step_limit_s, announce=told)
        except PortError as error:
            self._pulse.say("undo", fault or "all", {"step": "failed", "record_id": "", "outcome": str(error)})
            return
        for record in records:
            self._say(record, "done" if record.done else "failed", record.outcome)
        known = {record["record_id"]: record for record in self.outcomes}
        known |= {record.record_id: asdict(record) for record in records}
        self.outcomes = tuple(known.values())

    def _say_undoing(self, record: UndoRecord) -> None:
        self._say(record, "start", "")

    def _say(self, record: UndoRecord, step: str, outcome: str) -> None:
        detail = {"step": step, "record_id": record.record_id, "operation": record.operation, "outcome": outcome}
        self._pulse.say("undo", record.fault, detail)
