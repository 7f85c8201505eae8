"""Which processes are whose: identity, marks, strays, holders of ports.

Every process of a testbed carries marks in its environment, so that it can be found when its supervisor is gone.
Nothing in here starts a process, and nothing is killed that does not carry the instance's own mark.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from testbed.controlplane.errors import OperatorError

MARK = "GAMEDAY_TESTBED"
"""Environment variable `<instance>:<generation>` of every process of a testbed."""
MARK_DIR = "GAMEDAY_TESTBED_DIR"
MARK_SLOT = "GAMEDAY_TESTBED_SLOT"


@dataclass(frozen=True)
class ProcessId:
    """A process, told apart from a later one with the same pid.

    Attributes:
        pid: process id.
        start_ticks: start time in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)); unlike a wall-clock
            time it does not move when the clock is set.
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the identity of the living process `pid`.

        Raises:
            OperatorError: there is none.
        """
        ticks = _start_ticks(pid)
        if ticks is None:
            raise OperatorError(f"process {pid} does not exist; give the id of a living process")
        return cls(pid, ticks)

    def alive(self) -> bool:
        """Tell whether this very process still runs; a zombie does not."""
        return _start_ticks(self.pid) == self.start_ticks


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])


@dataclass(frozen=True)
class Marks:
    """What the environment of an instance's processes says.

    Attributes:
        instance: name of the instance.
        generation: this boot; None when the instance's state is lost.
        instance_dir: folder of the instance; two state folders may both have an instance `default`.
        slot: slot of the instance.
    """

    instance: str
    generation: str | None
    instance_dir: Path
    slot: int

    def environment(self) -> dict[str, str]:
        """Return the variables that mark a process."""
        mark = f"{self.instance}:{self.generation}"
        return {MARK: mark, MARK_DIR: str(self.instance_dir), MARK_SLOT: str(self.slot)}

    def on(self, environment: Mapping[str, str]) -> bool:
        """Tell whether `environment` carries the marks of this instance and of no other."""
        name, _, generation = environment.get(MARK, "").partition(":")
        if name != self.instance:
            return False
        ours = self.generation is not None and generation == self.generation
        return ours or environment.get(MARK_DIR) == str(self.instance_dir)


def marked(marks: Marks) -> list[psutil.Process]:
    """Return the living processes that carry `marks`, never this process or one that it descends from."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process, environment in _environments() if process.pid not in spared and marks.on(environment)]


def slots_in_use() -> set[int]:
    """Return the slots that marked processes of any instance on this machine hold, whatever its state folder."""
    held = {environment.get(MARK_SLOT, "") for _, environment in _environments() if MARK in environment}
    return {int(slot) for slot in held if slot.isdecimal()}


def _environments() -> Iterator[tuple[psutil.Process, Mapping[str, str]]]:
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:  # gone, a zombie, or another user's: none that we may call ours
            continue
        yield process, environment


def kill_marked(marks: Marks, patience_s: float = 10.0) -> list[str]:
    """SIGKILL every process that carries `marks` until none is left; return what was killed as `name (pid)`.

    A process may fork between the look and the kill, so it looks again until a look finds none.

    Raises:
        OperatorError: some are still there after `patience_s` seconds.
    """
    killed: dict[int, str] = {}
    rounds = max(1, round(patience_s))
    for _ in range(rounds):
        strays = marked(marks)
        if not strays:
            return list(killed.values())
        for stray in strays:
            killed[stray.pid] = describe(stray.pid)
            _kill(stray)
        psutil.wait_procs(strays, timeout=1.0)
    left = ", ".join(describe(stray.pid) for stray in marked(marks))
    if not left:
        return list(killed.values())
    raise OperatorError(f"processes of testbed {marks.instance} survive SIGKILL: {left}; look at them with `ps`")


def _kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def describe(pid: int) -> str:
    """Return `name (pid)`, for messages."""
    try:
        return f"{psutil.Process(pid).name()} ({pid})"
    except psutil.Error:
        return f"process {pid}"
