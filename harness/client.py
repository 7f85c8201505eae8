"""The client of a run: starts the conductor in a session of its own, shows its stream, can ask it once to stop.

Must not do any of the run's work: when this process dies, the conductor sees end-of-file, undoes and reports alone.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from harness.model.errors import PortError

CONTROL_SUFFIX = " (control run, without its faults)"
"""Follows the title of an experiment wherever a control run of it is shown."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the conductor is told, as one JSON line.

    Attributes:
        experiment: Path of the experiment file.
        settings: Path of `gameday.toml`.
        target: Name of the target; empty for a rehearsal.
        seed: Seed of the run.
        runs_dir: Where run folders go.
        rehearse: Run against the in-memory twin.
        control: Run it without its faults.
        control_run: Id of the control run that was made right before, or empty.
        fault: Run it as a drill: with this fault alone; empty for a game day.
        limit_s: Of a drill: how long the fault is held at most.
        drill_id: Of a drill: its id.
    """

    experiment: str
    settings: str
    target: str
    seed: int
    runs_dir: str
    rehearse: bool = False
    control: bool = False
    control_run: str = ""
    fault: str = ""
    limit_s: float = 0.0
    drill_id: str = ""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended.

    Attributes:
        exit_status: By the record (DESIGN §3).
        run_dir: Its folder, or None where it never came to be.
        error: One clear message where it did not.
    """

    exit_status: int
    run_dir: Path | None
    error: str = ""


class RunClient:
    """One run, seen from outside."""

    def __init__(
        self,
        job: Job,
        show: Callable[[Mapping[str, Any]], None],
        environ: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
    ) -> None:
        """Start a run; ``environ`` replaces the conductor's environment, ``log`` takes its standard error."""
        self._show = show
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.conductor_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env=None if environ is None else dict(environ),
        )
        self._write(json.dumps(asdict(job)))
        self._asked = False

    def _write(self, line: str) -> None:
        if self._process.stdin is None:
            raise PortError("conductor", "write", "it has no standard input")
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: closed, since its stream was read to the end
            return  # it ended already; `wait` tells how

    @property
    def pid(self) -> int:
        """Process id of the conductor."""
        return self._process.pid

    def request_stop(self, reason: str) -> None:
        """Ask the run to stop; it undoes, reports and ends by itself. Further requests change nothing."""
        if not self._asked:
            self._asked = True
            self._write(json.dumps({"stop": reason}))

    def say_enough(self, reason: str) -> None:
        """Say that the faults were held long enough: the run takes them back and goes on to its end."""
        self._write(json.dumps({"enough": reason}))

    def _messages(self) -> Iterator[dict[str, Any]]:
        if self._process.stdout is None:
            raise PortError("conductor", "read", "it has no standard output")
        for line in self._process.stdout:
            if line.endswith("\n"):  # a torn one is the last of a conductor that was killed
                yield json.loads(line)

    def wait(self) -> RunEnd:
        """Show the stream until the run has ended.

        Returns:
            How it ended. SIGINT and SIGTERM become one stop request; none of them cuts the undo short.
        """
        with _signals_become(self.request_stop):
            return self.follow()

    def follow(self) -> RunEnd:
        """Do the same in any thread; signals are somebody else's."""
        end: dict[str, Any] = {}
        run_dir = ""
        with self._process:
            for message in self._messages():
                self._show(message)
                run_dir = str(message.get("run_dir", "")) if message["m"] == "run" else run_dir
                end = message if message["m"] == "end" else end
            code = self._process.wait()
        if not end:
            return RunEnd(3, None, _ended_silently(code, run_dir))
        return RunEnd(int(end["exit_status"]), Path(end["run_dir"]) if end["run_dir"] else None, str(end["error"]))


def _ended_silently(code: int, run_dir: str) -> str:
    said = f"the conductor ended with status {code} and said nothing; see its last lines above"
    return f"{said}. What it left is in {run_dir}: `gameday report {run_dir}` judges that" if run_dir else said


@contextmanager
def _signals_become(request_stop: Callable[[str], None]) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a stop request. Set explicitly: a shell's `&` leaves SIGINT ignored (CASES E04)."""

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        request_stop(f"{signal.Signals(number).name} to the client")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
