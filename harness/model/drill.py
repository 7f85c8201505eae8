"""A drill as values: what its file says, what people said and did, and the rules of its marks. No I/O, no clock.

A drill's journal is a list of entries, numbered from 1. Kinds, and their details:

    opened    {"drill_id", "target", "limit_s", "targets_s": {mark: s}, "seal"}: never which fault it is, nor by its
               runbook's name
    state     {"state": a DrillState}
    mark      {"mark": a Mark, "implied": bool}
    hint      {"number": from 1, "text"}
    note      {"text"}
    step      {"step": id in the runbook, "done": bool}: ticked, or said to be skipped
    command   {"step", "command", "changes": bool, "exit_status": int|None, "output", "duration_s", "refused": str}
    page      {"source", "event": the source's own id of it, "alert", "state": "firing"|"acknowledged"|"resolved",
               "severity", "labels", "summary"}
    action    {"object", "what", "manager", "origin": an Origin}: a change in the cluster, by whom
    steady    {"ok": bool|None, "reason"}
    stop      {"reason"}: somebody pulled the safety stop
    trouble   {"message", "remedy"}: something of the drill itself does not work
    revealed  {"experiment", "fault", "title", "answer", "nonce", "runbook": [paths]}: opens the seal; the runbooks are
               those that people had
    ended     {"end": a DrillEnd, "reason", "run_dir", "exit_status"}

``by`` says who: a name that people typed or that a pager gave, or ``facilitator``, ``participants``, ``alertmanager``,
``pagerduty``, ``opsgenie``, ``cluster`` or ``drill``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mark(StrEnum):
    """What the people on call say of themselves; only in this order."""

    DETECTED = "detected"
    ACKNOWLEDGED = "acknowledged"
    DIAGNOSED = "diagnosed"
    MITIGATED = "mitigated"


MARKS = tuple(Mark)


REHEARSAL = "twin"
"""What the target of a drill is called that is held against the in-memory twin: nobody is paged there."""


class DrillState(StrEnum):
    """Where a drill is."""

    PREPARING = "preparing"
    """Preflight, baseline and burst: nothing is broken yet."""
    RUNNING = "running"
    """The fault may come at any moment, or is there."""
    ENDING = "ending"
    """Everything is being taken back."""
    OVER = "over"


class DrillEnd(StrEnum):
    """Why a drill ended."""

    MITIGATED = "mitigated"
    """People said so, and the steady state held."""
    TIME_LIMIT = "time limit"
    SAFETY_STOP = "safety stop"
    RUN_ENDED = "run ended"
    """The run beneath it ended by itself: refused, aborted, crashed."""


class Origin(StrEnum):
    """Who changed an object."""

    HUMAN = "human"
    CONTROLLER = "controller"
    GITOPS = "gitops"
    GAMEDAY = "gameday"
    UNKNOWN = "unknown"


class DrillError(Exception):
    """Something that the drill cannot take now; its state is as it was.

    Attributes:
        problem: What is wrong.
        remedy: What to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem, self.remedy = problem, remedy


@dataclass(frozen=True, slots=True)
class DrillFault:
    """One fault of an experiment that a drill may hide.

    Attributes:
        fault: Name of the activity in the file's method.
        answer: One sentence: what it was, for the reveal.
        expect: Alerts that must fire, by alertname.
        expect_within_s: Within which time from the fault's effect.
        hints: From the weakest to the plainest.
    """

    fault: str
    answer: str
    expect: tuple[str, ...] = ()
    expect_within_s: float = 60.0
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """The ``drill`` block of an experiment's file.

    Attributes:
        limit_s: Longest time from the first fault to the end.
        targets_s: By when each mark is wanted, in seconds from the fault's effect.
        faults: Those that may be chosen; one is.
        allow: Alerts that may fire besides the expected ones.
    """

    limit_s: float
    targets_s: Mapping[Mark, float]
    faults: tuple[DrillFault, ...]
    allow: tuple[str, ...] = ()

    def fault(self, name: str) -> DrillFault | None:
        """Return the fault of that name."""
        return next((one for one in self.faults if one.fault == name), None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a drill's journal.

    Attributes:
        seq: From 1, without holes.
        at_unix_s: Wall clock, UTC.
        kind: See the module's table.
        by: Who.
        detail: Plain JSON.
    """

    seq: int
    at_unix_s: float
    kind: str
    by: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drill:
    """A drill as its journal tells it: the fold of its entries."""

    entries: tuple[Entry, ...] = ()

    @property
    def state(self) -> DrillState:
        """Where it is; preparing where nothing was said."""
        return DrillState(next((e.detail["state"] for e in reversed(self.entries) if e.kind == "state"), "preparing"))

    @property
    def marks(self) -> Mapping[Mark, Entry]:
        """The marks that were made."""
        return {Mark(e.detail["mark"]): e for e in self.entries if e.kind == "mark"}

    @property
    def end(self) -> Entry | None:
        """How it ended, or None while it goes on."""
        return next((e for e in self.entries if e.kind == "ended"), None)

    @property
    def steady(self) -> bool | None:
        """Whether the steady state held when it was last looked at."""
        return next((e.detail.get("ok") for e in reversed(self.entries) if e.kind == "steady"), None)

    def of(self, kind: str) -> Sequence[Entry]:
        """Return the entries of a kind, in order."""
        return [entry for entry in self.entries if entry.kind == kind]

    def opened(self) -> Mapping[str, Any]:
        """Return what it was opened with; empty before."""
        return next((e.detail for e in self.entries if e.kind == "opened"), {})

    def with_entry(self, entry: Entry) -> Drill:
        """Return the drill with one entry more."""
        return Drill((*self.entries, entry))

    def marks_to_make(self, mark: Mark, *, implies: bool = False) -> tuple[Mark, ...]:
        """Return what a mark adds: itself, and with ``implies`` those before it that nobody made.

        Args:
            mark: What is said now.
            implies: Whether the earlier ones are taken as made at the same moment: whoever acknowledges a page has
                detected something.

        Raises:
            DrillError: The drill is not running, the mark was made before, or an earlier one is missing.
        """
        if self.state is not DrillState.RUNNING:
            raise DrillError(f"{mark}: the drill is {self.state}", "marks are taken while it runs")
        if mark in self.marks:
            raise DrillError(f"{mark}: was marked before", "the first time stays; add a note")
        earlier = MARKS[: MARKS.index(mark)]
        missing = tuple(one for one in earlier if one not in self.marks)
        if missing and not implies:
            raise DrillError(f"{mark}: comes after {missing[0]}, which nobody has marked", f"mark {missing[0]} first")
        return (*missing, mark)


def seal_of(hidden: Mapping[str, str], nonce: str) -> str:
    """Return the seal of what a drill hides: SHA-256 over its JSON and a nonce of 128 bits or more.

    Args:
        hidden: ``experiment`` and ``fault``.
        nonce: Hex; kept apart until the reveal.
    """
    text = json.dumps(dict(hidden), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{nonce}:{text}".encode()).hexdigest()
