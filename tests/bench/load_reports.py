"""What other load generators say of their own run, read from their output. Pure."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LATE_S = 1.0
PERCENTS = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True)
class Report:
    """What a generator says.

    Attributes:
        requests: Requests that ended.
        bad: Of these, not good.
        late: Of these, slower than `LATE_S`; None where it does not say.
        latency_s: By percent; without those that it does not say.
        dropped: Requests that it says it did not send.
    """

    requests: int
    bad: int
    late: int | None = None
    latency_s: Mapping[float, float] = field(default_factory=dict)
    dropped: int = 0


class UnreadableError(Exception):
    """A generator's output is not what this version of it writes."""


def wrk_report(out: str) -> Report:
    """Read what wrk prints with ``--latency``; it has no count of late requests."""
    found = re.search(r"^\s*(\d+) requests in ", out, re.MULTILINE)
    if found is None:
        raise UnreadableError(f"wrk has printed no number of requests: {out[-300:]!r}")
    bad = sum(int(n) for n in re.findall(r"Non-2xx or 3xx responses: (\d+)", out))
    for line in re.findall(r"Socket errors: (.*)", out):
        bad += sum(int(n) for n in re.findall(r"\d+", line))
    latency_s = {float(p): _seconds(value) for p, value in re.findall(r"^\s+(\d+)%\s+(\S+)$", out, re.MULTILINE)}
    return Report(int(found[1]), bad, None, latency_s)


def _seconds(text: str) -> float:
    units = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr] # wrk's own units
    return float(number) * units[unit]


def k6_report(out: str) -> Report:
    """Read the metrics that tests/bench/load_k6.js prints."""
    try:
        metrics = json.loads(out)
        count = metrics["http_reqs"]["values"]["count"]
        failed_ratio = metrics["http_req_failed"]["values"]["rate"]
        durations_ms = metrics["http_req_duration"]["values"]
    except (ValueError, KeyError) as error:
        raise UnreadableError(f"k6 has printed no metrics: {out[-300:]!r}") from error
    latency_s = {p: durations_ms[f"p({p:g})"] / 1000 for p in PERCENTS}
    late, dropped = _k6_count(metrics, "late"), _k6_count(metrics, "dropped_iterations")
    return Report(int(count), round(failed_ratio * count), late, latency_s, dropped)


def _k6_count(metrics: Mapping[str, Any], name: str) -> int:
    """Return a counter that k6 leaves out where it is 0."""
    return int(metrics[name]["values"]["count"]) if name in metrics else 0


def vegeta_report(out: str) -> Report:
    """Read ``vegeta report -type=json``."""
    try:
        said = json.loads(out)
        requests, codes, latencies = said["requests"], said["status_codes"], said["latencies"]
    except (ValueError, KeyError) as error:
        raise UnreadableError(f"vegeta has reported nothing: {out[-300:]!r}") from error
    good = sum(count for code, count in codes.items() if code.startswith("2"))
    return Report(requests, requests - good, None, {p: latencies[f"{p:g}th"] / 1e9 for p in (50.0, 90.0, 99.0)})


def vegeta_rows(out: str) -> Report:
    """Read ``vegeta encode -to csv``: every request."""
    rows = [(int(row[1]), int(row[2]) / 1e9) for row in csv.reader(io.StringIO(out)) if row]
    if not rows:
        raise UnreadableError("vegeta has recorded no request")
    taken_s = sorted(s for _, s in rows)
    bad = sum(not 200 <= code < 300 for code, _ in rows)
    return Report(len(rows), bad, sum(s > LATE_S for s in taken_s), {p: nearest_rank(taken_s, p) for p in PERCENTS})


def locust_report(out: str) -> Report:
    """Read ``locust --json``: its latencies are rounded, to two digits above 100 ms."""
    try:
        entries = json.loads(out)
        histogram: Counter[float] = Counter()
        for entry in entries:
            histogram.update({float(ms): count for ms, count in entry["response_times"].items()})
        requests = sum(entry["num_requests"] for entry in entries)
        bad = sum(entry["num_failures"] for entry in entries)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"locust has printed no statistics: {out[-300:]!r}") from error
    late = sum(count for ms, count in histogram.items() if ms > LATE_S * 1000)
    taken_s = [ms / 1000 for ms in sorted(histogram.elements())]
    return Report(requests, bad, late, {p: nearest_rank(taken_s, p) for p in PERCENTS} if taken_s else {})


def nearest_rank(rising: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least ``percent`` of all do not exceed."""
    return rising[max(-(-len(rising) * round(percent * 10) // 1000) - 1, 0)]
