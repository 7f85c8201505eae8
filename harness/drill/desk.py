"""What the pages, the webhooks and the terminal may ask of a running drill. A Protocol and nothing else.

`harness.drill.session` implements it; the web server and the scripted participant only know this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Protocol

from harness.model.drill import Drill, Mark


class Role(StrEnum):
    """Who looks: the facilitator sees what is hidden, the participants do not."""

    FACILITATOR = "facilitator"
    PARTICIPANT = "participant"


class Desk(Protocol):
    """One running drill. Every method may be called from any thread; every refusal is a `DrillError`."""

    def mark(self, mark: Mark, by: str, *, implies: bool = False) -> None:
        """Mark; see `harness.model.drill.Drill.marks_to_make`."""
        ...

    def hint(self, by: str) -> str:
        """Give the next hint away and return it.

        Raises:
            DrillError: There is none left, or the drill does not run.
        """
        ...

    def note(self, text: str, by: str) -> None:
        """Write a line of the scribe's."""
        ...

    def step(self, step: str, done: bool, by: str) -> None:
        """Tick a step of the runbook, or say that it is skipped.

        Raises:
            DrillError: The runbook has no such step.
        """
        ...

    def run_command(self, step: str, number: int, by: str) -> Mapping[str, Any]:
        """Run the command ``number`` (from 1) of a step of the runbook and return its ``command`` entry's detail.

        Raises:
            DrillError: No such command, or it would change the cluster and only reading is allowed.
        """
        ...

    def page(self, detail: Mapping[str, Any], by: str) -> None:
        """Take in a page: the detail of a ``page`` entry. One that says ``acknowledged`` also marks."""
        ...

    def stop(self, reason: str, by: str) -> None:
        """Pull the safety stop; never refused, also when it is pulled twice."""
        ...

    def drill(self) -> Drill:
        """Return the journal so far; what it hides is in none of its entries until the reveal."""
        ...

    def view(self, role: Role) -> Mapping[str, Any]:
        """Return what a page shows, as plain JSON.

        Keys: ``drill_id``, ``target``, ``state``, ``end``, ``now_unix_s``, ``began_unix_s`` (None before running),
        ``limit_s``, ``targets_s``, ``marks`` {mark: {at_unix_s, by}}, ``steady`` {ok, reason}, ``hints`` [text],
        ``hints_left``, ``notes`` [{at_unix_s, by, text}], ``pages`` [page details with at_unix_s], ``actions`` [action
        details with at_unix_s], ``troubles``, ``runbook`` {title, path, steps: [{step, title, text,
        commands: [{command, changes}], done: bool|None}]}, ``curves`` {name: {unit, held: each value holds until the
        next one, points: [[at_unix_s, value|None]]}} of the last 15 minutes, ``debrief`` (its path below the drill's
        folder once there is one).
        The facilitator's has ``hidden`` {experiment, fault, title, answer} and ``faults`` (the run's fault events).
        """
        ...

    def changes(self, timeout_s: float) -> Iterator[int]:
        """Yield a growing number at every change, and at the latest every ``timeout_s``; ends with the drill."""
        ...
