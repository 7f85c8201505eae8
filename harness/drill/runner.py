"""Runs a drill to its end: the run beneath it, what is watched, the scripted participant, and when it is over.

Decides nothing that `harness.drill.endings` does not say, and reads no event itself (`Session`). Whatever happens, the
run beneath is asked to end and waited for: its conductor undoes.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeAlias

from harness.client import RunEnd
from harness.drill.endings import ending
from harness.drill.script import Participant
from harness.drill.session import Session
from harness.model.drill import DrillEnd, DrillError
from harness.model.errors import GameDayError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP: the terminal is closed; everything is taken back, and the debrief is written all the same."""

TICK_S = 0.25
WATCH_EVERY_S = 1.0
JOIN_LIMIT_S = 30.0
"""Of a watch or a command that is on its way when the drill ends."""


class Beneath(Protocol):
    """The run beneath a drill, as `harness.client.RunClient` has it."""

    def request_stop(self, reason: str) -> None:
        """Ask for the end at once; everything is undone."""
        ...

    def say_enough(self, reason: str) -> None:
        """Say that the fault was held long enough; it is undone, and the run goes on to its own end."""
        ...

    def follow(self) -> RunEnd:
        """Show the stream until the run has ended."""
        ...


Start: TypeAlias = Callable[[Callable[[Mapping[str, Any]], None]], Beneath]
"""Starts the run; what it is given takes the messages of its stream."""

Watch: TypeAlias = Callable[[Session], None]
"""Looks at something once and tells the session."""


@dataclass(frozen=True)
class Ended:
    """How a drill ended.

    Attributes:
        end: How.
        reason: Why; may name what is hidden.
        run: How the run beneath it ended.
    """

    end: DrillEnd
    reason: str
    run: RunEnd


@dataclass
class Runner:
    """One drill on its way.

    Attributes:
        session: The drill.
        start: Starts the run beneath it.
        limit_s: Longest time from the fault.
        participant: The scripted participant, or None.
        watches: What is looked at beside the run.
        stop_file: Where somebody may ask from outside for the end.
        now_unix_s: Wall clock.
    """

    session: Session
    start: Start
    limit_s: float
    stop_file: Path
    participant: Participant | None = None
    watches: Sequence[Watch] = ()
    now_unix_s: Callable[[], float] = time.time
    _over: threading.Event = field(default_factory=threading.Event)
    _run_end: RunEnd | None = None
    _problems: set[str] = field(default_factory=set)

    def run(self) -> Ended:
        """Run it; ends when the run beneath has, in good order or not."""
        with _signals_stop(self.session):
            beneath = self.start(self.session.take)
            threads = [threading.Thread(target=self._follow, args=(beneath,), name="drill-run")]
            looks = [*self.watches, *([self._act_script] if self.participant else [])]
            threads += [threading.Thread(target=self._keep, args=(look,), daemon=True) for look in looks]
            for thread in threads:
                thread.start()
            try:
                found = self._until_ended(beneath)
            finally:
                beneath.request_stop("the drill is over")  # changes nothing where it has ended
                threads[0].join()
                self._over.set()
                for thread in threads[1:]:
                    thread.join(JOIN_LIMIT_S)
        return Ended(*found, self._run_end or RunEnd(3, None, "the run beneath said nothing"))

    def _until_ended(self, beneath: Beneath) -> tuple[DrillEnd, str]:
        """Wait for the drill's end, then for the run's."""
        found: tuple[DrillEnd, str] | None = None
        while found is None:
            self._read_stop_file()
            found = ending(self.session.drill(), self.session.seen, self.limit_s, self.now_unix_s())
            if found is None:
                time.sleep(TICK_S)
        self.session.wind_down()
        stopped = found[0] is DrillEnd.SAFETY_STOP
        (beneath.request_stop if stopped else beneath.say_enough)(f"drill: {found[0]}")
        while not self.session.seen.over:
            self._read_stop_file()
            if not stopped and self.session.drill().of("stop"):  # pulled while it was ending: nothing is waited for
                stopped = True
                beneath.request_stop("drill: safety stop")
            time.sleep(TICK_S)
        return found

    def _follow(self, beneath: Beneath) -> None:
        try:
            self._run_end = beneath.follow()
        except Exception as error:  # a thread: the drill must end all the same, and say why
            self._run_end = RunEnd(3, None, f"its stream could not be followed: {type(error).__name__}: {error}")
        finally:
            self.session.run_is_over()

    def _keep(self, look: Watch) -> None:
        """Look until the drill is over; what does not work is told once, and tried again."""
        while not self._over.wait(WATCH_EVERY_S):
            try:
                look(self.session)
            except DrillError as error:
                self._tell_once(error.problem, error.remedy)
            except GameDayError as error:
                self._tell_once(str(getattr(error, "problem", error)), str(getattr(error, "remedy", "")))

    def _tell_once(self, problem: str, remedy: str) -> None:
        if problem not in self._problems:
            self._problems.add(problem)
            self.session.trouble(problem, remedy)

    def _act_script(self, session: Session) -> None:
        if self.participant is not None:
            self.participant.look(session, self.now_unix_s())

    def _read_stop_file(self) -> None:
        if self.stop_file.exists() and not self.session.drill().of("stop"):
            self.session.stop(self.stop_file.read_text("utf-8").strip(), "another terminal")


@contextmanager
def _signals_stop(session: Session) -> Iterator[None]:
    """Turn the signals that end a program into the safety stop; a second one cuts nothing short."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        threading.Thread(target=session.stop, args=(signal.Signals(number).name, "the terminal")).start()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
