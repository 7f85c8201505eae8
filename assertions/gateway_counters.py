"""What the gateway counted between two quiescent instants: raw counter differences, with their coverage. Pure.

It judges nothing; why the counters cannot be used is returned as a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.model.signal import Floats, Harvest, Series, coverage_of, increase, sample_times
from harness.model.time import Window
from harness.model.verdict import Coverage

SIGNAL = "gateway_requests_total"
EDGE_SCRAPES = 2
"""Scrapes before the first request and after the last answer (DESIGN §5)."""

REMEDY = "see that Prometheus scrapes the gateway from before the load until after it"

Instance = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ServerSide:
    """What the gateway counted.

    Attributes:
        by_class: Answers by first digit of their code.
        total: All answers.
        window: From the earliest to the latest scrape that was used.
        coverage: Of the instance with the largest hole.
        problem: Why there is no figure, or empty.
        remedy: What to do about it.
    """

    by_class: Mapping[int, float] = field(default_factory=dict)
    total: float = 0.0
    window: Window | None = None
    coverage: Coverage | None = None
    problem: str = ""
    remedy: str = ""


def server_side(harvest: Harvest, requests: Window, class_label: str) -> ServerSide:
    """Sum the gateway's counters over the requests' window.

    Args:
        harvest: What the metrics store said.
        requests: From the first request's start to the last answer.
        class_label: Label that holds the first digit of the code; empty for the one that the signal itself names.

    Returns:
        Sums by class, or the problem: no answer, a partial one, a value that is not finite, fewer than two scrapes
        outside either edge, or a hole above the signal's limit. A gateway instance that came up meanwhile counts from
        0; one that went away took its last requests with it, so there is no figure.
    """
    problem = harvest.problem(SIGNAL)
    if problem:
        return ServerSide(problem=problem, remedy=REMEDY)
    series = harvest.series(SIGNAL)
    class_label = class_label or harvest.signals[SIGNAL].signal.code_label
    if not all(class_label in one.labels for one in series):
        remedy = "set class_label, or mend the query gateway_requests_total of the target's pack"
        return ServerSide(problem=f"signal {SIGNAL} has no label {class_label}", remedy=remedy)
    limit_s = harvest.signals[SIGNAL].hole_max_s
    step_s = harvest.signals[SIGNAL].step_s or harvest.scrape_interval_s
    spans = {name: _span(parts, requests, limit_s, step_s) for name, parts in _instances(series, class_label).items()}
    problem = _problem(spans)
    if problem:
        return ServerSide(problem=problem, remedy=REMEDY, coverage=_worst(spans))
    return _summed(series, class_label, spans)


@dataclass(frozen=True, slots=True)
class _Span:
    window: Window | None
    coverage: Coverage
    problem: str = ""
    newborn: bool = False


def _instances(series: Sequence[Series], class_label: str) -> dict[Instance, list[Series]]:
    found: dict[Instance, list[Series]] = {}
    for one in series:
        found.setdefault(_instance(one, class_label), []).append(one)
    return found


def _instance(one: Series, class_label: str) -> Instance:
    return tuple(sorted((key, value) for key, value in one.labels.items() if key != class_label))


def _span(parts: Sequence[Series], requests: Window, limit_s: float, step_s: float) -> _Span:
    times = sample_times(parts)
    coverage = coverage_of(times, requests, step_s or 1.0)
    before, after = times[times <= requests.start_s], times[times >= requests.end_s]
    if not all(bool(np.isfinite(one.values).all()) for one in parts):
        return _Span(None, coverage, "a sample is not a finite number")
    if len(after) < EDGE_SCRAPES:
        return _Span(None, coverage, f"{len(after)} scrapes after the last answer, {EDGE_SCRAPES} are needed")
    end_s = float(after[EDGE_SCRAPES - 1])
    if len(before) < EDGE_SCRAPES:
        start_s = float(times[0])
        text = f"{len(before)} scrapes before the first request, {EDGE_SCRAPES} are needed"
        return _Span(Window(min(start_s, requests.start_s), end_s), coverage, text, newborn=start_s > requests.start_s)
    hole_s = _hole(times, Window(float(before[-EDGE_SCRAPES]), end_s))
    problem = f"a hole of {hole_s:.0f} s between two scrapes (limit {limit_s:g} s)" if hole_s > limit_s else ""
    return _Span(Window(float(before[-EDGE_SCRAPES]), end_s), coverage, problem)


def _hole(times: Floats, window: Window) -> float:
    inside = times[(times >= window.start_s) & (times <= window.end_s)]
    return float(np.diff(inside).max())


def _problem(spans: Mapping[Instance, _Span]) -> str:
    """Return why there is no figure. Newborn instances are right as long as another one saw the start."""
    saw_start = any(span.window is not None and not span.newborn for span in spans.values())
    ills = [span.problem for span in spans.values() if span.problem and not (span.newborn and saw_start)]
    return "; ".join(dict.fromkeys(ills))


def _worst(spans: Mapping[Instance, _Span]) -> Coverage:
    return max((span.coverage for span in spans.values()), key=lambda c: c.gap_max_s)


def _summed(series: Sequence[Series], class_label: str, spans: Mapping[Instance, _Span]) -> ServerSide:
    by_class: dict[int, float] = {}
    for one in series:
        window = spans[_instance(one, class_label)].window
        assert window is not None  # noqa: S101 - a span without one has a problem
        digit = int(one.labels[class_label][:1] or 0)
        by_class[digit] = by_class.get(digit, 0.0) + increase([one], window)
    windows = [span.window for span in spans.values() if span.window is not None]
    whole = Window(min(w.start_s for w in windows), max(w.end_s for w in windows))
    return ServerSide(by_class, sum(by_class.values()), whole, _worst(spans))
