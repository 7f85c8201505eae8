"""Whether a generator tells the truth: against a server that stalls, and one whose latencies are known.

The server is `load_scripted_server`: it writes down what it really did, and that is what generators are held to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.bench.load_bench import Bench, finish, report_of
from tests.bench.load_cost import OURS
from tests.bench.load_ours import Spec, running
from tests.bench.load_reports import LATE_S, PERCENTS, Report
from tests.bench.load_table import NOTHING, Limit, Table, ms
from tests.bench.load_tools import K6, STOCK, VEGETA, WRK, Tool, Work
from tests.bench.load_window import ToolError, started

STALL_RPS, STALL_AFTER_S, STALL_S, STALL_LENGTH_S = 100.0, 5.0, 3.0, 12.0
STALL_USERS, CLOSED_USERS = 500, 10
STALL_TIMEOUT_S = 10.0
LATE_ERROR_MAX = 0.01
TRUTH_RPS, TRUTH_USERS = 400.0, 400
TRUTH_ERROR_MAX_S, TRUTH_ERROR_MAX_RATIO = 0.001, 0.01
SERVER_LIMIT_S = 20.0


@dataclass(slots=True)
class Scripted:
    """A scripted server that is up; `truth` is there once it has ended: a row a request, received and answered."""

    url: str
    log: Path
    truth: npt.NDArray[np.float64]

    @property
    def delays_s(self) -> npt.NDArray[np.float64]:
        """The delays that it really made."""
        return self.truth[:, 1] - self.truth[:, 0]


@contextmanager
def scripted(bench: Bench, script: Mapping[str, Any]) -> Iterator[Scripted]:
    """Run a scripted server on the servers' core."""
    folder = bench.new_folder()
    folder.mkdir()
    (folder / "script.json").write_text(json.dumps(script))
    log = folder / "truth.npy"
    command = ["taskset", "-c", str(bench.server_core), sys.executable, "-m", "tests.bench.load_scripted_server"]
    with subprocess.Popen(
        [*command, str(folder / "script.json"), str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        server = Scripted(f"http://127.0.0.1:{int(process.stdout.readline())}", log, np.empty((0, 2)))
        try:
            yield server
        finally:
            process.stdin.close()
            try:
                process.wait(SERVER_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
    server.truth = np.load(log)


def heard_of(bench: Bench, tool: Tool, work: Work) -> Report:
    """Run another generator to its end and return what it says.

    Raises:
        ToolError: It is not here, or failed.
    """
    why = tool.absent()
    if why:
        raise ToolError(why)
    work.folder.mkdir()
    out = work.folder / "out"
    with started(tool.command(work), bench.core, dict(tool.environment(work)), out) as process:
        finish(process, out, work.length_s)
    return report_of(tool, work, out)


# A stall -------------------------------------------------------------------------------------------------------------


def stall_section(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
    """A server that holds every answer for 3 s: how many late requests does each generator report?"""
    say(f"a stall of {STALL_S:g} s at {STALL_RPS:g} requests/s")
    expected = late_by_schedule(STALL_RPS, STALL_S)
    with scripted(bench, {"stall": [STALL_AFTER_S, STALL_S]}) as server:
        spec = Spec(
            server.url, "Get", [("stall", STALL_LENGTH_S, STALL_RPS, STALL_RPS)], str(bench.new_folder()),
            (bench.core,), STALL_USERS, STALL_TIMEOUT_S,
        )  # fmt: skip
        with running(spec, bench.server_core) as load:
            result = load.finish()
    late = int((result.total_s > LATE_S).sum())
    error = abs(late - expected) / expected
    rows = [_stall_row(OURS, "open loop", late, len(result.requests), expected, len(server.truth))]
    for tool, users in ((VEGETA, STALL_USERS), (K6, STALL_USERS), (STOCK, CLOSED_USERS)):
        rows.append(_stall_of(bench, tool, users, expected))
    rows.append((WRK.name, "keeps no rate", *[NOTHING] * 4))
    columns = ("generator", "kind", "late requests it reports", "of how many", "by the schedule", "server received")
    title = f"A server that answers nothing for {STALL_S:g} s, at {STALL_RPS:g} requests a second"
    note = (
        f"Late: over {LATE_S:g} s, ours from the moment that a request was meant for. A closed loop of {CLOSED_USERS} "
        "users stops asking while it waits, so it hides the stall."
    )
    limit = Limit("late requests in a stall, off the schedule's number", error * 100, LATE_ERROR_MAX * 100, " %")
    return [Table(title, columns, rows, (note,))], [limit]


def late_by_schedule(rate_rps: float, stall_s: float) -> int:
    """Return how many arrivals of a constant rate wait longer than `LATE_S` for the stall's end."""
    return round(rate_rps * (stall_s - LATE_S))


def _stall_of(bench: Bench, tool: Tool, users: int, expected: int) -> tuple[str, ...]:
    kind = "open loop" if tool.open_loop else f"closed loop, {users} users"
    try:
        with scripted(bench, {"stall": [STALL_AFTER_S, STALL_S]}) as server:
            work = Work(server.url, "GET", STALL_LENGTH_S, bench.new_folder(), STALL_RPS, users)
            report = heard_of(bench, tool, work)
    except ToolError as error:
        return (tool.name, f"not available: {error}", *[NOTHING] * 4)
    return _stall_row(tool.name, kind, report.late, report.requests, expected, len(server.truth))


def _stall_row(name: str, kind: str, late: int | None, asked: int, expected: int, received: int) -> tuple[str, ...]:
    return (name, kind, NOTHING if late is None else str(late), str(asked), str(expected), str(received))


# Known latencies -----------------------------------------------------------------------------------------------------


def distributions(count: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return known latencies in seconds, seeded."""
    rng = np.random.default_rng(11)
    slow = rng.random(count) < 0.05
    return {
        "lognormal, median 20 ms": rng.lognormal(np.log(0.02), 0.6, count),
        "uniform, 5 to 50 ms": rng.uniform(0.005, 0.05, count),
        "bimodal, 10 ms and 5 % 250 ms": np.where(slow, 0.25, 0.01) + rng.exponential(0.001, count),
    }


def latency_section(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
    """Known latency distributions: percentiles that generators report, against the delays that the server made."""
    known = distributions(round(TRUTH_RPS * bench.pace.accuracy_s))
    rows, errors = [], []
    for name, delays_s in known.items():
        say(f"known latencies: {name}")
        truth_s, said_s = _ours_against(bench, delays_s)
        errors.append(excess(truth_s, said_s))
        rows.append(_truth_row(name, OURS, truth_s, said_s))
    name = next(iter(known))
    for tool in (VEGETA, K6, STOCK):
        rows.append(_tool_against(bench, tool, name, known[name]))
    columns = ("latencies", "generator", *(f"p{p:g}: true / reported" for p in PERCENTS), "worst error, of 1 % or 1 ms")
    note = f"At {TRUTH_RPS:g} requests a second. True: the delays that the server made, by its own log."
    limit = Limit(
        "p50 to p99.9 off the truth, as a share of 1 % or 1 ms, the larger", float(np.max(errors)) * 100, 100.0, " %"
    )
    return [Table("Known latencies", columns, rows, (note,))], [limit]


def _ours_against(bench: Bench, delays_s: npt.NDArray[np.float64]) -> tuple[dict[float, float], dict[float, float]]:
    with scripted(bench, {"delays_s": [round(float(s), 6) for s in delays_s]}) as server:
        stages = [("known", bench.pace.accuracy_s, TRUTH_RPS, TRUTH_RPS)]
        spec = Spec(server.url, "Get", stages, str(bench.new_folder()), (bench.core,), TRUTH_USERS)
        with running(spec, bench.server_core) as load:
            result = load.finish()
    return percentiles(server.delays_s), percentiles(result.requests["latency_s"].to_numpy())


def _tool_against(bench: Bench, tool: Tool, name: str, delays_s: npt.NDArray[np.float64]) -> tuple[str, ...]:
    try:
        with scripted(bench, {"delays_s": [round(float(s), 6) for s in delays_s]}) as server:
            work = Work(server.url, "GET", bench.pace.accuracy_s, bench.new_folder(), TRUTH_RPS, TRUTH_USERS)
            report = heard_of(bench, tool, replace(work, users=100) if tool is STOCK else work)
    except ToolError as error:
        return (name, tool.name, f"not available: {error}", *[NOTHING] * len(PERCENTS))
    return _truth_row(name, tool.name, percentiles(server.delays_s), report.latency_s)


def percentiles(values_s: npt.NDArray[np.float64]) -> dict[float, float]:
    """Return `PERCENTS` of what is a number; NaN where there is nothing."""
    finite = values_s[np.isfinite(values_s)]
    if not len(finite):
        return dict.fromkeys(PERCENTS, float("nan"))
    return dict(zip(PERCENTS, np.percentile(finite, PERCENTS, method="inverted_cdf").tolist(), strict=True))


def excess(truth_s: Mapping[float, float], said_s: Mapping[float, float]) -> float:
    """Return the worst error, 1 where it is just 1 % or 1 ms (the larger); NaN where one was not said."""
    errors = [
        abs(said_s.get(p, float("nan")) - true_s) / max(TRUTH_ERROR_MAX_S, TRUTH_ERROR_MAX_RATIO * true_s)
        for p, true_s in truth_s.items()
    ]
    return float(np.max(errors)) if errors else float("nan")


def _truth_row(
    name: str, generator: str, truth_s: Mapping[float, float], said_s: Mapping[float, float]
) -> tuple[str, ...]:
    cells = [f"{ms(truth_s[p])} / {ms(said_s.get(p, float('nan')))}" for p in PERCENTS]
    return (name, generator, *cells, f"{excess(truth_s, said_s):.2f} x")
