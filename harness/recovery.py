"""`gameday recover` (composition root): take back what a dead run left, by the records in the cluster, and prove it.

Needs no fault code and no run folder. Must check the target's identity before it reads anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

from harness import exits, guard
from harness.announce_http import silences_of
from harness.drivers.kubernetes.connection import connect
from harness.drivers.kubernetes.lease import KubernetesLease, KubernetesLeaseView
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.observer import KubernetesObserver
from harness.drivers.kubernetes.residue import Residue, find_helpers, find_marks, sweep
from harness.drivers.kubernetes.safety import HaltLever
from harness.drivers.system_clock import RealClock
from harness.model.errors import Refusal
from harness.model.fault import UndoRecord, run_label
from harness.model.target import Target
from harness.ports import Clock
from harness.settings import load_settings, resolve_target
from harness.undo import explain, recover

Say = Callable[[str], None]

REAPER_LIMIT_S = 30.0
"""How long a reaper that is at work is waited for."""

POLL_S = 1.0
REAPER_PREFIX = "reaper-"


class Recovery:
    """What recover does on one target."""

    def __init__(self, target: Target, clock: Clock, say: Say) -> None:
        """Prepare; sends nothing.

        Args:
            target: The target.
            clock: Paces waits and retries.
            say: Prints a line.
        """
        self._target, self._clock, self._say = target, clock, say
        self._namespaces = tuple(dict.fromkeys((target.system_namespace, *target.namespaces)))
        silences = silences_of(target, os.environ)
        end = silences.expire if silences else None
        self._ledger = KubernetesLedger(connect(target), target.system_namespace, target.commands, end)
        self._leases = KubernetesLeaseView(connect(target), target.system_namespace)

    @classmethod
    def of(cls, target: Target, say: Say) -> Recovery:
        """Make one by the system's clock."""
        return cls(target, RealClock.starting_now(), say)

    def check_identity(self) -> None:
        """Refuse another cluster than the target's."""
        guard.check_identity(self._target, KubernetesObserver(connect(self._target), self._clock).identify())

    def records(self, run_id: str | None) -> Sequence[UndoRecord]:
        """Return open records, newest first."""
        return self._ledger.open_records(run_id)

    def take_back(self, run_id: str | None) -> tuple[UndoRecord, ...]:
        """Take open records back under the run Lease, then sweep what has no record.

        Raises:
            Refusal: A run is on: what it will undo itself must not be taken from it.
        """
        lease = self._acquire()
        try:
            done = recover(self._ledger, self._clock, run_id)
            for run in {record.run_id for record in done}:
                self._ledger.close(run)
            spared = {run_label(record.run_id) for record in self._ledger.open_records()}
            for removed in sweep(connect(self._target), self._namespaces, spared):
                self._say(f"removed {removed}, which a dead run left without a record")
            return done
        finally:
            lease.release()

    def _acquire(self) -> KubernetesLease:
        """Take the run Lease; a reaper that holds it is only waited for."""
        until_s, told = self._clock.now_s() + REAPER_LIMIT_S, False
        while True:
            lease = KubernetesLease(connect(self._target), self._target.system_namespace)
            try:
                lease.acquire(f"recover-{uuid4().hex[:8]}")
            except Refusal:
                holder = self._leases.look().holder
                if (holder and not holder.startswith(REAPER_PREFIX)) or self._clock.now_s() >= until_s:
                    raise
                if not told:
                    self._say(
                        f"the reaper is at work ({holder or 'it just ended'}); waiting up to {REAPER_LIMIT_S:g} s"
                    )
                told = True
                self._clock.sleep(POLL_S)
            else:
                return lease

    def residue(self) -> list[Residue]:
        """Return everything that is not as it would be if no run had ever been.

        Raises:
            PortError: Something could not be read; half a look proves nothing.
        """
        found = [Residue(f"{r.kind} {r.name}", explain(r), "gameday recover") for r in self._ledger.open_records()]
        state = self._leases.look()
        if state.alive:
            command = "wait until it ends, or `gameday halt`"
            found.append(Residue("Lease gameday-run", f"is held by {state.holder}", command))
        halted = HaltLever(connect(self._target), self._target.system_namespace).state()
        if halted:
            found.append(Residue("ConfigMap gameday-halt", halted, "gameday halt --release"))
        connection = connect(self._target)
        for helper in find_helpers(connection, self._namespaces):
            what = "undo record that is done, of" if helper.record else "helper object of"
            found.append(Residue(helper.subject, f"{what} run {helper.run}", "gameday recover"))
        return [*found, *find_marks(connection, self._namespaces)]


def recover_target(
    settings: str, target_name: str, run_id: str | None, only_list: bool, say: Say, as_json: bool = False
) -> int:
    """List or take back open undo records.

    Args:
        settings: Path of `gameday.toml`.
        target_name: Name of the target.
        run_id: Only this run's records, or None for all.
        only_list: Say what is left and stop.
        say: Prints a line.
        as_json: Print the records as one JSON document instead.

    Returns:
        0 where nothing is left, 1 where something could not be taken back, 20 where something is only listed.

    Raises:
        Refusal: Another cluster than the target's, or a run is on: what it will undo itself must not be taken from it.
    """
    told: Say = (lambda line: None) if as_json else say
    recovery = _recovery(settings, target_name, told)
    records: Sequence[UndoRecord] = recovery.records(run_id)
    for record in records:
        told(explain(record))
    if not only_list:
        records = recovery.take_back(run_id)
        for record in records:
            told(f"{'done' if record.done else 'FAILED'}: {explain(record)}: {record.outcome}")
    if as_json:
        say(json.dumps({"target": target_name, "records": [asdict(record) for record in records]}, sort_keys=True))
    if not records:
        told(f"nothing to take back on {target_name}")
        return exits.HELD
    if only_list:
        told("take it back with `gameday recover`")
        return exits.INCONCLUSIVE
    return exits.HELD if all(record.done for record in records) else exits.BROKEN


def check_target(settings: str, target_name: str, say: Say, as_json: bool = False) -> int:
    """Say whether anything of a run is left on a target; changes nothing.

    Args:
        settings: Path of `gameday.toml`.
        target_name: Name of the target.
        say: Prints a line.
        as_json: Print one JSON document: ``target``, ``clean``, ``residue`` (subject, problem, command).

    Returns:
        0 where it is clean, 20 where something is left.

    Raises:
        Refusal: Another cluster than the target's.
        PortError: It cannot be told.
    """
    found = _recovery(settings, target_name, say).residue()
    if as_json:
        document = {"target": target_name, "clean": not found, "residue": [asdict(residue) for residue in found]}
        say(json.dumps(document, sort_keys=True))
    elif not found:
        say(f"{target_name}: clean")
    for residue in () if as_json else found:
        say(f"{residue.subject}: {residue.problem} — {residue.command}")
    return exits.INCONCLUSIVE if found else exits.HELD


def _recovery(settings: str, target_name: str, say: Say) -> Recovery:
    target = resolve_target(load_settings(Path(settings)), target_name)
    recovery = Recovery.of(target, say)
    recovery.check_identity()
    return recovery
