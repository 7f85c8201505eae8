"""Brings the documents of an older record up to today's version, in memory, one step a version.

Pure over plain JSON: must not read or write a file, so a stored folder is never rewritten. A step is added here, with
a stored example and a test, whenever today's code would misread a record of the version before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.model.errors import SpecError
from harness.model.record import RECORD_VERSION

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Documents:
    """What a run folder holds besides its tables, as plain JSON and not yet checked.

    Attributes:
        header: ``run.json``.
        experiment: ``experiment.json``.
        lines: One entry a line of ``events.jsonl``; None where the line is no JSON object.
        harvest: ``harvest.json``, or None where there is none.
        fingerprint: ``fingerprint.json``, or None.
        undo: ``undo.json``, or None.
    """

    header: Any
    experiment: Any
    lines: Sequence[Json | None]
    harvest: Any = None
    fingerprint: Any = None
    undo: Any = None


def migrated(documents: Documents, version: int, where: str) -> Documents:
    """Return the documents as today's version would have written them.

    Args:
        documents: As they were read.
        version: Their version, at most today's.
        where: The file that says the version.

    Raises:
        SpecError: No step leads on from a version.
    """
    for number in range(version, RECORD_VERSION):
        step = STEPS.get(number)
        if step is None:
            problem = f"no step leads from gameday.record/{number} to today's gameday.record/{RECORD_VERSION}"
            raise SpecError(where, "schema", problem, "the schema in the file is wrong, or the run is from elsewhere")
        documents = step(documents)
    return documents


def _undo_events_name_their_operation(documents: Documents) -> Documents:
    """From 1: undo events did not say what was undone; since 2 they do, and a fault lasts until its change is undone.

    Without it every fault of such a record would end with its proof, and what came later would count as recovery.
    """
    records = documents.undo if isinstance(documents.undo, list) else []
    known = {str(r.get("record_id")): r.get("operation") for r in records if isinstance(r, dict)}
    return replace(documents, lines=[_with_operation(line, known) for line in documents.lines])


def _with_operation(line: Json | None, known: Mapping[str, Any]) -> Json | None:
    detail = line.get("detail") if line is not None and line.get("kind") == "undo" else None
    if line is None or not isinstance(detail, dict) or "operation" in detail:
        return line
    operation = known.get(str(detail.get("record_id", "")))
    return line if operation is None else {**line, "detail": {**detail, "operation": operation}}


def _documents_stay(documents: Documents) -> Documents:
    """From 2: only the request log has another form, and it says so by its columns (`harness.request_log_files`)."""
    return documents


STEPS: Mapping[int, Callable[[Documents], Documents]] = {1: _undo_events_name_their_operation, 2: _documents_stay}
"""The step that leads on from each older version."""
