"""What a request costs its generator, and what keeping a rate costs: the first sections of `make bench-load`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tests.bench.load_bench import Bench, check_rows
from tests.bench.load_requests import CONNECTIONS, METHODS
from tests.bench.load_table import NOTHING, Limit, Table, ms, number
from tests.bench.load_tools import ABSENT, STOCK, TOOLS, WRK, Tool
from tests.bench.load_window import ToolError, Window

OURS, OURS_STOCK = "Gameday, FastUser", "Gameday, FastHttpUser"
USERS = {OURS: {"GET": "Get", "POST": "Post"}, OURS_STOCK: {"GET": "StockGet", "POST": "StockPost"}}
COST_RATIO_MIN = 3.0
NEAR_LIMIT_RATIO = 0.9
"""Our cost is measured a little below the highest rate that it carries, where the others work as fast as they can."""
STEADY_RPS, LAG_MAX_S, SHARE_MAX = 1200.0, 0.005, 0.25
FULL_CORES = 0.9


@dataclass(slots=True)
class Cost:
    """All windows of one generator and method.

    Attributes:
        windows: One a round.
        highest_rps: Where it was looked for by itself; else the fastest window's.
        absent: Why there is none.
    """

    windows: list[Window] = field(default_factory=list)
    highest_rps: float = float("nan")
    absent: str = ""

    def median(self, of: Callable[[Window], float]) -> float:
        """Return the median over the rounds; NaN where there is none."""
        return float(np.median([of(w) for w in self.windows])) if self.windows and not self.absent else float("nan")

    @property
    def cost_s(self) -> float:
        """CPU seconds a request."""
        return self.median(lambda w: w.cost_s)

    @property
    def rate_rps(self) -> float:
        """The highest rate."""
        rates = [w.rate_rps for w in self.windows]
        return self.highest_rps if not np.isnan(self.highest_rps) else max(rates, default=float("nan"))


Costs = dict[tuple[str, str], Cost]


def cost_section(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit], Costs]:
    """Measure CPU a request, for every generator and method, in turns, so that all see the same machine."""
    costs: Costs = {(name, m): Cost() for m in METHODS for name in (*USERS, *(t.name for t in TOOLS))}
    for user, method in [(u, m) for m in METHODS for u in USERS]:
        say(f"the highest rate of {user}, {method}")
        guarded(costs[user, method], partial(_find_highest, bench, USERS[user][method]))
    for turn in range(bench.pace.rounds):
        for method in METHODS:
            say(f"CPU a request, {method}, round {turn + 1} of {bench.pace.rounds}")
            for tool in TOOLS:
                guarded(costs[tool.name, method], partial(_add_tool, bench, tool, method))
            for user in USERS:
                guarded(costs[user, method], partial(_add_ours, bench, USERS[user][method]))
    limits = [
        Limit(
            f"requests a CPU second, {m}, of stock FastHttpUser's", _ratio(costs, OURS, m), COST_RATIO_MIN, " x", True
        )
        for m in METHODS
    ]
    return [cost_table(costs)], limits, costs


def guarded(cost: Cost, step: Callable[[Cost], None]) -> None:
    """Do a step; where it fails, keep why: the generator is shown with that, never left out."""
    if cost.absent:
        return
    try:
        step(cost)
    except ToolError as error:
        cost.absent = str(error)


def _find_highest(bench: Bench, user: str, cost: Cost) -> None:
    cost.highest_rps = bench.carried_rps(user)
    if np.isnan(cost.highest_rps):
        raise ToolError("it keeps up with no rate of the ladder")


def _add_tool(bench: Bench, tool: Tool, method: str, cost: Cost) -> None:
    cost.windows.append(bench.tool(tool, method, bench.pace.window_s).window)


def _add_ours(bench: Bench, user: str, cost: Cost) -> None:
    window, result, counts = bench.ours(user, NEAR_LIMIT_RATIO * cost.highest_rps, bench.pace.window_s)
    check_rows(result, counts)
    cost.windows.append(window)


def _ratio(costs: Mapping[tuple[str, str], Cost], name: str, method: str) -> float:
    return costs[STOCK.name, method].cost_s / costs[name, method].cost_s


def cost_table(costs: Costs) -> Table:
    """Return what a request costs, one row a generator and method."""
    columns = (
        "generator", "request", "CPU a request", "requests a CPU second", "of stock", "highest rate on one core",
        "our driver, a request",
    )  # fmt: skip
    rows = [_cost_row(costs, name, method, cost) for (name, method), cost in costs.items()]
    rows += [(name, "", why, *[NOTHING] * 4) for name, why in ABSENT.items()]
    notes = (
        "Medians of the rounds. Ours writes its whole request log, which our driver, a process of its own, stores. "
        f"All: {CONNECTIONS} connections that stay open. `(core not full)`: the server was the limit, or other work.",
    )
    return Table("CPU a request", columns, rows, notes)


def _cost_row(costs: Costs, name: str, method: str, cost: Cost) -> tuple[str, ...]:
    if cost.absent:
        return (name, method, f"not available: {cost.absent}", *[NOTHING] * 4)
    bound = np.isnan(cost.highest_rps) and cost.median(lambda w: w.cpu_cores) < FULL_CORES
    driver = number(cost.median(lambda w: w.driver_cpu_s / w.requests) * 1e6, 1) + " µs" if name in USERS else NOTHING
    return (
        name, method, f"{cost.cost_s * 1e6:.1f} µs", number(1 / cost.cost_s), f"{_ratio(costs, name, method):.2f} x",
        f"{number(cost.rate_rps)}/s{' (core not full)' if bound else ''}", driver,
    )  # fmt: skip


# A rate that is kept -------------------------------------------------------------------------------------------------


def steady_section(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
    """Keep 1,200 requests a second for a while: how late requests are started, and what it takes of a core."""
    say(f"{STEADY_RPS:g} requests/s for {bench.pace.steady_s:g} s")
    window, result, counts = bench.ours("Get", STEADY_RPS, bench.pace.steady_s)
    check_rows(result, counts)
    lag_s = np.percentile(result.lag_s, [50, 99, 100])
    latency_s = np.percentile(result.requests["latency_s"], [50, 99])
    rows = [_steady_row(OURS, window, [ms(s) for s in lag_s], [ms(s) for s in latency_s])]
    rows += [_steady_of(bench, tool) for tool in TOOLS]
    columns = ("generator", "rate", "share of a core", "own lag p50", "p99", "max", "latency it reports: p50", "p99")
    table = Table(f"{STEADY_RPS:,.0f} requests a second for {bench.pace.steady_s:g} s (GET)", columns, rows, (
        "Own lag: from the moment that a request was meant for to the moment it was started; only ours tells it.",
    ))  # fmt: skip
    limits = [
        Limit("p99 of our own start lag at 1,200 requests/s", float(lag_s[1]) * 1000, LAG_MAX_S * 1000, " ms"),
        Limit("our generator's share of a core at 1,200 requests/s", window.cpu_cores * 100, SHARE_MAX * 100, " %"),
        Limit("rate that was kept, of 1,200 requests/s", window.rate_rps / STEADY_RPS * 100, 99.0, " %", True),
    ]
    return [table], limits


def _steady_of(bench: Bench, tool: Tool) -> tuple[str, ...]:
    if tool is WRK:
        return (tool.name, "keeps no rate", *[NOTHING] * 6)
    try:
        seen = bench.tool(tool, "GET", bench.pace.steady_s, STEADY_RPS)
    except ToolError as error:
        return (tool.name, f"not available: {error}", *[NOTHING] * 6)
    latency = [ms(seen.report.latency_s.get(p, float("nan"))) for p in (50.0, 99.0)]
    return _steady_row(tool.name, seen.window, [NOTHING] * 3, latency)


def _steady_row(name: str, window: Window, lag: list[str], latency: list[str]) -> tuple[str, ...]:
    return (name, f"{number(window.rate_rps)}/s", f"{window.cpu_cores * 100:.1f} %", *lag, *latency)
