"""The reaper's policy: when a run is dead, or a fault is held too long, take everything back (DESIGN U3).

Knows no cluster client and no fault: a record is data that a ledger carries out. Must hold its hands off a run that is
alive, but for records past their own deadline, and must never end because something did not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.model.errors import Refusal
from harness.model.fault import UndoRecord, run_label
from harness.model.lease import LeaseState
from harness.ports import Clock, RunLease, UndoLedger
from harness.undo import explain, take_back

LOOK_EVERY_S = 1.0
STEP_LIMIT_S = 5.0
"""Of one undo; what fails is tried again at the next look, and must not keep the others waiting."""

REMIND_EVERY_S = 60.0
SWEEP_EVERY_S = 15.0


class LeaseView(Protocol):
    """Reads the run Lease."""

    def look(self) -> LeaseState:
        """Return its present state.

        Raises:
            PortError: No answer.
        """
        ...


class Sweep(Protocol):
    """Removes helper objects of runs that are dead and have no record of them any more."""

    def __call__(self, spared: Collection[str]) -> Sequence[str]:
        """Remove those of every run but the spared ones (as `run_label` writes them); return what was removed.

        Raises:
            PortError: No answer.
        """
        ...


def no_sweep(spared: Collection[str]) -> Sequence[str]:
    """Remove nothing."""
    del spared
    return ()


@dataclass
class Reaper:
    """Looks, and takes back.

    Attributes:
        ledger: Undo records, over a connection that nothing else uses.
        leases: The run Lease.
        make_lease: A new claim on the run Lease; taking it fences a dead run and keeps new ones out meanwhile.
        clock: Paces retries.
        say: Prints a line.
        ended: Tells whether it was told to end; it then does so after the step in hand.
        sweep: Removes orphaned helper objects, now and then and after everything was taken back.
    """

    ledger: UndoLedger
    leases: LeaseView
    make_lease: Callable[[], RunLease]
    clock: Clock
    say: Callable[[str], None]
    sweep: Sweep = no_sweep
    ended: Callable[[], bool] = lambda: False
    _reminded_s: dict[str, float] = field(default_factory=dict)
    _swept_s: float = float("-inf")

    def turn(self, name: str) -> int:
        """Look once and take back what must be.

        Args:
            name: Unique name of this reaper, as holder of the run Lease.

        Returns:
            How many records were taken back.

        Raises:
            PortError: Lease or records could not be read.
        """
        records = self.ledger.open_records()
        state = self.leases.look()  # after the records: a run holds the Lease before it writes its first
        if not records:
            self._sweep_now_and_then({run_label(state.holder)} if state.alive and state.holder else frozenset())
            return 0
        if state.alive:
            late = [record for record in records if 0 < record.deadline_unix_s <= state.server_unix_s]
            return self._take_back(late, "held longer than allowed")  # done, and left for the run to read
        return self._reap(name, state.holder)

    def _reap(self, name: str, dead: str) -> int:
        lease = self.make_lease()
        try:
            lease.acquire(name)
        except Refusal:
            return 0  # somebody was quicker, or the run is alive after all; the next look tells
        try:
            records = self.ledger.open_records()
            count = self._take_back(records, f"the run {dead or 'that left it'} is gone")
            for run_id in {record.run_id for record in records}:
                self.ledger.close(run_id)
            if not self.ended():  # the next reaper sweeps as well
                self._sweep_after(count, {run_label(record.run_id) for record in self.ledger.open_records()})
            return count
        finally:
            lease.release()

    def _sweep_after(self, taken_back: int, spared: Collection[str]) -> None:
        """Sweep at once where something was taken back; a record that stays open for long is no reason to each turn."""
        if taken_back:
            self._sweep(spared)
        else:
            self._sweep_now_and_then(spared)

    def _sweep_now_and_then(self, spared: Collection[str]) -> None:
        if self.clock.now_s() - self._swept_s >= SWEEP_EVERY_S:
            self._sweep(spared)

    def _sweep(self, spared: Collection[str]) -> None:
        self._swept_s = self.clock.now_s()
        for removed in self.sweep(spared):
            self.say(f"removed {removed}, which a dead run left without a record")

    def _take_back(self, records: Sequence[UndoRecord], why: str) -> int:
        """Take records back, each on its own; one that fails stays open and is said once a minute."""
        count = 0
        for record in records:
            if self.ended():
                break  # what is left stays open for the next reaper
            done = take_back(self.ledger, self.clock, record, step_limit_s=STEP_LIMIT_S)
            count += done.done
            self._tell(record, done, why)
        return count

    def _tell(self, record: UndoRecord, done: UndoRecord, why: str) -> None:
        key, now_s = f"{record.run_id}/{record.record_id}", self.clock.now_s()
        if done.done:
            self.say(f"{why}; took back: {explain(record)}: {done.outcome}")
        elif now_s - self._reminded_s.get(key, -REMIND_EVERY_S) >= REMIND_EVERY_S:
            self._reminded_s[key] = now_s
            self.say(f"CANNOT TAKE BACK: {explain(record)}: {done.outcome}; it is tried again")
