"""The twin's undo ledger: records in memory, taken back on the simulated cluster by the same plan as the real one's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.fakes.objects import SYSTEM, ObjectStore
from harness.fakes.switches import Switches
from harness.model.errors import PortError
from harness.model.fault import RUN_LABEL, ObjectRef, UndoRecord, run_label
from harness.model.restoration import plan_restoration, recreated, trace_operations


@dataclass
class FakeLedger:
    """An `UndoLedger` in memory. Ledgers of one twin share ``records``.

    Attributes:
        switches: How it misbehaves.
        records: Every record that is not closed, oldest first.
        store: What undos are carried out on; without one, only records of operation ``none`` can be taken back.
    """

    switches: Switches = field(default_factory=Switches)
    records: list[UndoRecord] = field(default_factory=list)
    store: ObjectStore | None = None

    def write(self, record: UndoRecord) -> Mapping[str, Any]:
        """Store a record before the deed."""
        self.records.append(record)
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": record.record_id, "uid": f"record-{record.record_id}"}

    def open_records(self, run_id: str | None = None) -> Sequence[UndoRecord]:
        """Return records that are not done, newest first."""
        return [r for r in reversed(self.records) if not r.done and run_id in {None, r.run_id}]

    def run_records(self, run_id: str) -> Sequence[UndoRecord]:
        """Return every record of a run that is not closed, newest first."""
        return [r for r in reversed(self.records) if r.run_id == run_id]

    def undo(self, record: UndoRecord) -> UndoRecord:
        """Take one change back; safe to repeat.

        Raises:
            PortError: It could not be taken back.
        """
        step = _STEPS.get(record.operation)
        if self.switches.undo_fails or step is None:
            raise PortError(SYSTEM, f"undo {record.fault}", f"operation {record.operation!r} cannot be carried out")
        done = replace(record, done=True, outcome=step(self, record))
        self.records[:] = [done if _same(r, record) else r for r in self.records]
        return done

    def close(self, run_id: str) -> None:
        """Remove the done records of a run."""
        self.records[:] = [r for r in self.records if not (r.done and r.run_id == run_id)]

    def _objects(self, record: UndoRecord) -> ObjectStore:
        if self.store is None:
            raise PortError(SYSTEM, f"undo {record.fault}", "this ledger has no cluster")
        return self.store

    def _undo_none(self, record: UndoRecord) -> str:
        if record.applied:
            problem = "the record says that nothing has to be restored, but names applied values"
            raise PortError(SYSTEM, f"undo {record.fault}", problem, "this is a defect of the fault")
        return f"nothing to restore: {record.outcome}"

    def _undo_patch(self, record: UndoRecord) -> str:
        store, ref = self._objects(record), _ref(record)
        present = store.get(ref)
        if present is None:
            return "the object is gone, and our values with it"
        if present["metadata"]["uid"] != record.uid:
            return f"left alone: the object was replaced (uid {present['metadata']['uid']}), nothing on it is ours"
        trace = f"{record.run_id}/{record.record_id}@{present['metadata']['resourceVersion']}"
        if record.subresource:
            present = store.apply(ref, trace_operations(present, trace))
        plan = plan_restoration(record, present, trace)
        if not self.switches.undo_partial:
            store.apply(ref, plan.operations, record.subresource)
        return plan.outcome

    def _undo_delete(self, record: UndoRecord) -> str:
        store, ref = self._objects(record), _ref(record)
        present = store.get(ref)
        if present is None or (record.uid and present["metadata"]["uid"] != record.uid):
            return "gone already"
        if not record.uid and (present["metadata"].get("labels") or {}).get(RUN_LABEL) != run_label(record.run_id):
            return f"left alone: {record.kind} {record.name} does not carry {RUN_LABEL} of this run"
        if not self.switches.undo_partial:
            store.delete(ref, present["metadata"]["uid"])
        return "deleted"

    def _undo_create(self, record: UndoRecord) -> str:
        store, present = self._objects(record), self._objects(record).get(_ref(record))
        if present is not None:
            same = present["metadata"]["uid"] == record.uid
            return "already as before" if same else "there again already, left alone"
        try:
            body = recreated(record)
        except ValueError as error:
            raise PortError(SYSTEM, f"undo {record.fault}", str(error), "this is a defect of the fault") from error
        store.create(body)
        return "created anew"


_STEPS: Mapping[str, Callable[[FakeLedger, UndoRecord], str]] = {
    "none": FakeLedger._undo_none,
    "patch": FakeLedger._undo_patch,
    "delete": FakeLedger._undo_delete,
    "create": FakeLedger._undo_create,
}


def _ref(record: UndoRecord) -> ObjectRef:
    return ObjectRef(record.api_version, record.kind, record.name, record.namespace)


def _same(one: UndoRecord, other: UndoRecord) -> bool:
    return (one.run_id, one.record_id) == (other.run_id, other.record_id)
