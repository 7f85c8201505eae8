"""What a page shows of a drill, by role. Pure; what a participant gets holds nothing of what is hidden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.drill.books import Books
from harness.drill.desk import Role
from harness.drill.observed import Observed
from harness.drill.words import steady_text
from harness.model.drill import Drill, DrillState, Entry


@dataclass(frozen=True, slots=True)
class Shown:
    """All that a view is made of.

    Attributes:
        drill: The journal so far.
        seen: The run beneath it.
        books: The runbook.
        hidden: What the facilitator sees.
        kept: Changes that may be the drill's own, with their times; the facilitator's.
        hints_left: How many hints are left.
        debrief: Its path below the drill's folder, or empty.
        now_unix_s: Wall clock.
    """

    drill: Drill
    seen: Observed
    books: Books
    hidden: Mapping[str, str]
    kept: Sequence[Mapping[str, Any]]
    hints_left: int
    debrief: str
    now_unix_s: float


def view_of(shown: Shown, role: Role) -> dict[str, Any]:
    """Return the view of a role; see `harness.drill.desk.Desk.view`."""
    return {**_open(shown), **(_hidden(shown) if role is Role.FACILITATOR else {})}


def _open(shown: Shown) -> dict[str, Any]:
    drill, opened = shown.drill, shown.drill.opened()
    end = drill.end
    return {
        "drill_id": opened.get("drill_id", ""),
        "target": opened.get("target", ""),
        "state": drill.state.value,
        "end": None if end is None else {"end": end.detail["end"], "reason": end.detail.get("reason", "")},
        "now_unix_s": shown.now_unix_s,
        "began_unix_s": _began_unix_s(drill),
        "limit_s": opened.get("limit_s", 0.0),
        "targets_s": dict(opened.get("targets_s", {})),
        "marks": {mark.value: {"at_unix_s": e.at_unix_s, "by": e.by} for mark, e in drill.marks.items()},
        "steady": {"ok": shown.seen.steady, "reason": steady_text(shown.seen.steady)},
        "hints": [entry.detail["text"] for entry in drill.of("hint")],
        "hints_left": shown.hints_left,
        "notes": [{"by": entry.by, **_dated(entry)} for entry in drill.of("note")],
        "pages": list(_all_dated(drill, "page")),
        "actions": list(_all_dated(drill, "action")),
        "troubles": list(_all_dated(drill, "trouble")),
        "runbook": _runbook(shown),
        "curves": shown.seen.curves.document(),
        "debrief": shown.debrief,
    }


def _hidden(shown: Shown) -> dict[str, Any]:
    actions = sorted([*_all_dated(shown.drill, "action"), *shown.kept], key=lambda one: float(one["at_unix_s"]))
    return {
        "hidden": dict(shown.hidden),
        "faults": list(shown.seen.fault_events),
        "actions": actions,
        "steady": {"ok": shown.seen.steady, "reason": shown.seen.steady_reason},
    }


def _began_unix_s(drill: Drill) -> float | None:
    running = DrillState.RUNNING.value
    return next((e.at_unix_s for e in drill.of("state") if e.detail["state"] == running), None)


def _all_dated(drill: Drill, kind: str) -> Iterator[dict[str, Any]]:
    return (_dated(entry) for entry in drill.of(kind))


def _dated(entry: Entry) -> dict[str, Any]:
    return {"at_unix_s": entry.at_unix_s, **entry.detail}


def _runbook(shown: Shown) -> dict[str, Any]:
    ticked = {str(e.detail["step"]): bool(e.detail["done"]) for e in shown.drill.of("step")}
    steps = [
        {
            "step": step.step,
            "title": step.title,
            "text": step.text,
            "commands": [{"command": one.text, "changes": one.changes} for one in step.commands],
            "done": ticked.get(step.step),
        }
        for step in shown.books.steps
    ]
    revealed = next(iter(shown.drill.of("revealed")), None)
    path = "" if revealed is None else ", ".join(revealed.detail.get("runbook", ()))
    return {"title": shown.books.title, "path": path, "steps": steps}
