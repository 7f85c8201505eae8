"""Did a workload keep CPU in hand under the burst? Mean use over mean request, once the autoscaler has had its time.

Pure. From raw container counters where the query pack has them, else from what the HPA itself measured; the verdict
says which. A mean just above the limit may lie inside the HPA's tolerance: it will never add pods there, which is said.
"""

from __future__ import annotations

import math
from dataclasses import replace

from assertions.cpu_use import REQUESTED, USED, CpuUse, by_counters, by_hpa
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
from assertions.windows import demand_window, stage_window
from harness.model.experiment import AssertionSpec
from harness.model.facts import HpaFact
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict, at_most

KIND = "cpu_utilisation"
SCHEMA = params_object(
    {
        "workload": {"type": "string", "pattern": "^[^/]+/[^/]+$", "description": "namespace/name"},
        "limit_ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 2, "default": 0.75},
        "settle": duration("from the burst on; the autoscaler's time to answer is not judged here", "60s"),
    },
    required=["workload"],
)


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
    use, evidence = _use(record, namespace, name, hpa, window)
    figures = {"cpu_ratio": use.ratio, "limit_ratio": limit}
    check = _check(use, limit, hpa[-1][1] if hpa else None)
    return conclude(spec, [check], expected, window=window, evidence=evidence, figures=figures)


def _use(
    record: Record, namespace: str, name: str, hpa: list[tuple[float, HpaFact]], window: Window
) -> tuple[CpuUse, list[str]]:
    """Return the use by the best source that can tell it, with the evidence of why it is that one."""
    counted = by_counters(record, namespace, name, window)
    if not counted.problem or not hpa:
        return counted, [f"source: {counted.source}"]
    measured = by_hpa(hpa, window)
    if measured.problem:
        measured = replace(measured, problem=f"{counted.problem}; and {measured.problem}")
    return measured, [f"source: {measured.source}", f"not {counted.source}: {counted.problem}"]


def _judged(record: Record, settle_s: float) -> Window | None:
    start = demand_window(record)
    burst = stage_window(record, "burst")
    if start is None or burst is None or start.start_s + settle_s >= burst.end_s:
        return None
    return Window(start.start_s + settle_s, burst.end_s)


def _hpa(record: Record, namespace: str, name: str) -> list[tuple[float, HpaFact]]:
    return record.timeline.facts(HpaFact, lambda f: f.namespace == namespace and f.target.rpartition("/")[2] == name)


def _check(use: CpuUse, limit: float, hpa: HpaFact | None) -> Check:
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
