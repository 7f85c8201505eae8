"""What an undo does to one object: pure planning of JSON patches from a record and the object as it is now.

Only values that are still ours are restored (DESIGN U2); whatever anybody else has set meanwhile is reported and left.
The plan always writes the object, under the resourceVersion that was read, so that a late change of a dying process,
which carries an older one, fails (DESIGN U1).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.model.fault import UndoRecord
from harness.model.pointer import Operation, escape, resolve, set_operations

Json = Mapping[str, Any]

TRACE_ANNOTATION = "gameday.local/last-undo"
"""Left by an undo on the object it wrote; no residue."""

_SERVER_MADE = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")


@dataclass(frozen=True, slots=True)
class Restoration:
    """A planned undo of a ``patch`` record.

    Attributes:
        operations: One JSON patch (RFC 6902).
        restored: Pointers that get their prior value back.
        already: Pointers that have it already.
        foreign: Pointers that somebody else has set meanwhile, with the value found.
    """

    operations: tuple[Operation, ...]
    restored: tuple[str, ...]
    already: tuple[str, ...]
    foreign: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        """Say what the undo did and what it left alone."""
        parts = [f"restored {', '.join(self.restored)}"] if self.restored else []
        if self.already:
            parts.append(f"already as before: {', '.join(self.already)}")
        parts += [f"left alone: {pointer} is now {value!r}, not ours" for pointer, value in self.foreign.items()]
        return "; ".join(parts) or "nothing to restore"


def plan_restoration(record: UndoRecord, obj: Json, trace: str) -> Restoration:
    """Plan the undo of a ``patch`` record.

    Args:
        record: ``applied`` names the fields, ``prior`` their values before; None means absent (the API stores no null).
        obj: The object as it is now.
        trace: Value of the annotation that the undo leaves, so that it always writes; must be new each time.
    """
    restored, already, foreign = [], [], {}
    operations: list[Operation] = []
    for pointer, applied in record.applied.items():
        current, prior = resolve(obj, pointer), record.prior.get(pointer)
        if current == prior:
            already.append(pointer)
        elif current == applied:
            restored.append(pointer)
            operations += set_operations(obj, operations, pointer, prior)
        else:
            foreign[pointer] = current
    if not record.subresource:  # a PATCH of a subresource cannot write it: see `trace_operations`
        operations += _trace(obj, operations, trace)
    return Restoration((*preconditions(obj), *operations), tuple(restored), tuple(already), foreign)


def trace_operations(obj: Json, trace: str) -> tuple[Operation, ...]:
    """Return a patch that only leaves the trace, so that whatever was made for an older state fails from now on."""
    return (*preconditions(obj), *_trace(obj, (), trace))


def _trace(obj: Json, planned: Sequence[Operation], trace: str) -> list[Operation]:
    return set_operations(obj, planned, f"/metadata/annotations/{escape(TRACE_ANNOTATION)}", trace)


def preconditions(obj: Json) -> list[Operation]:
    """Return the operations that make a patch fail on any other object, or on any other state of it."""
    meta = obj["metadata"]
    return [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        # Written, not tested: a patch that names a resourceVersion is refused with 409 where it is not the present one.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
    ]


def recreated(record: UndoRecord) -> dict[str, Any]:
    """Return the body that creates a deleted object anew: ``prior[""]``, the whole object, without what servers make.

    Raises:
        ValueError: The record does not hold the object.
    """
    whole = record.prior.get("")
    if not isinstance(whole, Mapping) or "metadata" not in whole:
        raise ValueError('a create record must hold the whole object under the pointer ""')
    return {**without_server_made(whole), "apiVersion": record.api_version, "kind": record.kind}


def without_server_made(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as it may be created anew: without its status, and without what servers write into metadata."""
    body = copy.deepcopy(dict(whole))
    body.pop("status", None)
    body["metadata"] = {key: value for key, value in body["metadata"].items() if key not in _SERVER_MADE}
    return body


SWITCH_CONFIG_MAP = "gateway-faults"
"""ConfigMap whose values are a switch: what the gateway's fault filters do (docs/testbed.md)."""
