"""Our engine in `make bench-load`, driven as a game day drives it: `LocustDriver` and a `LoadPlan`, nothing below them.

``python -m tests.bench.load_ours SPEC`` is the driver's process, so that its CPU can be told from the generator's: it
prints a line when the load is on, and writes ``result.json`` and ``requests.parquet`` at its end.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from harness.request_log_files import read_requests
from tests.bench.load_requests import CONNECTIONS
from tests.bench.load_window import Meter, ToolError

STARTED = "started"
END_MARGIN_S = 90.0
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Spec:
    """A load for our engine.

    Attributes:
        url: The server.
        user: Class in tests.bench.load_users.
        stages: Name, seconds, rate at its start and at its end.
        folder: For its files.
        cores: Where the generator may run.
        users: Users.
        timeout_s: Of a request; also how long an arrival may wait for a user.
        workers: Worker processes.
        stop_lag_s: End it once a second's worst start is so late; 0: never.
        procs_files: Of the control groups that the generator is to enter before it begins.
    """

    url: str
    user: str
    stages: Sequence[tuple[str, float, float, float]]
    folder: str
    cores: tuple[int, ...]
    users: int = CONNECTIONS
    timeout_s: float = TIMEOUT_S
    workers: int = 1
    stop_lag_s: float = 0.0
    procs_files: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of all stages."""
        return sum(stage[1] for stage in self.stages)


@dataclass(frozen=True, slots=True)
class Result:
    """What our engine says of a load.

    Attributes:
        began_s: When its first stage began, on the run's clock.
        origin_monotonic_s: That clock's zero.
        lost: Rows known to be lost.
        ended: Of the last edge: offered, dropped, errors.
        requests: The request log.
    """

    began_s: float
    origin_monotonic_s: float
    lost: int
    ended: dict[str, Any]
    requests: pd.DataFrame

    @property
    def lag_s(self) -> npt.NDArray[np.float64]:
        """How late each request was started."""
        return np.asarray(self.requests["start_s"] - self.requests["intended_s"])

    @property
    def total_s(self) -> npt.NDArray[np.float64]:
        """From the moment that each request was meant for to its end."""
        return np.asarray(self.lag_s + self.requests["latency_s"])


@dataclass(frozen=True, slots=True)
class Running:
    """A load that is on."""

    spec: Spec
    process: subprocess.Popen[str]

    @property
    def meter(self) -> Meter:
        """What its CPU is read from."""
        return Meter(psutil.Process(self.process.pid), root_is_driver=True)

    def finish(self) -> Result:
        """Wait for its end and read what it left.

        Raises:
            ToolError: It failed, or has not ended in time.
        """
        try:
            status = self.process.wait(self.spec.duration_s + self.spec.timeout_s + END_MARGIN_S)
        except subprocess.TimeoutExpired as error:
            raise ToolError("the driver has not ended in time") from error
        folder = Path(self.spec.folder)
        if status:
            raise ToolError(f"the driver failed: {(folder / 'driver.err').read_text()[-800:].strip()}")
        said = json.loads((folder / "result.json").read_text())
        stored = read_requests(folder / "requests.parquet")
        if stored.damage:
            raise ToolError(f"its request log is damaged: {stored.damage}")
        return Result(**said, requests=stored.rows)


@contextmanager
def running(spec: Spec, core: int) -> Iterator[Running]:
    """Start a load, with its driver on a core; yields once its first stage is on. It ends with the block.

    Raises:
        ToolError: It did not start.
    """
    folder = Path(spec.folder)
    folder.mkdir(parents=True)
    command = ["taskset", "-c", str(core), sys.executable, "-m", "tests.bench.load_ours", json.dumps(asdict(spec))]
    with (folder / "driver.err").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != STARTED:
                process.wait(END_MARGIN_S)
                raise ToolError(f"the load did not start: {(folder / 'driver.err').read_text()[-800:].strip()}")
            yield Running(spec, process)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()


# The driver's process ------------------------------------------------------------------------------------------------


def _plan(spec: Spec) -> Any:
    from harness.model.load import LoadPlan, LoadProfile, LoadWorkers, Stage  # noqa: PLC0415 - in the driver's process only

    stages = tuple(Stage(*stage) for stage in spec.stages)
    users = {f"tests.bench.load_users:{spec.user}": 1.0}
    profile = LoadProfile("bench", stages, users, users_max=spec.users, request_timeout_s=spec.timeout_s)
    options = {"reconnect_every": 0}
    return LoadPlan(
        profile, spec.url, seed=7, rate_max_rps=profile.peak_rps, loopback_only=True, options=options,
        workers=LoadWorkers(count=spec.workers),
    )  # fmt: skip


def prefix(spec: Spec) -> tuple[str, ...]:
    """Return what the generator is run by: only on its cores, and from its first moment within its control groups."""
    pinned = ("taskset", "-c", ",".join(str(core) for core in spec.cores))
    if not spec.procs_files:
        return pinned
    entering = " && ".join(f"echo 0 > {shlex.quote(file)}" for file in spec.procs_files)
    return ("sh", "-c", f'{entering} && exec "$@"', "sh", *pinned)


def _drive(spec: Spec) -> None:
    from harness.drivers.locust_child import COMMAND  # noqa: PLC0415 - in the driver's process only
    from harness.drivers.locust_driver import LocustDriver  # noqa: PLC0415
    from harness.drivers.system_clock import RealClock  # noqa: PLC0415
    from harness.request_log_files import to_parquet  # noqa: PLC0415

    clock, folder = RealClock.starting_now(), Path(spec.folder)
    driver = LocustDriver(clock, folder, (*prefix(spec), *COMMAND))
    edges: dict[str, Any] = {}
    try:
        driver.start(_plan(spec))
        sys.stdout.write(f"{STARTED}\n")
        sys.stdout.flush()
        until_s = time.monotonic() + spec.duration_s + spec.timeout_s + END_MARGIN_S / 2
        while not edges.keys() & {"ended", "lost"} and time.monotonic() < until_s:
            time.sleep(0.1)
            edges |= {o.subject: o for o in driver.poll() if o.kind == "load-edge"}
            latest = driver.latest()
            if latest is not None and 0 < spec.stop_lag_s < latest.lag_s:
                driver.ask_to_stop()
    finally:
        driver.stop()
    if "ended" not in edges:
        raise SystemExit(f"the load did not end in good order: {edges.get('lost')}")
    log, lost = driver.request_log()
    if not isinstance(log, Path):
        raise SystemExit("the load has no request log")
    to_parquet(log, folder / "requests.parquet", lost)
    result = {
        "began_s": edges["started"].t_s, "origin_monotonic_s": clock.origin_monotonic_s, "lost": lost,
        "ended": edges["ended"].detail,
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    told: dict[str, Any] = json.loads(sys.argv[1])
    _drive(Spec(**told))
