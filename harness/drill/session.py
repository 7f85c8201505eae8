"""The drill itself: takes in what people say and what the run shows, keeps the rules, writes the journal (`Desk`).

Every call may come from any thread. A refused call changes nothing. What is hidden stays in this object and in the
sealed folder: no entry of the journal holds it before the reveal, nor does a participant's view.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.drill.books import Books
from harness.drill.curves import Curves
from harness.drill.desk import Role
from harness.drill.journal import Journal, Said
from harness.drill.observed import Observed
from harness.drill.people import may_be_shown
from harness.drill.view import Shown, view_of
from harness.model.drill import Drill, DrillEnd, DrillError, DrillState, Entry, Mark, Origin
from harness.runbook_commands import Command
from harness.runbook_run import CommandResult

Execute: TypeAlias = Callable[[str], CommandResult]
"""Runs a line on the drill's cluster; refuses by itself what is not allowed."""

DRILL = "drill"
TEXT_MAX = 4000
PAGE_STATES = ("firing", "acknowledged", "resolved")


@dataclass(frozen=True)
class Given:
    """What a session begins with.

    Attributes:
        opened: Detail of the entry ``opened``.
        hidden: Detail of the entry ``revealed``.
        hints: From the weakest to the plainest.
        books: The runbook.
        execute: Runs commands.
        allow_changes: Whether commands may change the cluster.
        own_namespaces: Where the drill's own objects are; their workloads are not shown.
        is_test: Whether a page only tests the alert route, and is none of the drill's.
    """

    opened: Mapping[str, Any]
    hidden: Mapping[str, Any]
    hints: Sequence[str]
    books: Books
    execute: Execute
    allow_changes: bool = False
    own_namespaces: frozenset[str] = frozenset()
    is_test: Callable[[Mapping[str, Any]], bool] = lambda detail: False


class Session:
    """One drill: a `Desk`, and what the runner tells it.

    Attributes:
        seen: The run beneath it; to be read under no lock by the runner alone, whose thread writes it.
    """

    def __init__(self, journal: Journal, given: Given, now_unix_s: Callable[[], float] = time.time) -> None:
        """Go on from the journal; an empty one is opened."""
        self._journal, self._given, self._now_unix_s = journal, given, now_unix_s
        self._changed = threading.Condition(threading.RLock())
        self._number = 0
        self._kept: list[Mapping[str, Any]] = []
        self._debrief = ""
        self.seen = Observed(Curves(given.own_namespaces))
        if not journal.drill.entries:
            self._say(("opened", DRILL, given.opened), ("state", DRILL, {"state": DrillState.PREPARING.value}))

    # what people say ------------------------------------------------------------------------------------------------

    def mark(self, mark: Mark, by: str, *, implies: bool = False) -> None:
        """Mark; see `harness.drill.desk.Desk`."""
        with self._changed:
            self._say(*self._marks(mark, by, implies))

    def _marks(self, mark: Mark, by: str, implies: bool) -> list[Said]:
        made = self.drill().marks_to_make(mark, implies=implies)
        return [("mark", _name(by), {"mark": one.value, "implied": one is not mark}) for one in made]

    def hint(self, by: str) -> str:
        """Give the next hint away."""
        with self._changed:
            self._need_running("hints are given")
            number = len(self.drill().of("hint")) + 1
            if number > len(self._given.hints):
                raise DrillError("there is no hint left", "the facilitator may know more")
            text = self._given.hints[number - 1]
            self._say(("hint", _name(by), {"number": number, "text": text}))
            return text

    def note(self, text: str, by: str) -> None:
        """Write a line of the scribe's."""
        with self._changed:
            self._need_open()
            self._say(("note", _name(by), {"text": _text(text, "the note")}))

    def step(self, step: str, done: bool, by: str) -> None:
        """Tick a step of the runbook, or say that it is skipped."""
        with self._changed:
            self._need_running("steps are ticked")
            found = self._given.books.step(step)
            self._say(("step", _name(by), {"step": found.step, "done": bool(done)}))

    def run_command(self, step: str, number: int, by: str) -> Mapping[str, Any]:
        """Run a command of the runbook."""
        return self._execute(step, self._given.books.command(step, number), by)

    def run_line(self, command: Command, by: str) -> Mapping[str, Any]:
        """Run a command that is in no runbook: the scripted participant's."""
        return self._execute("", command, by)

    def _execute(self, step: str, command: Command, by: str) -> Mapping[str, Any]:
        """Run it without holding anybody up; its entry is written when it is done."""
        with self._changed:
            self._need_running("commands are run")
        if command.changes and not self._given.allow_changes:
            problem = f"{command.text}: would change the cluster, and only reading is allowed"
            raise DrillError(problem, "do it in a terminal of yours, or start the drill with --allow-changes")
        result = self._given.execute(command.text)
        told = {"exit_status": result.exit_status, "output": result.output, "duration_s": round(result.duration_s, 3)}
        said = {"step": step, "command": command.text, "changes": command.changes, **told, "refused": result.refused}
        with self._changed:
            self._need_open()
            return self._say(("command", _name(by), said))[0].detail

    def page(self, detail: Mapping[str, Any], by: str) -> None:
        """Take in a page; one that was acknowledged also marks, where that mark is still to be made."""
        if self._given.is_test(detail):
            return
        with self._changed:
            self._need_open()
            if detail.get("state") not in PAGE_STATES or not detail.get("alert"):
                raise DrillError("a page needs an alert and a state", f"state is one of {', '.join(PAGE_STATES)}")
            said: list[Said] = [("page", _name(by), detail)]
            if detail["state"] == "acknowledged" and self._wants(Mark.ACKNOWLEDGED):
                said += self._marks(Mark.ACKNOWLEDGED, by, implies=True)
            self._say(*said)

    def _wants(self, mark: Mark) -> bool:
        drill = self.drill()
        return drill.state is DrillState.RUNNING and mark not in drill.marks

    def stop(self, reason: str, by: str) -> None:
        """Pull the safety stop; after the end there is nothing to stop, and that is no refusal either."""
        with self._changed:
            if self.drill().end is None:
                told = str(reason).strip()[:TEXT_MAX] or "no reason given"
                self._say(("stop", str(by).strip()[:TEXT_MAX] or DRILL, {"reason": told}))

    # what pages see -------------------------------------------------------------------------------------------------

    def drill(self) -> Drill:
        """Return the journal so far."""
        return self._journal.drill

    def view(self, role: Role) -> Mapping[str, Any]:
        """Return what a page shows."""
        with self._changed:
            left = len(self._given.hints) - len(self.drill().of("hint"))
            hidden = {k: v for k, v in self._given.hidden.items() if k in {"experiment", "fault", "title", "answer"}}
            shown = Shown(
                self.drill(), self.seen, self._given.books, hidden, tuple(self._kept), left, self._debrief,
                self._now_unix_s(),
            )  # fmt: skip
            return view_of(shown, role)

    def changes(self, timeout_s: float) -> Iterator[int]:
        """Yield a growing number at every change, and at the latest every ``timeout_s``; ends with the drill."""
        seen, told = -1, 0
        while True:
            with self._changed:
                if self._number == seen:
                    self._changed.wait(timeout_s)
                seen, told = self._number, told + 1
                over = self.drill().state is DrillState.OVER
            yield told
            if over:
                return

    # what the runner tells ------------------------------------------------------------------------------------------

    def take(self, message: Mapping[str, Any]) -> None:
        """Take in a message of the run beneath; the drill runs from the moment at which the fault may come."""
        with self._changed:
            steady = self.seen.steady
            if self.seen.take(message, self._now_unix_s()):
                self._notify()
            if self.seen.injecting and self.drill().state is DrillState.PREPARING:
                self._say(("state", DRILL, {"state": DrillState.RUNNING.value}))
            if self.seen.steady is not steady:
                self._say(("steady", DRILL, {"ok": self.seen.steady, "reason": ""}))  # it may name what is hidden

    def act(self, detail: Mapping[str, Any]) -> None:
        """Take in a change in the cluster; one that may be our own is kept from all but the facilitator for now."""
        with self._changed:
            if self.drill().end is not None:
                return
            if may_be_shown(detail):
                self._say(("action", "cluster", detail))
            else:
                self._kept.append({"at_unix_s": self._now_unix_s(), **detail})
                self._notify()

    def trouble(self, message: str, remedy: str) -> None:
        """Say that something of the drill itself does not work; must name nothing that is hidden."""
        with self._changed:
            self._say(("trouble", DRILL, {"message": message[:TEXT_MAX], "remedy": remedy[:TEXT_MAX]}))

    def run_is_over(self) -> None:
        """Say that the run beneath has ended."""
        with self._changed:
            self.seen.over = True
            self._notify()

    def wind_down(self) -> None:
        """Say that everything is being taken back from here on; safe to repeat."""
        with self._changed:
            if self.drill().state in {DrillState.PREPARING, DrillState.RUNNING}:
                self._say(("state", DRILL, {"state": DrillState.ENDING.value}))

    def reveal(self) -> None:
        """Open the seal, and write down whose changes could not be told until now; ours are in the run's record."""
        with self._changed:
            if not self.drill().of("revealed"):
                unknown = [one for one in self._kept if one.get("origin") != Origin.GAMEDAY]
                said: list[Said] = [("action", "cluster", one) for one in unknown]
                self._say(*said, ("revealed", DRILL, self._given.hidden))
                self._kept = []

    def end(self, end: DrillEnd, reason: str, run_dir: str, exit_status: int) -> None:
        """Write how it ended; once."""
        with self._changed:
            if self.drill().end is None:
                told = {"end": end.value, "reason": reason, "run_dir": run_dir, "exit_status": exit_status}
                self._say(("ended", DRILL, told))

    def close(self, debrief: str) -> None:
        """Let everybody go; ``debrief`` is its path below the drill's folder, or empty."""
        with self._changed:
            self._debrief = debrief
            self._say(("state", DRILL, {"state": DrillState.OVER.value}))

    # ----------------------------------------------------------------------------------------------------------------

    def _say(self, *said: Said) -> Sequence[Entry]:
        with self._changed:
            entries = self._journal.append(*said)
            self._notify()
            return entries

    def _notify(self) -> None:
        self._number += 1
        self._changed.notify_all()

    def _need_running(self, what: str) -> None:
        state = self.drill().state
        if state is not DrillState.RUNNING:
            raise DrillError(f"the drill is {state}", f"{what} while it runs")

    def _need_open(self) -> None:
        if self.drill().end is not None:
            raise DrillError("the drill is over", "what is left to say belongs in the debrief")


def _text(text: str, what: str) -> str:
    found = str(text).strip()
    if not found:
        raise DrillError(f"{what} is empty", "write something")
    if len(found) > TEXT_MAX:
        raise DrillError(f"{what} has {len(found)} characters", f"at most {TEXT_MAX}")
    return found


def _name(by: str) -> str:
    return _text(by, "the name of who says it")
