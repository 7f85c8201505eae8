"""`UndoLedger` in the cluster itself: one ConfigMap a record, written before the deed, read by whoever takes it back.

A record is self-contained data (DESIGN U4): undoing it needs no fault code, no run folder and no process of the run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace

from harness.drivers.kubernetes.commands import run_named
from harness.drivers.kubernetes.connection import JSON_PATCH, MERGE_PATCH, Call, Connection, Json, manager_of
from harness.drivers.kubernetes.failures import SYSTEM, ApiError
from harness.drivers.kubernetes.resources import (
    CONFIG_MAPS,
    NOT_FOUND,
    Resource,
    find_resource,
    list_all,
    read,
    selector_text,
)
from harness.model.errors import PortError, Refusal
from harness.model.fault import RUN_LABEL, UNDO_LABEL, Permission, UndoRecord, is_drill, run_label
from harness.model.pointer import Operation
from harness.model.restoration import plan_restoration, recreated, trace_operations

SCHEMA = "gameday.undo/1"
STATE_LABEL = UNDO_LABEL
OPEN, DONE = "open", "done"
CONFLICT, UNPROCESSABLE = 409, 422
WRITE_ATTEMPTS = 5
GONE_LIMIT_S = 15.0
GONE_POLL_S = 0.25
UNREADABLE = "unreadable"


class KubernetesLedger:
    """Keeps undo records in one namespace and carries them out."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        commands: Mapping[str, tuple[str, ...]] | None = None,
        end_silences: Callable[[str], str] | None = None,
    ) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster; for an undo a fresh one (DESIGN U4).
            namespace: The target's ``system_namespace``.
            commands: The target's ``commands``, from the settings of this process.
            end_silences: Ends the silences of a run and says what it found; None where no Alertmanager is known here.
        """
        self._end_silences = end_silences
        self._connection = connection
        self._commands = dict(commands or {})
        self._namespace = namespace

    def write(self, record: UndoRecord) -> Json:
        """Store a record before the deed.

        Returns:
            An ownerReference to it: a helper object of this namespace that carries it goes when the record goes, also
            one that a dying process creates late.

        Raises:
            PortError: It is not stored: the deed must not be done.
        """
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _name(record), "labels": _labels(record)},
            "data": {"record": _text(record), "written_unix_ns": str(time.time_ns())},
        }
        operation = f"write the undo record of {record.fault}"
        try:
            stored = self._connection.send(Call(operation, "POST", CONFIG_MAPS.path(self._namespace), body=body))
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            remedy = f"kubectl create namespace {self._namespace}"
            raise PortError(SYSTEM, operation, f"there is no namespace {self._namespace}", remedy) from error
        meta = stored["metadata"]
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"]}

    def open_records(self, run_id: str | None = None) -> Sequence[UndoRecord]:
        """Return records that are not done, newest first; of every run where none is named.

        A record that cannot be read is returned all the same, as one that no undo can carry out: it must not be lost.
        """
        labels = {STATE_LABEL: OPEN, **({RUN_LABEL: run_label(run_id)} if run_id is not None else {})}
        items, _ = list_all(self._connection, CONFIG_MAPS, self._namespace, {"labelSelector": selector_text(labels)})
        return [_record(item) for item in sorted(items, key=_written, reverse=True)]

    def run_records(self, run_id: str) -> Sequence[UndoRecord]:
        """Return every record of a run that is not closed, newest first: also those that somebody else took back."""
        query = {"labelSelector": selector_text({RUN_LABEL: run_label(run_id)}) + f",{STATE_LABEL}"}
        items, _ = list_all(self._connection, CONFIG_MAPS, self._namespace, query)
        return [_record(item) for item in sorted(items, key=_written, reverse=True)]

    def known_records(self) -> Sequence[UndoRecord]:
        """Return every record that is not closed, of every run, newest first, whether done or not."""
        items, _ = list_all(self._connection, CONFIG_MAPS, self._namespace, {"labelSelector": STATE_LABEL})
        return [_record(item) for item in sorted(items, key=_written, reverse=True)]

    def undo(self, record: UndoRecord) -> UndoRecord:
        """Take one change back and return the record with its outcome; safe to repeat.

        Raises:
            PortError: It could not be taken back, or its outcome not be stored; the record stays open.
            Refusal: It cannot be taken back from here; the record stays open.
        """
        step = _STEPS.get(record.operation)
        if step is None:
            problem = record.outcome or f"unknown operation {record.operation!r}"
            remedy = f"kubectl -n {self._namespace} get configmap {record.name} -o yaml, undo it by hand, delete it"
            raise PortError(SYSTEM, f"undo {record.fault or record.record_id}", problem, remedy)
        done = replace(record, done=True, outcome=step(self, record))
        self._store(done)
        return done

    def close(self, run_id: str) -> None:
        """Remove the done records of a run; open ones stay."""
        query = {"labelSelector": selector_text({STATE_LABEL: DONE, RUN_LABEL: run_label(run_id)})}
        path = CONFIG_MAPS.path(self._namespace)
        self._connection.send(Call(f"remove the done undo records of {run_id}", "DELETE", path, query))

    def _store(self, record: UndoRecord) -> None:
        body = {"metadata": {"labels": {STATE_LABEL: DONE}}, "data": {"record": _text(record)}}
        path = CONFIG_MAPS.path(self._namespace, _name(record))
        call = Call(f"mark the undo record of {record.fault} done", "PATCH", path, body=body, content_type=MERGE_PATCH)
        try:
            self._connection.send(call)
        except ApiError as error:
            if error.status != NOT_FOUND:  # closed by another recovery: it was done
                raise

    def _resource(self, record: UndoRecord) -> Resource:
        found = find_resource(self._connection, record.api_version, record.kind)
        if found is None:
            problem = f"the cluster serves no {record.kind} of {record.api_version}"
            raise PortError(SYSTEM, f"undo {record.fault}", problem, "is its CRD still installed?")
        return found

    def _undo_none(self, record: UndoRecord) -> str:
        if record.applied:
            problem = "the record says that nothing has to be restored, but names applied values"
            raise PortError(SYSTEM, f"undo {record.fault}", problem, "this is a defect of the fault")
        present = read(self._connection, self._resource(record), record.namespace, record.name)
        reason = record.outcome or "a controller replaces what was lost"
        if present is None or present["metadata"]["uid"] != record.uid:
            return f"nothing to restore, the object is gone: {reason}"
        return f"nothing to restore, the object is there and nothing was set on it: {reason}"

    def _undo_patch(self, record: UndoRecord) -> str:
        resource = self._resource(record)
        if record.subresource:
            self._leave_trace(record, resource)
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            present = read(self._connection, resource, record.namespace, record.name)
            gone = _not_ours_any_more(record, present)
            if gone or present is None:
                return gone
            plan = plan_restoration(record, present, _trace_of(record))
            if self._patched(record, resource, plan.operations, last=attempt == WRITE_ATTEMPTS):
                return plan.outcome
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _leave_trace(self, record: UndoRecord, resource: Resource) -> None:
        """Move the object on before its subresource is restored: a late change of a dying process then fails."""
        whole = replace(record, subresource="")
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            present = read(self._connection, resource, record.namespace, record.name)
            if present is None or _not_ours_any_more(record, present):
                return
            operations = trace_operations(present, _trace_of(record))
            if self._patched(whole, resource, operations, last=attempt == WRITE_ATTEMPTS):
                return

    def _patched(self, record: UndoRecord, resource: Resource, operations: Sequence[Operation], *, last: bool) -> bool:
        """Send a patch; False where the object changed meanwhile and another attempt is left."""
        path = resource.path(record.namespace, record.name, record.subresource)
        call = Call(f"undo {record.fault}", "PATCH", path, _as_run(record), list(operations), JSON_PATCH)
        try:
            self._connection.send(call)
        except ApiError as error:
            if error.status not in {CONFLICT, UNPROCESSABLE} or last:
                raise
            return False
        return True

    def _undo_command(self, record: UndoRecord) -> str:
        """Run a command of this process's own settings; the record only names it, so that it cannot bring one."""
        return run_named(self._commands, str(record.applied.get("command", "")), record.name)

    def _undo_silence(self, record: UndoRecord) -> str:
        """End a silence of alerts. Where that cannot be done only time does it; the record stays open till then."""
        left_s = float(record.applied.get("until_unix_s", 0.0)) - time.time()
        itself = f"it ends by itself in {left_s:.0f} s"
        try:
            if self._end_silences is not None:
                return self._end_silences(record.run_id)
        except PortError as error:
            if left_s > 0:
                remedy = "; ".join(part for part in (error.remedy, itself) if part)
                raise PortError(error.system, error.operation, error.problem, remedy) from error
            return f"it has ended by itself, unseen ({error.problem})"
        if left_s > 0:
            remedy = f"{itself}; or `gameday recover` where the target's settings are"
            raise Refusal("silence", "no Alertmanager is known here", remedy)
        return "it has ended by itself"

    def _undo_delete(self, record: UndoRecord) -> str:
        """Delete a helper object. Where the record was written before it had a uid, its run label proves it ours."""
        resource = self._resource(record)
        present = read(self._connection, resource, record.namespace, record.name)
        if present is None or (record.uid and present["metadata"]["uid"] != record.uid):
            return "gone already"
        if not record.uid and (present["metadata"].get("labels") or {}).get(RUN_LABEL) != run_label(record.run_id):
            return f"left alone: {record.kind} {record.name} does not carry {RUN_LABEL} of this run"
        uid = present["metadata"]["uid"]
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        path = resource.path(record.namespace, record.name)
        try:
            self._connection.send(Call(f"undo {record.fault}", "DELETE", path, body=options))
        except ApiError as error:
            if error.status not in {NOT_FOUND, CONFLICT}:
                raise
        self._wait_gone(record, resource, uid)
        return "deleted"

    def _wait_gone(self, record: UndoRecord, resource: Resource, uid: str) -> None:
        deadline_s = time.monotonic() + GONE_LIMIT_S
        while time.monotonic() < deadline_s:
            present = read(self._connection, resource, record.namespace, record.name)
            if present is None or present["metadata"]["uid"] != uid:
                return
            time.sleep(GONE_POLL_S)
        problem = f"{record.kind} {record.namespace}/{record.name} is still there after {GONE_LIMIT_S:g} s"
        raise PortError(SYSTEM, f"undo {record.fault}", problem, "does a finalizer hold it?")

    def _undo_create(self, record: UndoRecord) -> str:
        resource = self._resource(record)
        present = read(self._connection, resource, record.namespace, record.name)
        if present is not None:
            return (
                "already as before" if present["metadata"]["uid"] == record.uid else "there again already, left alone"
            )
        try:
            body = recreated(record)
        except ValueError as error:
            raise PortError(SYSTEM, f"undo {record.fault}", str(error), "this is a defect of the fault") from error
        path = resource.path(record.namespace)
        self._connection.send(Call(f"undo {record.fault}", "POST", path, _as_run(record), body))
        return "created anew"


_STEPS: Mapping[str, Callable[[KubernetesLedger, UndoRecord], str]] = {
    "none": KubernetesLedger._undo_none,
    "patch": KubernetesLedger._undo_patch,
    "delete": KubernetesLedger._undo_delete,
    "create": KubernetesLedger._undo_create,
    "command": KubernetesLedger._undo_command,
    "silence": KubernetesLedger._undo_silence,
}


def ledger_permissions(namespace: str) -> tuple[Permission, ...]:
    """Return what the ledger needs to be allowed in the system namespace."""
    verbs = ("create", "list", "patch", "deletecollection")
    return tuple(Permission(verb, CONFIG_MAPS.plural, "", "", namespace) for verb in verbs)


def _not_ours_any_more(record: UndoRecord, present: Json | None) -> str:
    if present is None:
        return "the object is gone, and our values with it"
    uid = present["metadata"]["uid"]
    return "" if uid == record.uid else f"left alone: the object was replaced (uid {uid}), nothing on it is ours"


def _as_run(record: UndoRecord) -> dict[str, str]:
    """Return the query by which an undo is known as its run's, whoever carries it out."""
    return {"fieldManager": manager_of(record.run_id)}


def _trace_of(record: UndoRecord) -> str:
    return f"{record.run_id}/{record.record_id}@{time.time_ns()}"


def _name(record: UndoRecord) -> str:
    """Return the ConfigMap's name: readable, valid, and unique even where characters had to be replaced."""
    plain = f"{record.run_id}-{record.record_id}"
    readable = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:180].strip("-")
    return f"gameday-undo-{readable}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"


def _labels(record: UndoRecord) -> dict[str, str]:
    return {RUN_LABEL: run_label(record.run_id), STATE_LABEL: DONE if record.done else OPEN}


def _text(record: UndoRecord) -> str:
    """Return the record as text; a drill's is packed, so that nobody reads the answer in passing."""
    text = json.dumps({"schema": SCHEMA, **asdict(record)}, sort_keys=True)
    return base64.b64encode(zlib.compress(text.encode())).decode() if is_drill(record.run_id) else text


def _unpacked(text: str) -> str:
    try:
        return text if text.startswith("{") else zlib.decompress(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"neither JSON nor packed: {error}") from None


def _written(item: Json) -> tuple[int, str]:
    text = (item.get("data") or {}).get("written_unix_ns", "0")
    return (int(text) if text.isdecimal() else 0, item["metadata"]["name"])


def _record(item: Json) -> UndoRecord:
    text = (item.get("data") or {}).get("record", "")
    try:
        found = json.loads(_unpacked(text))
        if found.get("schema") != SCHEMA:
            raise ValueError(f"schema {found.get('schema')!r} is not {SCHEMA}")
        known = {field.name for field in fields(UndoRecord)}
        return UndoRecord(**{key: value for key, value in found.items() if key in known})
    except (ValueError, TypeError, AttributeError) as error:
        return _unreadable(item["metadata"], str(error))


def _unreadable(meta: Json, problem: str) -> UndoRecord:
    return UndoRecord(
        record_id=meta["name"],
        run_id=(meta.get("labels") or {}).get(RUN_LABEL, ""),
        fault="",
        api_version="v1",
        kind="ConfigMap",
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        operation=UNREADABLE,
        outcome=f"ConfigMap {meta['namespace']}/{meta['name']} holds no readable undo record: {problem}",
    )
