"""Tells people and their tools that a game day is on: webhook, Grafana annotation, silence of expected alerts.

Told are the start (before the first request is sent), the end and an end that came early; of a refused run nobody is
told, since nothing happened. What cannot be told is noted and holds up nothing, but for the silence: without it, alerts
that everybody expects would page. A silence is a change like a fault's: its undo record is in the cluster first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import pandas as pd

from harness import exits
from harness.model.errors import PortError
from harness.model.experiment import Experiment
from harness.model.fault import UndoRecord
from harness.model.load import LoadPlan, LoadSnapshot
from harness.model.record import Ending, LoggedRequests
from harness.ports import Clock, LoadDriver, Observation, UndoLedger

SCHEMA = "gameday.announcement/1"
RECORD_ID = "silence"
FAULT = "announcement"
"""What undo events of a silence are said under, where a fault's name stands otherwise."""

START, STOP, ABORT = "start", "stop", "abort"


@dataclass(frozen=True, slots=True)
class Told:
    """One announcement.

    Attributes:
        event: ``start``, ``stop`` or ``abort``.
        run_id: The run.
        experiment: Its experiment.
        target: Where it runs.
        at_unix_s: When it happened.
        text: One sentence for people.
        until_unix_s: Of a start: when it is over at the latest.
        reason: Of an abort: why.
        exit_status: Of an end: as `exits` has it, or None where it was not judged.
    """

    event: str
    run_id: str
    experiment: str
    target: str
    at_unix_s: float
    text: str
    until_unix_s: float = 0.0
    reason: str = ""
    exit_status: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON of the webhook; ``text`` is what chat tools show."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "event": self.event,
            "run_id": self.run_id,
            "experiment": self.experiment,
            "target": self.target,
            "at": _iso(self.at_unix_s),
            "text": self.text,
        }
        if self.until_unix_s:
            found["until"] = _iso(self.until_unix_s)
        if self.reason:
            found["reason"] = self.reason
        if self.event != START:
            found |= {"exit_status": self.exit_status, "result": exits.MEANING.get(self.exit_status or 0, "")}
        return found


class Channel(Protocol):
    """Somebody who is told. Every call is bounded by the channel itself."""

    @property
    def name(self) -> str:
        """Its name for notes; never an address, which may be a secret."""
        ...

    def tell(self, told: Told) -> None:
        """Tell.

        Raises:
            PortError: It was not taken; the text holds no secret.
        """
        ...


class Silences(Protocol):
    """Where expected alerts are silenced."""

    def create(self, run_id: str, until_unix_s: float) -> None:
        """Silence the target's matchers until then.

        Raises:
            PortError: It was not taken.
        """
        ...

    def expire(self, run_id: str) -> str:
        """End every silence of a run and return what was found; safe to repeat.

        Raises:
            PortError: It could not be done, or not be told.
        """
        ...


@dataclass
class Announcer:
    """Announces one run.

    Attributes:
        experiment: What is run.
        target: Name of the target.
        clock: Dates everything.
        channels: Who is told.
        silences: Where alerts are silenced, or None.
        run_id: Known once the run has a folder.
        notes: What was told, and what could not be.
    """

    experiment: Experiment
    target: str
    clock: Clock
    channels: Sequence[Channel] = ()
    silences: Silences | None = None
    run_id: str = ""
    notes: list[Observation] = field(default_factory=list)
    _started: bool = False

    def start(self, ledger: UndoLedger) -> None:
        """Silence, then tell.

        Raises:
            PortError: Alerts could not be silenced, or the undo record of that not be written.
        """
        until_unix_s = self._now_unix_s + self.experiment.timeout_s
        if self.silences is not None:
            self.silences.expire(self.run_id)  # it answers: else there is nothing to write down
            ledger.write(silence_record(self.run_id, until_unix_s))
            self.silences.create(self.run_id, until_unix_s)
            self._note("alerts are silenced")
        self._started = True
        text = f"game day {self.experiment.name} starts on {self.target}: {self.experiment.title}"
        self._tell(self._told(START, text, until_unix_s=until_unix_s))

    def end(self, ending: Ending, reason: str, exit_status: int | None) -> None:
        """Tell how the run ended; once, and only where its start was told. Never raises."""
        if not self._started:
            return
        self._started = False
        whole = ending is Ending.COMPLETED
        result = exits.MEANING.get(exit_status, "") if exit_status is not None else "not judged"
        how = "ended" if whole else f"was ended early ({reason})"
        text = f"game day {self.experiment.name} on {self.target} {how}: {result}"
        self._tell(self._told(STOP if whole else ABORT, text, reason="" if whole else reason, exit_status=exit_status))

    def take_notes(self) -> list[Observation]:
        """Return what is new to the record."""
        found, self.notes = self.notes, []
        return found

    @property
    def _now_unix_s(self) -> float:
        return self.clock.origin_unix_s + self.clock.now_s()

    def _told(self, event: str, text: str, **more: Any) -> Told:
        return Told(event, self.run_id, self.experiment.name, self.target, self._now_unix_s, text, **more)

    def _tell(self, told: Told) -> None:
        for channel in self.channels:
            try:
                channel.tell(told)
            except PortError as error:
                self._note(f"{channel.name} could not be told of the {told.event}: {error}")
            else:
                if told.event == START:
                    self._note(f"{channel.name} was told of the start")

    def _note(self, message: str) -> None:
        self.notes.append(Observation(self.clock.now_s(), "harness", "note", FAULT, {"message": message}))


def silence_author(run_id: str) -> str:
    """Return the ``createdBy`` of a run's silence, by which it is found again."""
    return f"gameday {run_id}"


def silence_record(run_id: str, until_unix_s: float) -> UndoRecord:
    """Return how a silence is taken back: by the run's name, for it has no id before it is there."""
    return UndoRecord(
        record_id=RECORD_ID,
        run_id=run_id,
        fault=FAULT,
        api_version="alertmanager/v2",
        kind="Silence",
        namespace="",
        name=run_id,
        uid="",
        operation="silence",
        applied={"created_by": silence_author(run_id), "until_unix_s": until_unix_s},
        deadline_unix_s=until_unix_s,
    )


class AnnouncedLoad:
    """A load driver whose start is announced before the first request, and whose notes reach the record."""

    def __init__(self, load: LoadDriver, announcer: Announcer, ledger: UndoLedger) -> None:
        self._load, self._announcer, self._ledger = load, announcer, ledger

    def start(self, plan: LoadPlan) -> None:
        """Announce, then start the load."""
        self._announcer.start(self._ledger)
        self._load.start(plan)

    def poll(self) -> Sequence[Observation]:
        """Return what is new."""
        return [*self._announcer.take_notes(), *self._load.poll()]

    def latest(self) -> LoadSnapshot | None:
        """Return the newest snapshot."""
        return self._load.latest()

    def ask_to_stop(self) -> None:
        """Ask for the end of sending."""
        self._load.ask_to_stop()

    def stop(self) -> None:
        """Stop sending."""
        self._load.stop()

    def collect(self) -> tuple[pd.DataFrame, int]:
        """Return the request log."""
        return self._load.collect()

    def request_log(self) -> tuple[LoggedRequests, int]:
        """Return the same for the store."""
        return self._load.request_log()


def _iso(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")
