"""How much of its CPU requests a workload used over a window, and who says so. Pure; it judges no limit.

Every Ready pod must be accounted for: one whose use is not known would pass for an idle one, and one whose request is
not known for a greedy one. Means are weighted by the time that each pod was Ready, so that neither how often a signal
is scraped nor where its samples fall counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assertions.budget_replay import matches
from assertions.temporal import steps_of
from harness.model.facts import HpaFact, PodFact, WorkloadFact
from harness.model.record import Record
from harness.model.signal import Series, coverage_of, increase, sample_times
from harness.model.time import Window

USED, REQUESTED = "pod_cpu_seconds", "pod_cpu_request_cores"
NO_CONTAINER = "POD"
"""The kubelet's name for the sandbox of a pod: it uses next to nothing and requests nothing."""

SHOWN_MAX = 3

ByPod = Mapping[str, list[Series]]


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Mean CPU use over requests, and where it comes from; NaN with the reason where it is not known."""

    ratio: float
    source: str
    problem: str = ""


STILL_MAX_S = 10.0
"""A counter that does not rise at all for longer is frozen: probes alone take some CPU."""


def by_counters(record: Record, namespace: str, name: str, window: Window) -> CpuUse:
    """Divide the CPU seconds that the workload's Ready pods used by those that they requested."""
    source = f"signals {USED} and {REQUESTED}"
    problem = record.harvest.problem(USED) or record.harvest.problem(REQUESTED)
    if problem:
        return CpuUse(math.nan, source, problem)
    ready = _ready_spans(record, namespace, name, window)
    used, asked = (_by_pod(record, signal, ready, namespace) for signal in (USED, REQUESTED))
    problem = next(_problems(record, ready, used, asked), "")
    if problem:
        return CpuUse(math.nan, source, problem)
    known = {pod: span for pod, span in ready.items() if pod in used and pod in asked}
    cores = {pod: _cores(used[pod], span) for pod, span in known.items()}
    still = sorted(pod for pod, span in known.items() if cores[pod] == 0 and span.duration_s > STILL_MAX_S)
    if still:
        return CpuUse(
            math.nan, source, f"signal {USED} of pod {still[0]} stands still: no Ready pod uses nothing at all"
        )
    used_s = sum(cores[pod] * span.duration_s for pod, span in known.items())
    asked_s = sum(_requested(asked[pod], span) * span.duration_s for pod, span in known.items())
    if not (math.isfinite(used_s) and math.isfinite(asked_s) and asked_s > 0):
        return CpuUse(math.nan, source, f"{USED} or {REQUESTED} hold no finite numbers, or the requests are 0")
    return CpuUse(used_s / asked_s, source)


def _ready_spans(record: Record, namespace: str, name: str, window: Window) -> dict[str, Window]:
    """Return from when to when each pod of the workload was Ready within the window, by name."""
    found = record.timeline.facts(WorkloadFact, lambda f: (f.namespace, f.name) == (namespace, name))
    selector = next((fact.selector for _, fact in reversed(found) if fact.selector), None)
    if selector is None:
        return {}
    states: dict[str, list[tuple[float, float]]] = {}
    for t_s, pod in record.timeline.facts(PodFact, lambda p: p.namespace == namespace and matches(selector, p.labels)):
        states.setdefault(pod.name, []).append((t_s, float(pod.ready and not pod.deleted)))
    spans = {pod: _ready_span(its, window) for pod, its in states.items()}
    return {pod: span for pod, span in spans.items() if span is not None}


def _ready_span(states: Sequence[tuple[float, float]], window: Window) -> Window | None:
    part = steps_of(sorted(states)).within(window)
    at = np.flatnonzero(part.values == 1)
    ends = np.append(part.t_s[1:], window.end_s)
    return Window(float(part.t_s[at[0]]), float(ends[at[-1]])) if len(at) else None


def _by_pod(record: Record, signal: str, ready: Mapping[str, Window], namespace: str) -> ByPod:
    found: dict[str, list[Series]] = {}
    for one in record.harvest.series(signal):
        pod, where = _said(one.labels, "pod"), _said(one.labels, "namespace") or namespace
        if pod in ready and where == namespace and one.labels.get("container") != NO_CONTAINER:
            found.setdefault(pod, []).append(one)
    return found


def _said(labels: Mapping[str, str], name: str) -> str:
    """Return a label of what is told about; ``exported_`` where the scrape kept the name for the exporter itself."""
    return labels.get(f"exported_{name}") or labels.get(name, "")


def _problems(record: Record, ready: Mapping[str, Window], used: ByPod, asked: ByPod) -> Iterator[str]:
    """Yield why the sums would not be those of all Ready pods; a pod that was Ready for a moment may be missed."""
    if not ready:
        yield "no pod of it was seen to be Ready"
    for what, signal, have in (("use", USED, used), ("request", REQUESTED, asked)):
        limit_s = record.harvest.signals[signal].hole_max_s
        missing = sorted(pod for pod, span in ready.items() if span.duration_s > limit_s and pod not in have)
        if missing:
            yield f"the CPU {what} of {len(missing)} Ready pods is not known: {', '.join(missing[:SHOWN_MAX])}"
        for pod, parts in have.items():
            gap_s = coverage_of(sample_times(parts), ready[pod], 1.0).gap_max_s
            if gap_s > limit_s:
                yield f"signal {signal} of pod {pod} has a hole of {gap_s:.0f} s (limit {limit_s:g} s)"
    for pod in sorted(used.keys() & asked.keys()):
        sides = [{one.labels.get("container", "") for one in parts} for parts in (used[pod], asked[pod])]
        if "" not in sides[0] | sides[1] and sides[0] != sides[1]:
            told = ", ".join(sorted(sides[0] ^ sides[1]))
            yield f"container {told} of pod {pod} has a use without a request, or the other way about"


def _cores(parts: Sequence[Series], span: Window) -> float:
    """Return the mean use of a pod between the first and last sample that fall to a span; NaN for fewer than two."""
    times = sample_times(parts)
    before, inside = times[times <= span.start_s], times[(times > span.start_s) & (times <= span.end_s)]
    told = np.concatenate((before[-1:], inside))
    if len(told) < 2:  # noqa: PLR2004 - a rise needs two samples
        return math.nan
    return sum(_rise(one, float(told[0]), float(told[-1])) for one in parts) / float(told[-1] - told[0])


def _rise(one: Series, start_s: float, end_s: float) -> float:
    """Return how much a counter rose; one that began later counts from its first sample, not from 0."""
    begun = one.t_s[one.t_s <= end_s]
    return increase([one], Window(max(start_s, float(begun[0])), end_s)) if len(begun) else 0.0


def _requested(parts: Sequence[Series], span: Window) -> float:
    """Return what a pod requested on average: the sum over its containers."""
    by_container: dict[str, list[Series]] = {}
    for one in parts:
        by_container.setdefault(one.labels.get("container", ""), []).append(one)
    return sum(_mean(each, span) for each in by_container.values())


def _mean(parts: Sequence[Series], span: Window) -> float:
    inside = np.concatenate([one.within(span).values for one in parts])
    values = inside if len(inside) else np.concatenate([one.values for one in parts])
    return float(values.mean()) if len(values) else math.nan


def by_hpa(states: Sequence[tuple[float, HpaFact]], window: Window) -> CpuUse:
    """Average what the HPA measured over time; one that is gone, or that cannot scale, says nothing."""
    source = f"status.currentMetrics of the HPA {states[-1][1].name}"
    ordered = sorted(states, key=lambda state: state[0])
    part = steps_of((t_s, _measured_percent(fact)) for t_s, fact in ordered).within(window)
    lengths_s = np.diff(np.append(part.t_s, window.end_s))
    unknown_s = float(lengths_s[~np.isfinite(part.values)].sum())
    if unknown_s > 0:
        return CpuUse(math.nan, source, f"the HPA did not say its CPU for {unknown_s:.0f} s")
    return CpuUse(float((part.values * lengths_s).sum() / lengths_s.sum()) / 100, source)


def _measured_percent(fact: HpaFact) -> float | None:
    return None if fact.deleted or fact.active is False else fact.cpu_current_percent
