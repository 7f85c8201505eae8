"""The debrief's timeline and its lists: what people, alerts and the platform did, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.drill.debrief_sources import Sources
from harness.drill.words import entry_text, outcome_text, trouble_text
from harness.model.debrief import CommandRun, FaultEffect, PersonAction, Row
from harness.model.drill import Entry
from reports.rows import timeline_rows

PLATFORM = "platform"
TOLD_OF_RUN = frozenset({"fault", "gate", "finding", "refusal", "stop", "undo", "residue", "hpa", "workload", "pdb"})
"""What of the run's own timeline is told beside what people did."""


def rows_of(sources: Sources, effect: FaultEffect) -> tuple[Row, ...]:
    """Return the timeline, in order."""
    found = [*_journal_rows(sources), *_run_rows(sources)]
    found.sort(key=lambda row: row[0])
    return tuple(Row(at, _after(at, effect), kind, by, " ".join(text.split())) for at, kind, by, text in found)


def _after(at_unix_s: float, effect: FaultEffect) -> float | None:
    return None if effect.at_unix_s is None else round(at_unix_s - effect.at_unix_s, 1)


Line = tuple[float, str, str, str]


def _journal_rows(sources: Sources) -> Iterator[Line]:
    steady: object = None
    for entry in sources.drill.entries:
        if entry.kind == "steady":
            before, steady = steady, entry.detail.get("ok")
            if before == steady:
                continue
        text = entry_text(entry)
        if text:
            yield at_of(entry), entry.kind, entry.by, text


def _run_rows(sources: Sources) -> Iterator[Line]:
    record = sources.record
    if record is None:
        return
    origin = record.timeline.origin.timestamp()
    for row in timeline_rows(record)[0]:
        if row.kind in TOLD_OF_RUN:
            yield origin + row.t_s, row.kind, PLATFORM, f"{row.subject}: {row.text}"


def at_of(entry: Entry) -> float:
    """Return when it happened: a change that was kept back until the reveal says so itself."""
    kept = entry.detail.get("at_unix_s")
    return float(kept) if entry.kind == "action" and isinstance(kept, (int, float)) else entry.at_unix_s


def commands_of(sources: Sources) -> tuple[CommandRun, ...]:
    """Return the commands that were run or refused."""
    return tuple(
        CommandRun(e.at_unix_s, str(e.detail.get("step", "")), str(e.detail["command"]), e.by, outcome_text(e.detail))
        for e in sources.drill.of("command")
    )


def actions_of(sources: Sources) -> tuple[PersonAction, ...]:
    """Return the changes in the cluster, in order."""
    return tuple(
        PersonAction(at_of(e), *(str(e.detail.get(key, "")) for key in ("object", "what", "manager", "origin")))
        for e in sorted(sources.drill.of("action"), key=at_of)
    )


def troubles_of(sources: Sources) -> tuple[str, ...]:
    """Return what of the drill itself did not work, each once."""
    return tuple(dict.fromkeys(trouble_text(entry.detail) for entry in sources.drill.of("trouble")))
