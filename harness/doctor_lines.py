"""What `gameday doctor` says: one line a thing looked at, for people and as JSON. Values only; looks at nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from harness import exits


class State(StrEnum):
    """What was found. Advice is for the platform's owner: a run does not need it followed."""

    OK = "ok"
    ADVICE = "advice"
    FINDING = "finding"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at.

    Attributes:
        area: What it belongs to, such as ``permissions``.
        state: What was found.
        subject: Object, signal, experiment or system concerned.
        message: What was found, in one sentence.
        command: What to type to look further (or to mend it); empty where all is well.
    """

    area: str
    state: State
    subject: str
    message: str
    command: str = ""


def status_of(lines: Iterable[Line]) -> int:
    """Return the exit status: 4 for a cluster that is not the target, 20 for findings, else 0 (also with advice)."""
    states = {line.state for line in lines}
    if State.REFUSED in states:
        return exits.USAGE
    return exits.INCONCLUSIVE if State.FINDING in states else exits.HELD


def document(target: str, lines: Sequence[Line]) -> dict[str, Any]:
    """Return the JSON document: target, exit status and every line."""
    return {
        "schema": "gameday.doctor/1",
        "target": target,
        "exit_status": status_of(lines),
        "lines": [asdict(line) for line in lines],
    }


def told(target: str, lines: Sequence[Line]) -> list[str]:
    """Return the lines for people, and a last one that sums up."""
    found: list[str] = []
    for line in lines:
        found.append(f"{line.state.value:8} {line.area:12} {line.subject}: {line.message}")
        found += [f"{'':21} > {line.command}"] if line.command else []
    counts = {state: sum(line.state is state for line in lines) for state in State}
    if counts[State.REFUSED]:
        return [*found, f"{target}: refused; nothing more was read, nothing was touched"]
    some = ", ".join(f"{counts[s]} {s.value}" for s in (State.FINDING, State.ADVICE, State.OK))
    return [*found, f"{target}: {some}; nothing was touched"]
