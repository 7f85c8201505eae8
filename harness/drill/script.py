"""A scripted participant: a file of timed marks, hints, notes, steps and commands, for drills with nobody watching.

    - {after: page, at: 5s, mark: acknowledged, by: ana}
    - {at: 30s, command: "kubectl -n agents get pods"}

``at`` counts from what ``after`` names: ``effect`` (the fault's, the default), ``page``, ``hint``, ``command``, a mark.
Reads one file; only talks to a `Session` like any other participant. What is refused is told as the drill's trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.drill.session import Session
from harness.model.drill import MARKS, DrillError, Mark
from harness.model.errors import SpecError
from harness.model.time import parse_duration_s
from harness.runbook_commands import command_of
from harness.runbook_kubectl import CommandError
from harness.spec_document import Document, raise_all, read_document, schema_errors

EFFECT = "effect"
ANCHORS = (EFFECT, "page", "hint", "command", *(mark.value for mark in MARKS))
DEEDS = ("mark", "hint", "note", "step", "skip", "command", "stop")
BY = "script"

_TEXT = {"type": "string", "pattern": "\\S"}
SCHEMA: Mapping[str, Any] = {
    "type": "array",
    "minItems": 1,
    "description": "a list of what the participant does",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "at": {"type": ["string", "number"], "format": "duration", "description": "a duration such as 30s"},
            "after": {"enum": list(ANCHORS), "description": "what `at` counts from"},
            "by": {**_TEXT, "description": "who"},
            "mark": {"enum": [mark.value for mark in MARKS], "description": "a mark"},
            "hint": {"const": True, "description": "true: ask for the next hint"},
            "note": {**_TEXT, "description": "what the scribe writes"},
            "step": {**_TEXT, "description": 'a step of the runbook that is done, quoted: "3"'},
            "skip": {**_TEXT, "description": 'a step of the runbook that is skipped, quoted: "3"'},
            "command": {**_TEXT, "description": "a command as in a runbook"},
            "stop": {**_TEXT, "description": "why the safety stop is pulled"},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that the participant does.

    Attributes:
        line: Of the file, for messages.
        at_s: When, counted from the anchor.
        after: The anchor.
        deed: One of `DEEDS`.
        value: Of the deed.
        by: Who.
    """

    line: int
    at_s: float
    after: str
    deed: str
    value: Any
    by: str


def read_script(path: Path) -> tuple[Line, ...]:
    """Read a script.

    Raises:
        SpecError: There is no such file, or something in it is wrong; every problem is named with its line.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), "", f"cannot be read: {error}", "name a YAML file") from None
    document = read_document(text, path.name)
    raise_all(schema_errors(document, (), document.data, SCHEMA))
    raise_all([error for number, item in enumerate(document.data) for error in _problems(document, number, item)])
    return tuple(_line(document, number, item) for number, item in enumerate(document.data))


def _problems(document: Document, number: int, item: Mapping[str, Any]) -> list[SpecError]:
    deeds = [deed for deed in DEEDS if deed in item]
    if len(deeds) != 1:
        return [document.error((number,), f"{len(deeds)} things to do", f"exactly one of {', '.join(DEEDS)}")]
    if "at" not in item and "after" not in item:
        return [document.error((number, "at"), "missing", "a duration such as 30s, or after")]
    if deeds == ["command"]:
        try:
            command_of(item["command"])
        except CommandError as error:
            return [document.error((number, "command"), error.problem, error.remedy)]
    return []


def _line(document: Document, number: int, item: Mapping[str, Any]) -> Line:
    deed = next(one for one in DEEDS if one in item)
    at_s, after = parse_duration_s(item.get("at", 0)), str(item.get("after", EFFECT))
    return Line(document.lines[number,], at_s, after, deed, item[deed], str(item.get("by", BY)))


class Participant:
    """Does what a script says, each line once, as soon as it is due."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._left = list(lines)

    def look(self, session: Session, now_unix_s: float) -> None:
        """Do what is due; what is refused becomes the drill's trouble, and the rest goes on."""
        for line in [one for one in self._left if _due(one, session, now_unix_s)]:
            self._left.remove(line)
            try:
                _DEEDS[line.deed](session, line)
            except DrillError as error:
                session.trouble(f"script, line {line.line}: {error.problem}", error.remedy)

    @property
    def left(self) -> Sequence[Line]:
        """What was not done."""
        return tuple(self._left)


def _due(line: Line, session: Session, now_unix_s: float) -> bool:
    since_unix_s = _anchor_unix_s(line.after, session)
    return since_unix_s is not None and now_unix_s >= since_unix_s + line.at_s


def _anchor_unix_s(after: str, session: Session) -> float | None:
    if after == EFFECT:
        return session.seen.effect_unix_s
    drill = session.drill()
    if after in set(Mark):
        entry = drill.marks.get(Mark(after))
        return entry.at_unix_s if entry else None
    wanted = (e for e in drill.of(after) if after != "page" or e.detail.get("state") == "firing")
    return next((entry.at_unix_s for entry in wanted), None)


_DEEDS: Mapping[str, Callable[[Session, Line], object]] = {
    "mark": lambda session, line: session.mark(Mark(line.value), line.by),
    "hint": lambda session, line: session.hint(line.by),
    "note": lambda session, line: session.note(line.value, line.by),
    "step": lambda session, line: session.step(line.value, True, line.by),
    "skip": lambda session, line: session.step(line.value, False, line.by),
    "command": lambda session, line: session.run_line(command_of(line.value), line.by),
    "stop": lambda session, line: session.stop(line.value, line.by),
}
