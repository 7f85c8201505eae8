"""What the sections of `make bench-load` share: the server, the cores, and how a generator is run and watched once."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tests.bench.load_envoy import Counts, Server
from tests.bench.load_ours import TIMEOUT_S, Result, Spec, running
from tests.bench.load_reports import Report, UnreadableError
from tests.bench.load_requests import CONNECTIONS
from tests.bench.load_tools import Tool, Work
from tests.bench.load_window import Meter, ToolError, Window, await_load, measure, started

SETTLE_S = 1.0
END_LIMIT_S = 60.0
BUSY_CORES = 0.15
CARRIED_LAG_S, FAILED_MAX = 0.05, 2
LADDER_START_RPS, LADDER_MAX_RPS = 1500.0, 60_000.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How thorough a bench is."""

    rounds: int
    window_s: float
    step_s: float
    step_ratio: float
    steady_s: float
    accuracy_s: float
    volume_s: float
    log_rows: int


FULL = Pace(
    rounds=2, window_s=10.0, step_s=3.0, step_ratio=1.15, steady_s=30.0, accuracy_s=60.0, volume_s=300.0,
    log_rows=10_000_000,
)  # fmt: skip
SHORT = Pace(
    rounds=1, window_s=4.0, step_s=2.0, step_ratio=1.25, steady_s=10.0, accuracy_s=8.0, volume_s=30.0,
    log_rows=1_000_000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """One run of a generator: what was measured, what the server counted, and what it said itself."""

    window: Window
    counts: Counts
    report: Report


@dataclass(slots=True)
class Bench:
    """A server that is up, two cores, and a folder.

    Attributes:
        server: Envoy.
        core: Of the generators.
        server_core: Of the servers, and of our driver.
        folder: For files of runs.
        pace: How thorough it is.
        others_cores: What work of others took of the machine, by section.
    """

    server: Server
    core: int
    server_core: int
    folder: Path
    pace: Pace
    others_cores: dict[str, float] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_folder(self) -> Path:
        """Return a name for a folder that is not there yet."""
        return self.folder / f"run-{next(self._numbers)}"

    def tool(self, tool: Tool, method: str, window_s: float, rate_rps: float = 0.0) -> Seen:
        """Run another generator against Envoy and watch it for a while.

        Raises:
            ToolError: It is not here, failed, or says something else than the server has counted.
        """
        why = tool.absent()
        if why:
            raise ToolError(why)
        folder = self.new_folder()
        folder.mkdir()
        work = Work(self.server.url, method, round(window_s + 2 * SETTLE_S + 1.0), folder, rate_rps)
        before, out = self.server.counts(), folder / "out"
        with started(tool.command(work), self.core, dict(tool.environment(work)), out) as process:
            await_load(self.server, before.requests, process)
            window = self._settled(Meter(psutil.Process(process.pid)), window_s, process)
            finish(process, out)
        counts, report = self.server.counts().since(before), report_of(tool, work, out)
        if report.bad or abs(counts.good - report.requests) > work.users:
            raise ToolError(f"it says {report.requests} requests, {report.bad} bad; the server {counts.good} good")
        return Seen(window, counts, report)

    def _settled(self, meter: Meter, window_s: float, process: subprocess.Popen[str]) -> Window:
        try:
            process.wait(SETTLE_S)
        except subprocess.TimeoutExpired:
            window = measure(self.server, meter, window_s)
            if process.poll() is None:
                return window
        raise ToolError(f"it ended before the window did (exit status {process.returncode})")

    def ours(
        self,
        user: str,
        rate_rps: float,
        window_s: float,
        *,
        users: int = CONNECTIONS,
        workers: int = 1,
        timeout_s: float = TIMEOUT_S,
        procs_files: tuple[str, ...] = (),
    ) -> tuple[Window, Result, Counts]:
        """Run our engine against Envoy at a constant rate and watch it for a while."""
        length_s = window_s + 2 * SETTLE_S
        stages = [("steady", length_s, rate_rps, rate_rps)]
        spec = self.spec(
            user, stages, users=users, workers=workers, timeout_s=timeout_s, procs_files=procs_files
        )  # fmt: skip
        before = self.server.counts()
        with running(spec, self.server_core) as load:
            window = self._settled(load.meter, window_s, load.process)
            result = load.finish()
        return window, result, self.server.counts().since(before)

    def spec(
        self,
        user: str,
        stages: Sequence[tuple[str, float, float, float]],
        *,
        users: int = CONNECTIONS,
        workers: int = 1,
        timeout_s: float = TIMEOUT_S,
        stop_lag_s: float = 0.0,
        procs_files: tuple[str, ...] = (),
    ) -> Spec:
        """Return a load for our engine; more than one worker may use both cores.

        With control groups to enter they stay on the generators' core, however many they are: what they may use of it
        is the groups' to say, and the server is nobody's neighbour.
        """
        cores = (self.core,) if workers == 1 or procs_files else (self.core, self.server_core)
        return Spec(
            self.server.url, user, stages, str(self.new_folder()), cores, users, timeout_s, workers,
            stop_lag_s=stop_lag_s, procs_files=procs_files,
        )  # fmt: skip

    def carried_rps(self, user: str) -> float:
        """Return the highest rate of a ladder that our engine keeps up with; NaN where not even the first.

        Raises:
            ToolError: The load failed.
        """
        rates = ladder(self.pace.step_ratio)
        stages = [(f"step-{n}", self.pace.step_s, rate, rate) for n, rate in enumerate(rates)]
        with running(self.spec(user, stages, stop_lag_s=1.0), self.server_core) as load:
            result = load.finish()
        due_s = (result.requests["intended_s"] - result.began_s).to_numpy()
        return highest_carried(rates, self.pace.step_s, due_s, result.lag_s)


def ladder(ratio: float) -> list[float]:
    """Return rising rates, each so many times the one before."""
    rates = [LADDER_START_RPS]
    while rates[-1] * ratio <= LADDER_MAX_RPS:
        rates.append(rates[-1] * ratio)
    return rates


def highest_carried(rates: Sequence[float], step_s: float, due_s: np.ndarray, lag_s: np.ndarray) -> float:
    """Return the last rate that was kept up with: no arrival missing, not 1 % started late.

    One step that fails may be a hiccup of the machine; after two in a row nothing counts.

    Args:
        rates: Of the steps.
        step_s: Length of a step.
        due_s: When each request that was made was due, since the first step's beginning.
        lag_s: How late each was started.
    """
    best, failed = float("nan"), 0
    for number, rate in enumerate(rates):
        within = (due_s >= number * step_s) & (due_s < (number + 1) * step_s)
        complete = abs(int(within.sum()) - rate * step_s) <= 2
        if complete and float(np.percentile(lag_s[within], 99)) <= CARRIED_LAG_S:
            best, failed = rate, 0
        elif (failed := failed + 1) == FAILED_MAX:
            break
    return best


def check_rows(result: Result, counts: Counts) -> None:
    """Make sure that a measurement is of good requests, each with its row.

    Raises:
        ToolError: It is not.
    """
    rows, bad = len(result.requests), int((result.requests["outcome"] != "ok").sum())
    if result.lost or bad or not rows or rows != counts.requests:
        raise ToolError(
            f"{rows} rows, {bad} of them not good, {result.lost} lost; the server counted {counts.requests}"
        )


def finish(process: subprocess.Popen[str], out: Path, length_s: float = 0.0) -> None:
    """Wait for a generator's end.

    Raises:
        ToolError: It failed, or has not ended in time.
    """
    try:
        status = process.wait(length_s + END_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"it has not ended {END_LIMIT_S:g} s after its time") from error
    if status:
        told = out.with_suffix(".err").read_text(errors="replace").strip() or out.read_text(errors="replace").strip()
        raise ToolError(f"exit status {status}: {told[-300:]}")


def report_of(tool: Tool, work: Work, out: Path) -> Report:
    """Read what a generator says of itself.

    Raises:
        ToolError: It says nothing that can be read.
    """
    try:
        return tool.read(work, out.read_text(encoding="utf-8", errors="replace"))
    except UnreadableError as error:
        raise ToolError(str(error)) from error
