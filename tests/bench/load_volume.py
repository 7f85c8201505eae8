"""Workers, a long load at the highest rate and the log that it leaves, row by row, for `make bench-load`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from testbed.nodeagent import cgroups
from tests.bench import bench_request_log
from tests.bench.load_bench import Bench, check_rows
from tests.bench.load_requests import CONNECTIONS
from tests.bench.load_table import NOTHING, Limit, Table, ms, number
from tests.bench.load_window import ToolError, Window

WORKERS = 4
SCALE_MIN = 1.8
ROOM_CORES = 0.5
"""Of one worker; twice that for four, all of it on the generators' core."""
PAIRS = 5
VOLUME_RATIO = 0.8
"""Of the highest rate on the ladder: that was carried for seconds, this is to be carried for minutes."""
TOO_MUCH_RPS = 60_000.0
"""More than any number of workers sends here: arrivals wait, so every worker sends as fast as it can."""
CEILING_S = 5.0


@dataclass(frozen=True, slots=True)
class Squad:
    """So many workers and what they made."""

    workers: int
    window: Window


def workers_section(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
    """The same profile by one worker and by four: in a given room and in twice that, and with both cores, shared.

    Two cores hold the server and the driver too, so that four workers cannot have two to themselves: the limit is held
    with rooms that fit into the generators' core, given as CPU limits by control groups. A machine's speed drifts, so
    one and four are measured in turn, and the limit is held by the median of the pairs. Without a limit four workers
    get into the server's way, it answers late, each turn of their loops finds few answers, and each costs more.
    """
    columns = ("workers", "room", "requests", "cores in use", "requests a CPU second", "of one worker's rate")
    title = "Local workers"
    name = f"{WORKERS} workers in {2 * ROOM_CORES:g} core: rate, of one's in {ROOM_CORES:g} core"
    say(f"1 worker, {WORKERS} workers, in turn")
    try:
        with room(ROOM_CORES) as one_room, room(2 * ROOM_CORES) as two_rooms:
            pairs = [(_squad(bench, 1, one_room), _squad(bench, WORKERS, two_rooms)) for _ in range(PAIRS)]
        free = [_squad(bench, workers) for workers in (1, WORKERS)]
    except ToolError as error:
        row = (f"1, {WORKERS}", f"not available: {error}", *[NOTHING] * 4)
        return [Table(title, columns, [row])], [_scale_limit(name, float("nan"))]
    rows = [
        row for one, four in pairs for row in (_squad_row(one, one, ROOM_CORES), _squad_row(four, one, 2 * ROOM_CORES))
    ]
    rows += [_squad_row(squad, free[0]) for squad in free]
    scale = statistics.median(four.window.rate_rps / one.window.rate_rps for one, four in pairs)
    note = (
        f"Offered: {TOO_MUCH_RPS:,.0f} a second, more than can be sent; {CONNECTIONS} connections in all. Room: a "
        "limit of CPU by control groups, all of it on the generators' core; server and driver have the other to "
        "themselves. Both, shared: workers, server and driver on both cores. Two processes that only compute got "
        f"{ceiling_ratio((bench.core, bench.server_core)):.2f} x one's work done here."
    )
    return [Table(title, columns, rows, (note,))], [_scale_limit(name, scale)]


@contextmanager
def room(cores: float) -> Iterator[tuple[str, ...]]:
    """Yield the files by which a process enters a control group that may use so many cores.

    Raises:
        ToolError: This machine lets us make none.
    """
    hierarchy = cgroups.detect(f"gameday-bench-{os.getpid()}-{cores:g}")
    if hierarchy is None or not hierarchy.cpu:
        raise ToolError("no CPU limit can be set here: control groups cannot be written")
    group = hierarchy.limited(cgroups.Limits(cpu_cores=cores), "load")
    try:
        yield tuple(group.procs_files())
    finally:
        group.remove()
        hierarchy.sweep()


def ceiling_ratio(cores: tuple[int, ...], length_s: float = CEILING_S) -> float:
    """Return what two processes that only compute get done at once on these cores, of what one gets done alone."""
    code = (
        f"import os, time\nos.sched_setaffinity(0, {cores})\nend, n = time.perf_counter() + {length_s}, 0\n"
        "while time.perf_counter() < end:\n    n += sum(range(1000)) > 0\nprint(n)"
    )

    def done(processes: int) -> int:
        running = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(processes)
        ]
        return sum(int(process.communicate(timeout=length_s + 30.0)[0]) for process in running)

    return done(2) / done(1)


def _scale_limit(name: str, scale: float) -> Limit:
    return Limit(name, scale, SCALE_MIN, " x", at_least=True)


def _squad(bench: Bench, workers: int, procs_files: tuple[str, ...] = ()) -> Squad:
    length_s = bench.pace.window_s
    window, result, counts = bench.ours(
        "Get", TOO_MUCH_RPS, length_s, users=CONNECTIONS, workers=workers, timeout_s=length_s + 5.0,
        procs_files=procs_files,
    )  # fmt: skip
    check_rows(result, counts)
    return Squad(workers, window)


def _squad_row(squad: Squad, one: Squad, room_cores: float | None = None) -> tuple[str, ...]:
    return (
        str(squad.workers), "both, shared" if room_cores is None else f"{room_cores:g} core",
        f"{number(squad.window.rate_rps)}/s", number(squad.window.cpu_cores, 2),
        number(1 / squad.window.cost_s), f"{squad.window.rate_rps / one.window.rate_rps:.2f} x",
    )  # fmt: skip


def volume_section(bench: Bench, highest_rps: float, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
    """Minutes at the highest rate: is every request that the server counted a row, and every row a request?"""
    rate_rps, length_s = VOLUME_RATIO * highest_rps, bench.pace.volume_s
    columns = ("rate", "server counted", "rows", "known lost", "not good", "dropped arrivals", "own lag p99", "max")
    title, name = f"{length_s:g} s at the highest rate that lasts", "records lost (or too many) in the long load"
    say(f"{rate_rps:,.0f} requests/s for {length_s:g} s")
    try:
        if np.isnan(highest_rps):
            raise ToolError("the highest rate is not known")
        window, result, counts = bench.ours("Get", rate_rps, length_s)
    except ToolError as error:
        return [Table(title, columns, [(f"not available: {error}", *[NOTHING] * 7)])], [Limit(name, float("nan"), 0)]
    rows, lag_s = len(result.requests), np.percentile(result.lag_s, [99, 100])
    row = (
        f"{number(window.rate_rps)}/s", number(counts.requests), number(rows), number(result.lost),
        number(int((result.requests["outcome"] != "ok").sum())), number(result.ended["dropped"]), ms(lag_s[0]),
        ms(lag_s[1]),
    )  # fmt: skip
    off = abs(counts.requests - rows) + result.lost
    reached = Limit("rate of the long load, of what was offered", window.rate_rps / rate_rps * 100, 99.0, " %", True)
    return [Table(title, columns, [row])], [Limit(name, off, 0), reached]


def log_section(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
    """The request log: what a long load leaves on disk, and what it takes to write it and to read it again."""
    say(f"a request log of {bench.pace.log_rows:,} rows")
    try:
        found = bench_request_log.checks(bench.pace.log_rows)
    except bench_request_log.StepError as error:
        raise ToolError(str(error)) from error
    rows = [
        (name, bench_request_log.shown(value, unit), NOTHING if limit is None else bench_request_log.shown(limit, unit))
        for name, value, limit, unit in found
    ]
    note = "Written second by second as four workers send it, 12 pods, 3 endpoints, a minute of time-outs."
    table = Table(f"A request log of {bench.pace.log_rows:,} rows", ("figure", "measured", "limit"), rows, (note,))
    return [table], [
        Limit(f"request log of {bench.pace.log_rows:,} rows: {name}", *_in_units(value, limit, unit))
        for name, value, limit, unit in found
        if limit is not None
    ]


def _in_units(value: float, limit: float, unit: str) -> tuple[float, float, str]:
    return (value / 1e6, limit / 1e6, " MB") if unit == "bytes" else (value, limit, f" {unit}")
