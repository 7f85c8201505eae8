"""Whether a fault lasted until its own undo: what somebody else took back before it tests less than it says. Pure.

The undo says of each value that it restored it, or found it as before already, or found something else. It judges no
limit, and says nothing of objects that are gone: a pod that was killed takes its values along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from harness.model.fault import OWNER_ANNOTATIONS, Effect
from harness.model.pointer import escape
from harness.model.record import Record

_RESTORED = re.compile(r"restored ([^;]*)")
_MARKS = tuple(f"/metadata/annotations/{escape(name)}" for name in OWNER_ANNOTATIONS)

Undo = Mapping[str, Any]


def taken_back_early(record: Record) -> dict[str, str]:
    """Return, by fault, what of its changes was not there any more when its undo came."""
    confirmed = {i.fault for i in record.timeline.injections() if i.effect is Effect.CONFIRMED}
    by_value: dict[tuple[str, str, str], list[Undo]] = {}
    for undo in record.undo:
        if undo.get("operation") == "patch" and undo.get("done") and undo.get("fault") in confirmed:
            for pointer in _pointers(undo):
                by_value.setdefault((str(undo["fault"]), undone_object(undo), pointer), []).append(undo)
    early: dict[str, list[str]] = {}
    for (fault, obj, pointer), undos in by_value.items():
        # An attempt that the API server refused has a record too, and nothing to restore: one that restored is enough.
        if not any(_restored(undo, pointer) for undo in undos) and _speaks_of(undos, pointer):
            early.setdefault(fault, []).append(f"{pointer} of {obj}")
    return {fault: ", ".join(values) for fault, values in early.items()}


def _pointers(undo: Undo) -> Iterable[str]:
    return (p for p in undo.get("applied") or {} if not p.startswith(_MARKS))


def undone_object(undo: Undo) -> str:
    """Return whose change an undo record takes back, as a fingerprint names it: ``Node/n1``, ``Pod/agents/a``."""
    return "/".join(str(undo[key]) for key in ("kind", "namespace", "name") if undo.get(key))


def _restored(undo: Undo, pointer: str) -> bool:
    return any(pointer in found.split(", ") for found in _RESTORED.findall(str(undo.get("outcome", ""))))


def _speaks_of(undos: Iterable[Undo], pointer: str) -> bool:
    """Tell whether an outcome names the value at all."""
    return any(pointer in str(undo.get("outcome", "")) for undo in undos)
