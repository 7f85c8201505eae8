"""Looks a query pack through before it is used: what PromQL accepts and yet gives a wrong answer is refused. Pure.

Rules and their sources: counters raw, rate inside and sum outside (CASES C08); no average of ratios; no window under
four scrapes (CASES C06); nothing that turns missing data into zero (CASES C03). It asks no server anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser as promql

from harness.model.signal import Signal

SCRAPES_MIN = 4
"""A window of fewer scrapes loses its answer with one scrape that fails (CASES C06)."""

_RATES = frozenset({"rate", "irate", "increase", "resets"})
_PARTS = ("expr", "lhs", "rhs", "vector_selector", "param")
RAW = "write the plain selector: rises are counted per series here, and summed afterwards"


def lint(signal: Signal, scrape_interval_s: float) -> tuple[str, str] | None:
    """Look at one query.

    Args:
        signal: The query and what it is said to be.
        scrape_interval_s: How often the target's Prometheus scrapes.

    Returns:
        What is wrong and what to do, or None.
    """
    try:
        query = promql.parse(signal.query)
    except ValueError as error:
        return f"not PromQL: {error}", "mend the query; try it in the page of Prometheus first"
    if signal.counter:
        found = _no_raw_counter(query)
        if found:
            return found, RAW
    return next(_problems(query, scrape_interval_s), None)


def _no_raw_counter(query: Any) -> str:
    if not isinstance(query, promql.VectorSelector):
        return "a counter must be raw: a rate or a sum of counters hides resets"
    if ":" in (query.name or ""):
        return f"{query.name} is a recorded series: a recorded sum of counters falls whenever a pod goes"
    return "a counter with an offset is of another time than the run" if query.offset or query.at else ""


def _problems(query: Any, scrape_interval_s: float) -> Iterator[tuple[str, str]]:
    for node in _walk(query):
        if isinstance(node, promql.Call) and node.func.name in _RATES:
            yield from _rate_of_sum(node)
        if isinstance(node, promql.Call) and node.func.name == "avg_over_time" and _has_ratio(node):
            yield "an average of ratios weighs a quiet second like a busy one", "divide the sums once"
        if isinstance(node, promql.AggregateExpr) and str(node.op) == "avg" and _has_ratio(node):
            yield "an average of ratios weighs an idle pod like a busy one", "divide the sums once"
        if isinstance(node, promql.MatrixSelector | promql.SubqueryExpr) and node.range is not None:
            yield from _short_window(node.range.total_seconds(), scrape_interval_s)
        if _fills_in(node):
            yield "`or vector(…)` turns missing data into a number", "leave it out: missing data is inconclusive"


def _rate_of_sum(call: Any) -> Iterator[tuple[str, str]]:
    name, inside = call.func.name, list(_walk(call.args[0]))
    if any(isinstance(node, promql.AggregateExpr) for node in inside):
        yield f"{name} of a sum: a pod that goes looks like a reset", f"{name} inside, sum outside"
    for node in inside:
        if isinstance(node, promql.VectorSelector) and ":" in (node.name or ""):
            yield f"{name} of the recorded series {node.name}", f"take {name} of the raw counters"


def _short_window(window_s: float, scrape_interval_s: float) -> Iterator[tuple[str, str]]:
    least_s = SCRAPES_MIN * scrape_interval_s
    if window_s < least_s:
        told = f"a window of {window_s:g} s holds fewer than {SCRAPES_MIN} scrapes of {scrape_interval_s:g} s"
        yield told, f"make it at least {least_s:g}s"


def _fills_in(node: Any) -> bool:
    filled = isinstance(node, promql.BinaryExpr) and str(node.op) == "or"
    return filled and any(isinstance(n, promql.Call) and n.func.name == "vector" for n in _walk(node.rhs))


def _has_ratio(node: Any) -> bool:
    return any(isinstance(n, promql.BinaryExpr) and str(n.op) == "/" for n in _walk(node))


def _walk(node: Any) -> Iterator[Any]:
    """Yield a node and everything under it."""
    yield node
    below = [getattr(node, part, None) for part in _PARTS]
    for child in (*below, *getattr(node, "args", ())):
        if child is not None and not isinstance(child, str):
            yield from _walk(child)
