"""Was everything of ours taken back? Asked of the undo records, the fingerprints and the residue check. Pure.

A failed undo or a difference that is ours is a FAIL, whatever else the run says (DESIGN U6). What somebody else changed
is reported and fails nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from assertions.definition import Check, Definition, broken, conclude, held, params_object, unclear
from assertions.early_undo import undone_object
from harness.model.experiment import AssertionSpec
from harness.model.fingerprint import Difference, fingerprint_difference
from harness.model.record import Record
from harness.model.verdict import Verdict

KIND = "restored"
SCHEMA = params_object({})
RUN_LABEL = "gameday.local/run"
RECOVER = "gameday recover"
_SECTION = re.compile(r"^/(spec|status|metadata)(?=/)")


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge whether the run left nothing behind."""
    checks = [
        *_journal_checks(record),
        *_undo_checks(record),
        *_residue_checks(record),
        *_fingerprint_checks(record),
        *_lease_checks(record),
    ]
    expected = "every change of the run is taken back, and nothing of it is left in the cluster"
    figures = {"undo_records": float(len(record.undo)), "changes_by_others": float(len(_others(record)))}
    evidence = [f"changed by somebody else: {text}" for text in _others(record)]
    return conclude(spec, checks, expected, evidence=evidence, figures=figures)


def _journal_checks(record: Record) -> Iterator[Check]:
    """Doubt a record that lost events: an undo record may have been written that nothing tells of any more."""
    numbers = [event.seq for event in record.timeline.events]
    holes = [after for before, after in pairwise(numbers) if after != before + 1]
    if holes or (numbers and numbers[0] != 1):
        where = f"before event {holes[0]}" if holes else f"before event {numbers[0]}"
        yield unclear(
            f"events are missing {where}: what was done to the cluster is not fully known", f"run `{RECOVER}`"
        )


def _undo_checks(record: Record) -> Iterator[Check]:
    failed = [undo for undo in record.undo if not undo.get("done")]
    if failed:
        named = ", ".join(f"{undone_object(undo)} ({undo.get('outcome') or 'not undone'})" for undo in failed)
        yield broken(f"not taken back: {named}", f"run `{RECOVER}` and look at these objects")
    yield from _failed_events(record)
    written = {e.subject for e in record.timeline.of("fault") if e.detail.get("step") == "undo-recorded"}
    missing = sorted(written - {str(undo.get("fault")) for undo in record.undo})
    if missing:
        reason = f"the undo records of {', '.join(missing)} are not in the run's record: their outcome is not known"
        yield unclear(reason, f"run `{RECOVER}`; it lists what is open in the cluster")
    if not failed and not missing:
        yield held(f"{len(record.undo)} of {len(record.undo)} undo records done")


def _failed_events(record: Record) -> Iterator[Check]:
    """Fail on an undo that failed as a whole; single records speak for themselves."""
    known = {str(undo.get("record_id")) for undo in record.undo}
    for event in record.timeline.of("undo"):
        if event.detail.get("step") == "failed" and str(event.detail.get("record_id", "")) not in known:
            reason = f"the undo of {event.subject} failed: {event.detail.get('outcome', 'no reason given')}"
            yield broken(reason, f"run `{RECOVER}`")


def _residue_checks(record: Record) -> Iterator[Check]:
    for event in record.timeline.of("residue"):
        if event.detail.get("ours"):
            text = f"{event.subject}: {event.detail.get('difference', 'left behind')}"
            yield broken(f"left behind: {text}", str(event.detail.get("command") or f"run `{RECOVER}`"))


def _fingerprint_checks(record: Record) -> Iterator[Check]:
    before, after = record.fingerprint_before, record.fingerprint_after
    if before is None or after is None:
        which = "before the run" if before is None else "after the run"
        yield unclear(f"no fingerprint was taken {which}: a residue could not be seen", f"run `{RECOVER}`")
        return
    ours = list(differences(before, after, lambda found: _ours(record, found)).values())
    if ours:
        yield broken(f"differs from before the run: {'; '.join(ours)}", f"run `{RECOVER}` and look at these objects")
    else:
        yield held(f"{len(after)} objects as before")


def _lease_checks(record: Record) -> Iterator[Check]:
    if record.header.facts.get("lease_released") is False:
        yield broken("the run's Lease was not released", f"it lapses by itself; else run `{RECOVER}`")


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], keep: Callable[[Difference], bool] = lambda found: True
) -> dict[str, str]:
    """Return what differs between two fingerprints and is to be kept, by object, as one line each."""
    by_object: dict[str, list[str]] = {}
    for found in filter(keep, fingerprint_difference(before, after)):
        by_object.setdefault(found.subject, []).append(_told(found))
    return {key: f"{key} " + ", ".join(told) for key, told in by_object.items()}


def _told(found: Difference) -> str:
    if not found.pointer and None in (found.before, found.after):
        return "is new" if found.before is None else "is gone"
    return _change(found)


def _change(found: Difference) -> str:
    return f"{found.pointer.lstrip('/')} was {_short(found.before)}, is {_short(found.after)}".strip()


def _ours(record: Record, found: Difference) -> bool:
    """Tell whether a difference is of an object that we changed: it has an undo record, or carries the run's label.

    A field that an undo left alone, because somebody else had set it meanwhile, is theirs (DESIGN U2).
    """
    key = found.subject
    touched = [undo for undo in record.undo if undone_object(undo).lower() == key.lower()]
    if touched:
        return not any(_left_alone(undo, found) for undo in touched)
    return RUN_LABEL in json.dumps((record.fingerprint_after or {}).get(key), default=str)


def _left_alone(undo: Mapping[str, Any], found: Difference) -> bool:
    """Tell whether an undo that was done says that it left this field alone, and our value is not there any more."""
    if not undo.get("done") or not found.pointer:
        return False
    outcome, applied = str(undo.get("outcome", "")), undo.get("applied") or {}
    return any(
        f"left alone: {pointer} is now " in outcome and _same_field(pointer, found.pointer) and found.after != value
        for pointer, value in applied.items()
    )


def _same_field(pointer: str, printed: str) -> bool:
    """Compare a pointer into an object with one into its fingerprint, which leaves out ``spec`` and ``status``."""
    short, other = (_SECTION.sub("", each) + "/" for each in (pointer, printed))
    return short.startswith(other) or other.startswith(short)


def _others(record: Record) -> list[str]:
    before, after = record.fingerprint_before, record.fingerprint_after
    known = before is not None and after is not None
    found = differences(before or {}, after or {}, lambda one: not _ours(record, one)) if known else {}
    told = list(found.values())
    residues = [e for e in record.timeline.of("residue") if not e.detail.get("ours")]
    return list(dict.fromkeys([*told, *(f"{e.subject}: {e.detail.get('difference', '')}" for e in residues)]))


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, sort_keys=True)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a line of a report


DEFINITION = Definition(
    kind=KIND,
    question="Was everything of ours taken back?",
    judge=judge,
    params_schema=SCHEMA,
)
