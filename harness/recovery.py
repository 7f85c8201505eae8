"""`gameday recover` (composition root): take back what a dead run left, by the records in the cluster.

Needs no fault code and no run folder. Must check the target's identity before it reads anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from harness import exits, guard
from harness.drivers.kubernetes.connection import connect
from harness.drivers.kubernetes.lease import KubernetesLease
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.observer import KubernetesObserver
from harness.drivers.system_clock import RealClock
from harness.settings import load_settings, resolve_target
from harness.undo import explain, recover


def recover_target(
    settings: str, target_name: str, run_id: str | None, only_list: bool, say: Callable[[str], None]
) -> int:
    """List or take back open undo records.

    Args:
        settings: Path of `gameday.toml`.
        target_name: Name of the target.
        run_id: Only this run's records, or None for all.
        only_list: Say what is left and stop.
        say: Prints a line.

    Returns:
        0 where nothing is left, 1 where something could not be taken back, 20 where something is only listed.

    Raises:
        Refusal: Another cluster than the target's, or a run is on: what it will undo itself must not be taken from it.
    """
    target = resolve_target(load_settings(Path(settings)), target_name)
    clock = RealClock.starting_now()
    guard.check_identity(target, KubernetesObserver(connect(target), clock).identify())
    ledger = KubernetesLedger(connect(target), target.system_namespace, target.commands)
    records = ledger.open_records(run_id)
    if not records:
        say(f"nothing to take back on {target_name}")
        return exits.HELD
    for record in records:
        say(explain(record))
    if only_list:
        say("take it back with `gameday recover`")
        return exits.INCONCLUSIVE
    lease = KubernetesLease(connect(target), target.system_namespace)
    lease.acquire(f"recover-{uuid4().hex[:8]}")
    try:
        return _take_back(ledger, clock, run_id, say)
    finally:
        lease.release()


def _take_back(ledger: KubernetesLedger, clock: RealClock, run_id: str | None, say: Callable[[str], None]) -> int:
    done = recover(ledger, clock, run_id)
    for record in done:
        say(f"{'done' if record.done else 'FAILED'}: {explain(record)}: {record.outcome}")
    for run in {record.run_id for record in done}:
        ledger.close(run)
    return exits.HELD if all(record.done for record in done) else exits.BROKEN
