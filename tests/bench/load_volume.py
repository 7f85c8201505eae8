"""Workers, and a long load at the highest rate: what is kept of it, row by row, for `make bench-load`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from harness.model.load import LoadPlan
from tests.bench.load_bench import Bench, check_rows
from tests.bench.load_requests import CONNECTIONS
from tests.bench.load_table import NOTHING, Limit, Table, ms, number
from tests.bench.load_window import ToolError, Window

WORKERS = 4
SCALE_MIN, ROOM_CORES = 1.8, 2.0
VOLUME_RATIO = 0.8
"""Of the highest rate on the ladder: that was carried for seconds, this is to be carried for minutes."""
TOO_MUCH_RPS = 60_000.0
"""More than any number of workers sends here: arrivals wait, so every worker sends as fast as it can."""
CEILING_S = 5.0
NOT_BUILT = "not built"


@dataclass(frozen=True, slots=True)
class Squad:
    """So many workers and what they made."""

    workers: int
    window: Window


def workers_section(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
    """One worker against four, on both cores, beside the server and the driver."""
    columns = ("workers", "requests", "cores in use", "requests a CPU second", "of one worker's rate")
    title, name = "Local workers", f"{WORKERS} workers: rate for the same CPU on {ROOM_CORES:g} cores, of one's on one"
    if "workers" not in {field.name for field in fields(LoadPlan)}:
        return [Table(title, columns, [(str(WORKERS), NOT_BUILT, *[NOTHING] * 3)])], [_scale_limit(name, float("nan"))]
    say(f"1 worker, {WORKERS} workers")
    try:
        found = [_squad(bench, workers) for workers in (1, WORKERS)]
    except ToolError as error:
        row = (f"1, {WORKERS}", f"not available: {error}", *[NOTHING] * 3)
        return [Table(title, columns, [row])], [_scale_limit(name, float("nan"))]
    rows = [_squad_row(squad, found[0]) for squad in found]
    ceiling = ceiling_ratio()
    scale = ROOM_CORES * found[0].window.cost_s / found[1].window.cost_s
    note = (
        f"Offered: {TOO_MUCH_RPS:,.0f} a second, more than can be sent; {CONNECTIONS} connections a worker. Server, "
        f"driver and workers share this machine's cores, so {WORKERS} workers had not {ROOM_CORES:g} cores to "
        f"themselves: the rate that they would make on {ROOM_CORES:g} cores at their CPU a request is {scale:.2f} x "
        f"one's on one. Two processes that only compute got {ceiling:.2f} x one's work done here."
    )
    return [Table(title, columns, rows, (note,))], [_scale_limit(name, scale)]


def ceiling_ratio(length_s: float = CEILING_S) -> float:
    """Return what two processes that only compute get done at once on this machine, of what one gets done alone."""
    code = (
        f"import time\nend, n = time.perf_counter() + {length_s}, 0\n"
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


def _squad(bench: Bench, workers: int) -> Squad:
    length_s = bench.pace.window_s
    window, result, counts = bench.ours(
        "Get", TOO_MUCH_RPS, length_s, users=workers * CONNECTIONS, workers=workers, timeout_s=length_s + 5.0
    )
    check_rows(result, counts)
    return Squad(workers, window)


def _squad_row(squad: Squad, one: Squad) -> tuple[str, ...]:
    return (
        str(squad.workers), f"{number(squad.window.rate_rps)}/s", number(squad.window.cpu_cores, 2),
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
