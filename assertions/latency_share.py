"""Were enough answers quick enough, as the gateway counted? A share under a bound, from its buckets.

Pure. A quantile of a histogram is a guess between two edges (CASES C12), the share under an edge is a count. A bound
that is no edge lies between two of them: the lower one proves a PASS, the upper one a FAIL; between, it is open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from assertions.definition import (
    NEEDS_OF_MEASURED,
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    limit_s,
    param,
    params_object,
    unclear,
)
from assertions.error_budget import client_side
from assertions.gateway_counters import SIGNAL as TOTAL
from assertions.gateway_counters import server_side
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.signal import increase
from harness.model.time import Window
from harness.model.verdict import Verdict, at_least

KIND = "latency_share"
BUCKETS = "gateway_latency_bucket"
SCHEMA = params_object(
    {
        "bound": duration("an answer within it is quick", "1s"),
        "share_min": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.95},
        "min_requests": {"type": "integer", "minimum": 1, "default": 200},
        "edge_unit": duration("unit of the label le; Envoy counts milliseconds", "1ms"),
        "class_label": {"type": "string", "default": ""},
    }
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the share of answers within a bound over the whole load."""
    bound_s, least = limit_s(spec, SCHEMA, "bound"), float(param(spec, SCHEMA, "share_min"))
    expected = f"at least {least:.1%} of the answers come within {bound_s:g} s, as the gateway counts"
    client = client_side(record.requests)
    if client is None:
        return conclude(spec, [unclear("the request log is empty", "see why no load was sent")], expected)
    server = server_side(record.harvest, client.window, str(param(spec, SCHEMA, "class_label")))
    problem = server.problem or record.harvest.problem(BUCKETS)
    if problem or server.window is None:
        reason = f"the gateway's counters cannot be used: {problem}"
        return conclude(spec, [unclear(reason, server.remedy)], expected, coverage=server.coverage)
    counts = _counts(record, server.window, limit_s(spec, SCHEMA, "edge_unit"))
    checks = [*_size_check(server.total, spec), *_share_checks(counts, server.total, bound_s, least)]
    shared = [(edge_s, count) for edge_s, count in counts if math.isfinite(edge_s) and server.total]
    figures = {f"share_{edge_s:g}_s_ratio": count / server.total for edge_s, count in shared}
    edges = ", ".join(f"{edge_s:g}" for edge_s, _ in counts if math.isfinite(edge_s))
    return conclude(
        spec, checks, expected, window=server.window, coverage=server.coverage, figures=figures,
        evidence=[f"edges in seconds: {edges}"],
    )  # fmt: skip


def _counts(record: Record, window: Window, unit_s: float) -> list[tuple[float, float]]:
    """Return ``(edge in seconds, answers up to it)``, by rising edge."""
    found: dict[float, float] = {}
    for series in record.harvest.series(BUCKETS):
        edge_s = float(series.labels.get("le", "nan")) * unit_s
        found[edge_s] = found.get(edge_s, 0.0) + increase([series], window)
    return sorted((edge_s, count) for edge_s, count in found.items() if not math.isnan(edge_s))


def _size_check(total: float, spec: AssertionSpec) -> Iterator[Check]:
    least = int(param(spec, SCHEMA, "min_requests"))
    if not total >= least:
        yield unclear(f"{total:.0f} answers are too few, {least} are needed", "raise the load or its duration")


def _share_checks(counts: list[tuple[float, float]], total: float, bound_s: float, least: float) -> Iterator[Check]:
    if not total:
        return  # too few, which is told
    if not np.isfinite([count for _, count in counts]).all():
        yield unclear("the buckets hold values that are no numbers", "see the gateway's page of metrics")
        return
    under = [(edge_s, count / total) for edge_s, count in counts if edge_s <= bound_s * (1 + 1e-9)]
    over = [(edge_s, count / total) for edge_s, count in counts if edge_s >= bound_s * (1 - 1e-9)]
    low, high = under[-1:] or [(0.0, 0.0)], over[:1] or [(math.inf, 1.0)]
    (low_s, low_share), (high_s, high_share) = low[0], high[0]
    told = f"{low_share:.2%} within {low_s:g} s" + (
        "" if low_s == high_s else f", {high_share:.2%} within {high_s:g} s"
    )
    if at_least(low_share, least) is True:
        yield held(told)
    elif at_least(high_share, least) is False:
        yield broken(f"{told}; {least:.1%} are needed", "see latency and faults on the time axis of the report", told)
    else:
        yield unclear(f"{told}: {bound_s:g} s lies between two edges of the buckets", "take one of the edges as bound")


DEFINITION = Definition(
    kind=KIND,
    question="Were enough answers quick enough, as the gateway counted?",
    judge=judge,
    params_schema=SCHEMA,
    signals=(TOTAL, BUCKETS),
    needs_for_pass=NEEDS_OF_MEASURED,
    needs_for_fail=("run_completed", "generator_healthy", "clocks_agree"),
)
