"""The debrief's timeline and its lists: what people, alerts and the platform did, in order and in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from harness.drill.debrief_sources import Sources
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


def entry_text(entry: Entry) -> str:
    """Return an entry of the journal in words, or nothing."""
    teller = _TELLERS.get(entry.kind)
    return teller(entry.detail) if teller else ""


def at_of(entry: Entry) -> float:
    """Return when it happened: a change that was kept back until the reveal says so itself."""
    kept = entry.detail.get("at_unix_s")
    return float(kept) if entry.kind == "action" and isinstance(kept, (int, float)) else entry.at_unix_s


def commands_of(sources: Sources) -> tuple[CommandRun, ...]:
    """Return the commands that were run or refused."""
    return tuple(
        CommandRun(e.at_unix_s, str(e.detail.get("step", "")), str(e.detail["command"]), e.by, _outcome(e.detail))
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
    return tuple(dict.fromkeys(_trouble(entry.detail) for entry in sources.drill.of("trouble")))


def _outcome(detail: Mapping[str, Any]) -> str:
    if detail.get("refused"):
        return f"refused: {detail['refused']}"
    status = detail.get("exit_status")
    return "did not end" if status is None else "ended well" if status == 0 else f"failed with exit status {status}"


def _trouble(detail: Mapping[str, Any]) -> str:
    remedy = detail.get("remedy")
    return str(detail.get("message", "")) + (f" → {remedy}" if remedy else "")


def _mark(detail: Mapping[str, Any]) -> str:
    return f"{detail['mark']}" + (" (implied)" if detail.get("implied") is True else "")


def _hint(detail: Mapping[str, Any]) -> str:
    return f"hint {detail.get('number', '')}: {detail['text']}"


def _step(detail: Mapping[str, Any]) -> str:
    return f"step {detail['step']} {'done' if detail.get('done') is True else 'skipped'}"


def _command(detail: Mapping[str, Any]) -> str:
    return f"{detail['command']}: {_outcome(detail)}"


def _page(detail: Mapping[str, Any]) -> str:
    severity = f" ({detail['severity']})" if detail.get("severity") else ""
    summary = f": {detail['summary']}" if detail.get("summary") else ""
    return f"{detail['alert']} {detail.get('state', '')}{severity}{summary}"


def _action(detail: Mapping[str, Any]) -> str:
    who = ", ".join(str(detail[key]) for key in ("manager", "origin") if detail.get(key))
    return f"{detail.get('object', '')}: {detail['what']}" + (f" ({who})" if who else "")


def _steady(detail: Mapping[str, Any]) -> str:
    held = detail.get("ok")
    word = "holds" if held is True else "does not hold" if held is False else "cannot be told"
    return f"the steady state {word}" + (f": {detail['reason']}" if detail.get("reason") and held is not True else "")


def _revealed(detail: Mapping[str, Any]) -> str:
    return f"it was {detail.get('fault', '')} of {detail.get('experiment', '')}: {detail.get('answer', '')}"


def _ended(detail: Mapping[str, Any]) -> str:
    return f"{detail['end']}" + (f": {detail['reason']}" if detail.get("reason") else "")


_TELLERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "opened": lambda detail: f"the drill is opened on {detail.get('target', '')}",
    "state": lambda detail: str(detail["state"]),
    "mark": _mark,
    "hint": _hint,
    "note": lambda detail: str(detail["text"]),
    "step": _step,
    "command": _command,
    "page": _page,
    "action": _action,
    "steady": _steady,
    "stop": lambda detail: f"safety stop: {detail.get('reason', '')}",
    "trouble": _trouble,
    "revealed": _revealed,
    "ended": _ended,
}
