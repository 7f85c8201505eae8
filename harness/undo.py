"""Taking changes back: last in, first out, each step on its own deadline.

Knows no cluster: an undo is a record that a ledger carries out (DESIGN U4). Used by the conductor on every way out and
by ``gameday recover``. One undo that fails never stops the others, and none is called done that was not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential

from harness.model.errors import PortError
from harness.model.fault import UndoRecord
from harness.ports import Clock, UndoLedger

STEP_LIMIT_S = 45.0
"""Longest time that one undo is tried again; an API server restarts in less (DESIGN U4)."""

PAUSE_S = 0.5
PAUSE_MAX_S = 5.0


def recover(
    ledger: UndoLedger,
    clock: Clock,
    run_id: str | None = None,
    *,
    fault: str = "",
    step_limit_s: float = STEP_LIMIT_S,
    announce: Callable[[UndoRecord], None] = lambda record: None,
) -> tuple[UndoRecord, ...]:
    """Take back every open record, newest first.

    Args:
        ledger: Holds the records and carries them out; on a fresh client.
        clock: Dates the deadlines.
        run_id: Of which run; of every run where none is named.
        fault: Of which fault; of every fault where none is named.
        step_limit_s: How long each step is tried again.
        announce: Told of each record before it is taken back.

    Returns:
        Every record with its outcome, in the order in which they were taken back; ``done`` is False where that failed,
        and ``outcome`` says why.

    Raises:
        PortError: The records could not be read within the limit, so nothing was taken back.
    """
    records = _retried(clock, step_limit_s)(ledger.open_records, run_id)
    wanted = [record for record in records if fault in {"", record.fault}]
    return tuple(take_back(ledger, clock, record, step_limit_s=step_limit_s, announce=announce) for record in wanted)


def take_back(
    ledger: UndoLedger,
    clock: Clock,
    record: UndoRecord,
    *,
    step_limit_s: float = STEP_LIMIT_S,
    announce: Callable[[UndoRecord], None] = lambda record: None,
) -> UndoRecord:
    """Take one record back, trying again until the limit.

    Returns:
        The record with its outcome; ``done`` is False where that failed, and ``outcome`` says why. Never raises.
    """
    announce(record)
    try:
        return _retried(clock, step_limit_s)(ledger.undo, record)
    except PortError as error:
        return replace(record, done=False, outcome=f"failed: {error}")
    except Exception as error:  # the others must still be taken back, and the failure is in the outcome
        return replace(record, done=False, outcome=f"failed: {type(error).__name__}: {error}")


def _retried(clock: Clock, limit_s: float) -> Retrying:
    deadline_s = clock.now_s() + limit_s

    def over(state: RetryCallState) -> bool:
        return clock.now_s() + state.upcoming_sleep >= deadline_s

    return Retrying(
        sleep=clock.sleep,
        stop=over,
        wait=wait_exponential(multiplier=PAUSE_S, max=PAUSE_MAX_S),
        retry=retry_if_exception_type(PortError),
        reraise=True,
    )


def explain(record: UndoRecord) -> str:
    """Say in one line what a record's undo would do."""
    what = f"{record.kind} {record.namespace}/{record.name}" if record.namespace else f"{record.kind} {record.name}"
    match record.operation:
        case "patch":
            steps = [f"{pointer} back to {record.prior.get(pointer)!r}" for pointer in record.applied]
            deed = f"set {', '.join(steps)}, where it still is what we set"
        case "delete":
            deed = "delete it"
        case "create":
            deed = "create it anew, unless it is there"
        case "silence":
            deed = "end the silence of alerts"
        case "none":
            deed = "nothing to restore: only check and close the record"
        case _:
            deed = f"cannot be undone by itself: {record.outcome or record.operation}"
    return f"{record.run_id} · {record.fault or record.record_id} · {what}: {deed}"
