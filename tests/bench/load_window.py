"""The window in which `make bench-load` measures a generator: its CPU against the server's own count of requests.

Only steady load is in it: neither the start of a program nor its end. Reads /proc; changes nothing.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.bench.load_envoy import Server

START_LIMIT_S = 60.0
STARTED_REQUESTS = 20


class ToolError(Exception):
    """A generator did not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen between two moments of steady load.

    Attributes:
        wall_s: Between them.
        requests: That the server answered well.
        cpu_s: User and system, of the generator with all its processes.
        driver_cpu_s: Of who takes in what it streams, where there is such.
        connections: That were made meanwhile: 0 where all were kept alive.
    """

    wall_s: float
    requests: int
    cpu_s: float
    driver_cpu_s: float
    connections: int

    @property
    def rate_rps(self) -> float:
        """Good answers a second."""
        return self.requests / self.wall_s

    @property
    def cost_s(self) -> float:
        """CPU seconds a request."""
        return self.cpu_s / self.requests if self.requests else float("nan")

    @property
    def cpu_cores(self) -> float:
        """Cores in use."""
        return self.cpu_s / self.wall_s


@dataclass(frozen=True, slots=True)
class Meter:
    """The processes of one generator.

    Attributes:
        root: Its first process.
        root_is_driver: Whether that one makes no load itself, but takes in what the others stream.
    """

    root: psutil.Process
    root_is_driver: bool = False

    def cpu_s(self) -> tuple[float, float]:
        """Return what the generator and its driver have used so far."""
        root_s, below_s = _cpu_s(self.root), sum(_cpu_s(p) for p in self.root.children(recursive=True))
        return (below_s, root_s) if self.root_is_driver else (root_s + below_s, 0.0)


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _machine_cpu_s() -> float:
    """Return what all processes have used, and what the machine's host took away."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.steal)


def _family_cpu_s() -> float:
    """Return what this process, its children and theirs have used, ended ones too."""
    ended, own = resource.getrusage(resource.RUSAGE_CHILDREN), psutil.Process()
    alive_s = sum(_cpu_s(p) for p in own.children(recursive=True))
    return _cpu_s(own) + alive_s + ended.ru_utime + ended.ru_stime


@dataclass(slots=True)
class Others:
    """What work of others takes of the machine, from its making on: figures made beside it are no figures of ours."""

    _began_s: float = field(default_factory=time.monotonic)
    _before_s: float = field(default_factory=lambda: _machine_cpu_s() - _family_cpu_s())

    def cores(self) -> float:
        """Return how many cores it has taken on average."""
        return max(_machine_cpu_s() - _family_cpu_s() - self._before_s, 0.0) / (time.monotonic() - self._began_s)


def measure(server: Server, meter: Meter, length_s: float) -> Window:
    """Watch a generator that is at work for so long."""
    counts, (cpu_s, driver_s), at_s = server.counts(), meter.cpu_s(), time.monotonic()
    time.sleep(length_s)
    seen, (cpu_end_s, driver_end_s), end_s = server.counts().since(counts), meter.cpu_s(), time.monotonic()
    return Window(end_s - at_s, seen.good, cpu_end_s - cpu_s, driver_end_s - driver_s, seen.connections)


def await_load(server: Server, before: int, running: subprocess.Popen[str]) -> None:
    """Wait until the server has had its first requests.

    Raises:
        ToolError: The generator ended before, or sent nothing in time.
    """
    until_s = time.monotonic() + START_LIMIT_S
    while server.counts().requests < before + STARTED_REQUESTS:
        if running.poll() is not None or time.monotonic() > until_s:
            raise ToolError(f"sent nothing (exit status {running.poll()})")
        time.sleep(0.05)


@contextmanager
def started(
    command: Sequence[str], core: int, environment: dict[str, str], out: Path
) -> Iterator[subprocess.Popen[str]]:
    """Run a generator on one core, its output in a file; it ends with the block."""
    pinned = ["taskset", "-c", str(core), *command]
    with out.open("w") as printed, out.with_suffix(".err").open("w") as errors:
        running = subprocess.Popen(
            pinned,
            stdout=printed,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()
            running.wait()
