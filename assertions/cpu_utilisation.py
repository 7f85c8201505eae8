"""Did a workload keep CPU in hand under the burst? Mean use over mean request, once the autoscaler has had its time.

Pure. From raw container counters where the query pack has them, else from what the HPA itself measured; the verdict
says which. A mean just above the limit may lie inside the HPA's tolerance: it will never add pods there, which is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from assertions.budget_replay import matches
from assertions.definition import (
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
from assertions.temporal import Steps, steps_of
from assertions.windows import demand_window, stages
from harness.model.experiment import AssertionSpec
from harness.model.facts import HpaFact, PodFact, WorkloadFact
from harness.model.record import Record
from harness.model.signal import Series, increase
from harness.model.time import Window
from harness.model.verdict import Verdict, at_most

KIND = "cpu_utilisation"
USED, REQUESTED = "pod_cpu_seconds", "pod_cpu_request_cores"
SCHEMA = params_object(
    {
        "workload": {"type": "string", "pattern": "^[^/]+/[^/]+$", "description": "namespace/name"},
        "limit_ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 2, "default": 0.75},
        "settle": duration("from the burst on; the autoscaler's time to answer is not judged here", "60s"),
    },
    required=["workload"],
)


@dataclass(frozen=True, slots=True)
class _Use:
    """Mean CPU use over requests, and where it comes from; NaN with the reason where it is not known."""

    ratio: float
    source: str
    problem: str = ""


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the mean of use over request from burst start + ``settle`` to the burst's end."""
    namespace, _, name = str(spec.params["workload"]).partition("/")
    limit = float(param(spec, SCHEMA, "limit_ratio"))
    expected = f"{namespace}/{name} uses at most {limit:.0%} of the CPU that it requests, once it has scaled"
    window = _judged(record, limit_s(spec, SCHEMA, "settle"))
    if window is None:
        check = unclear("the burst did not last beyond settle", "make the burst longer, or settle shorter")
        return conclude(spec, [check], expected)
    hpa = _hpa(record, namespace, name)
    use = _from_counters(record, namespace, name, window)
    if use.problem and hpa:
        use = _from_hpa(hpa, window)
    figures = {"cpu_ratio": use.ratio, "limit_ratio": limit}
    check = _check(use, limit, hpa[-1][1] if hpa else None)
    return conclude(spec, [check], expected, window=window, evidence=[f"source: {use.source}"], figures=figures)


def _judged(record: Record, settle_s: float) -> Window | None:
    start = demand_window(record)
    burst = next((window for stage, window in stages(record) if stage.name == "burst"), None)
    if start is None or burst is None or start.start_s + settle_s >= burst.end_s:
        return None
    return Window(start.start_s + settle_s, burst.end_s)


def _hpa(record: Record, namespace: str, name: str) -> list[tuple[float, HpaFact]]:
    mine = record.timeline.facts(HpaFact, lambda f: f.namespace == namespace and f.target.rpartition("/")[2] == name)
    return [(t_s, fact) for t_s, fact in mine if not fact.deleted]


def _from_counters(record: Record, namespace: str, name: str, window: Window) -> _Use:
    """Divide the CPU seconds that the workload's pods used by those that they requested."""
    source = f"signals {USED} and {REQUESTED}"
    problem = record.harvest.problem(USED) or record.harvest.problem(REQUESTED)
    if problem:
        return _Use(math.nan, source, problem)
    pods = _pod_names(record, namespace, name)
    used = [one for one in record.harvest.series(USED) if one.labels.get("pod") in pods]
    asked = [one for one in record.harvest.series(REQUESTED) if one.labels.get("pod") in pods]
    if not used or not asked:
        return _Use(math.nan, source, f"no series of {USED} or {REQUESTED} names a pod of {namespace}/{name}")
    gap_s, allowed_s = _gap_s(used, window), record.harvest.signals[USED].hole_max_s
    if gap_s > allowed_s:
        return _Use(math.nan, source, f"signal {USED} has a hole of {gap_s:.0f} s (limit {allowed_s:g} s)")
    requested_s = sum(_integral(Steps(one.t_s, one.values), window, record.harvest.scrape_interval_s) for one in asked)
    return _Use(increase(used, window) / requested_s if requested_s else math.nan, source)


def _gap_s(series: list[Series], window: Window) -> float:
    """Return the longest stretch without a sample of any pod."""
    times = np.unique(np.concatenate([one.within(window).t_s for one in series]))
    return float(np.diff(np.concatenate(([window.start_s], times, [window.end_s]))).max())


def _pod_names(record: Record, namespace: str, name: str) -> frozenset[str]:
    found = record.timeline.facts(WorkloadFact, lambda f: (f.namespace, f.name) == (namespace, name))
    selector = next((fact.selector for _, fact in reversed(found) if fact.selector), None)
    if selector is None:
        return frozenset()
    pods = record.timeline.facts(PodFact, lambda p: p.namespace == namespace and matches(selector, p.labels))
    return frozenset(pod.name for _, pod in pods)


def _integral(steps: Steps, window: Window, scrape_s: float) -> float:
    """Return value times seconds; a series counts while it has samples (a pod that is gone requests nothing)."""
    inside = (steps.t_s >= window.start_s) & (steps.t_s < window.end_s)
    return float(steps.values[inside].sum()) * scrape_s


def _from_hpa(states: list[tuple[float, HpaFact]], window: Window) -> _Use:
    source = f"status.currentMetrics of the HPA {states[-1][1].name}"
    part = steps_of((t_s, fact.cpu_current_percent) for t_s, fact in states).within(window)
    lengths_s = np.diff(np.append(part.t_s, window.end_s))
    unknown_s = float(lengths_s[~np.isfinite(part.values)].sum())
    if unknown_s > 0:
        return _Use(math.nan, source, f"the HPA did not say its CPU for {unknown_s:.0f} s")
    return _Use(float((part.values * lengths_s).sum() / lengths_s.sum()) / 100, source)


def _check(use: _Use, limit: float, hpa: HpaFact | None) -> Check:
    if use.problem or not math.isfinite(use.ratio):
        reason = use.problem or "the CPU use is no number"
        return unclear(f"CPU use cannot be told: {reason}", f"add {USED} and {REQUESTED} to the query pack")
    observed = f"{use.ratio:.1%} of the requests"
    if at_most(use.ratio, limit) is True:
        return held(observed)
    reason = f"{observed} were used, the limit is {limit:.0%}"
    return broken(
        f"{reason}{_tolerance(use.ratio, hpa)}", "request more CPU a pod, or lower the HPA's target", observed
    )


def _tolerance(ratio: float, hpa: HpaFact | None) -> str:
    if hpa is None or hpa.cpu_target_percent is None:
        return ""
    target, tolerance = hpa.cpu_target_percent / 100, hpa.up_tolerance_ratio
    edge = target * (1 + tolerance)
    if ratio > edge:
        return ""
    told = f"it lies inside the HPA's tolerance (target {target:.0%} + {tolerance:.0%} of it = {edge:.0%})"
    return f"; {told}, so that the autoscaler will not add a pod"


DEFINITION = Definition(
    kind=KIND,
    question="Did the workload keep CPU in hand under the burst?",
    judge=judge,
    params_schema=SCHEMA,
    signals=(USED, REQUESTED),
    needs_for_pass=(
        "run_completed", "load_reached_floor", "generator_healthy", "faults_took_effect", "observation_complete",
    ),
    needs_for_fail=("load_reached_floor", "generator_healthy", "observation_complete"),
)  # fmt: skip
