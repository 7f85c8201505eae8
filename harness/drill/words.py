"""What an entry of a drill's journal says, in words: the one table for the terminal, the pages and the debrief. Pure.

Must say no more than the entry holds: until the reveal the terminal shows it to whoever stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.model.drill import Entry


def entry_text(entry: Entry) -> str:
    """Return an entry of the journal in words, or nothing."""
    teller = _TELLERS.get(entry.kind)
    return teller(entry.detail) if teller else ""


def steady_text(ok: object) -> str:
    """Return whether the steady state holds: never which probe says so."""
    word = "holds" if ok is True else "does not hold" if ok is False else "cannot be told"
    return f"the steady state {word}"


def outcome_text(detail: Mapping[str, Any]) -> str:
    """Return how a command ended."""
    if detail.get("refused"):
        return f"refused: {detail['refused']}"
    status = detail.get("exit_status")
    return "did not end" if status is None else "ended well" if status == 0 else f"failed with exit status {status}"


def trouble_text(detail: Mapping[str, Any]) -> str:
    """Return what does not work, and what to do."""
    remedy = detail.get("remedy")
    return str(detail.get("message", "")) + (f" → {remedy}" if remedy else "")


def _mark(detail: Mapping[str, Any]) -> str:
    return f"{detail['mark']}" + (" (implied)" if detail.get("implied") is True else "")


def _hint(detail: Mapping[str, Any]) -> str:
    return f"hint {detail.get('number', '')}: {detail['text']}"


def _step(detail: Mapping[str, Any]) -> str:
    return f"step {detail['step']} {'done' if detail.get('done') is True else 'skipped'}"


def _command(detail: Mapping[str, Any]) -> str:
    return f"{detail['command']}: {outcome_text(detail)}"


def _page(detail: Mapping[str, Any]) -> str:
    severity = f" ({detail['severity']})" if detail.get("severity") else ""
    summary = f": {detail['summary']}" if detail.get("summary") else ""
    return f"{detail['alert']} {detail.get('state', '')}{severity}{summary}"


def _action(detail: Mapping[str, Any]) -> str:
    who = ", ".join(str(detail[key]) for key in ("manager", "origin") if detail.get(key))
    return f"{detail.get('object', '')}: {detail['what']}" + (f" ({who})" if who else "")


def _steady(detail: Mapping[str, Any]) -> str:
    why = f": {detail['reason']}" if detail.get("reason") and detail.get("ok") is not True else ""
    return steady_text(detail.get("ok")) + why


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
    "trouble": trouble_text,
    "revealed": _revealed,
    "ended": _ended,
}
"""What each kind of entry says; a kind that is not here is not told."""
