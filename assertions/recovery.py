"""Did a workload get back what a fault took, in time? For each fault: from its deed until the workload is whole again.

Pure. Whole means: the uids that were hit are gone, the newest generation is the observed one, and both
``availableReplicas`` (CASES F07) and our own count of Ready pods have reached what was asked (CASES A13: the counters
alone lag behind a kill). The limit is the recovery's own, not the wait of the run (CASES A22).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from assertions.budget_replay import matches
from assertions.definition import (
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    limit_s,
    params_object,
    unclear,
)
from assertions.fault_view import POD_LOSSES, FaultView, fault_views, unproven
from assertions.watching import PODS, WORKLOADS, blind_spots
from assertions.windows import judged_window
from harness.model.experiment import AssertionSpec
from harness.model.facts import PodFact, WorkloadFact
from harness.model.fault import Loss
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

F = TypeVar("F", PodFact, WorkloadFact)

KIND = "workload_recovery"
SCHEMA = params_object(
    {
        "workload": {"type": "string", "pattern": "^[^/]+/[^/]+$", "description": "namespace/name"},
        "within": duration("from a fault's deed until the workload is whole again", "60s"),
        "after": {
            "type": "string",
            "description": "name of a fault; default: every fault that hit its pods",
        },
    },
    required=["workload"],
)
SLOW = "see in the record what took the time: the loss being noticed, the scheduler, the image, or the pod's own start"


@dataclass(frozen=True, slots=True)
class _History:
    """States of a workload and of its pods, in order."""

    workload: Sequence[tuple[float, WorkloadFact]]
    pods: Mapping[str, Sequence[tuple[float, PodFact]]]

    def asked(self, t_s: float) -> WorkloadFact | None:
        return _at(self.workload, t_s)

    def pod(self, uid: str, t_s: float) -> PodFact | None:
        return _at(self.pods[uid], t_s)

    def ready(self, t_s: float) -> int:
        now = (self.pod(uid, t_s) for uid in self.pods)
        return sum(pod is not None and _serves(pod) for pod in now)

    def changes(self, from_s: float) -> list[float]:
        times = {t for t, _ in self.workload} | {t for states in self.pods.values() for t, _ in states}
        return [from_s, *sorted(t for t in times if t > from_s)]


def _at(states: Sequence[tuple[float, F]], t_s: float) -> F | None:
    index = bisect.bisect_right(states, t_s, key=lambda pair: pair[0]) - 1
    return states[index][1] if index >= 0 else None


def _serves(pod: PodFact) -> bool:
    return pod.ready and not (pod.terminating or pod.terminal or pod.deleted)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the recovery after each fault against its own limit (CASES A13, A22, F07)."""
    limit, name = limit_s(spec, SCHEMA, "within"), str(spec.params["workload"])
    expected = f"workload {name} has back what a fault took within {limit:g} s of the deed"
    whole = judged_window(record)
    if whole is None:
        return conclude(spec, [unclear("no load was started", "see why the run ended early")], expected)
    past = _history(record, *name.split("/", 1))
    if past is None:
        reason = f"workload {name} was never seen"
        remedy = "see that its namespace is in the experiment's scope, and that the workload exists"
        return conclude(spec, [unclear(reason, remedy)], expected, window=whole)
    after = spec.params.get("after")
    figures: dict[str, float] = {}
    checks = [_judge_fault(record, past, fault, limit, whole, figures) for fault in _faults(record, past, after)]
    checks += _unproven(record, after)
    if not checks:
        checks = [
            unclear(f"no fault hit a pod of {name}, so there was nothing to recover", "name the fault by `after`")
        ]
    return conclude(spec, checks, expected, window=whole, figures=figures)


def _history(record: Record, namespace: str, name: str) -> _History | None:
    timeline = record.timeline
    states = timeline.facts(WorkloadFact, lambda w: w.namespace == namespace and w.name == name)
    selector = next((w.selector for _, w in reversed(states) if w.selector), None)
    if selector is None:
        return None
    pods: dict[str, list[tuple[float, PodFact]]] = {}
    for t_s, pod in timeline.facts(PodFact, lambda p: p.namespace == namespace and matches(selector, p.labels)):
        pods.setdefault(pod.uid, []).append((t_s, pod))
    return _History(states, pods)


def _unproven(record: Record, after: str | None) -> Iterator[Check]:
    for name in [after] if after else [plan.name for plan in record.experiment.faults]:
        problem = unproven(record, name)
        if problem is not None:
            yield problem


def _faults(record: Record, past: _History, after: str | None) -> Iterator[FaultView]:
    """Yield the proven faults that are to be judged: the one that is named, or all that hit a pod of the workload."""
    for fault in fault_views(record):
        wanted = fault.name == after if after else bool(_hit(past, fault))
        if wanted and unproven(record, fault.name) is None:
            yield fault


def _hit(past: _History, fault: FaultView) -> list[str]:
    """Return uids of the workload's pods that a fault hit, by themselves or by the loss of their node."""
    named = [uid for uid in past.pods if uid in fault.pod_uids]
    if named or fault.loss in POD_LOSSES or fault.loss is not Loss.NODE:
        return named
    there = ((uid, past.pod(uid, fault.touched_s)) for uid in past.pods)
    return [uid for uid, pod in there if pod is not None and _serves(pod) and pod.node in fault.nodes]


def _judge_fault(
    record: Record, past: _History, fault: FaultView, limit: float, whole: Window, figures: dict[str, float]
) -> Check:
    before = past.asked(fault.touched_s)
    acted_s = fault.touched_s if fault.acted_s is None else fault.acted_s
    if before is None or not before.spec_replicas or before.deleted:
        return unclear(f"{fault.name}: no replica was asked for when it struck", "give the workload replicas")
    unseen = _unseen(past, fault, whole)
    if unseen:
        return unclear(f"{fault.name}: {unseen}", "see whether the fault hit this workload, and that it was watched")
    at_s = _whole_again_s(past, fault, before.spec_replicas, Window(acted_s, max(acted_s, whole.end_s)))
    if at_s is None:
        return _not_back(record, past, fault, limit, Window(acted_s, max(acted_s, whole.end_s)))
    took_s = at_s - acted_s
    figures[f"{fault.name}_recovery_s"] = took_s
    text = f"{fault.name}: whole again after {took_s:.1f} s"
    if took_s <= limit:
        return held(text)
    blind = _blind(record, past, Window(acted_s, at_s))
    return (
        unclear(f"{text}, but {blind}", observed=text) if blind else broken(f"{text}, the limit is {limit:g} s", SLOW)
    )


def _unseen(past: _History, fault: FaultView, whole: Window) -> str:
    """Return whom the record does not show to be hit: an untouched workload looks whole at once."""
    hit = _hit(past, fault)
    missed = [uid for uid in hit if _affected_s(past, uid, fault) is None]
    if missed:
        pod = past.pod(missed[0], whole.end_s)
        return f"it is not seen in the record that pod {pod.name if pod else missed[0]} was hit"
    if not hit and not _was_short(past, fault, whole):
        return "the workload was never short of a pod after it, so there was nothing to recover"
    return ""


def _was_short(past: _History, fault: FaultView, whole: Window) -> bool:
    moments = (t for t in past.changes(fault.touched_s) if t < whole.end_s)
    return any(not _complete(past, t, _wanted(past, t, None)) for t in moments)


def _affected_s(past: _History, uid: str, fault: FaultView) -> float | None:
    """Return when a pod was first seen to be hit: gone, terminating, not Ready, or restarted."""
    before = past.pod(uid, fault.touched_s)
    restarts = 0 if before is None else before.restarts
    later = ((t, pod) for t, pod in past.pods[uid] if t > fault.touched_s)
    return next((t for t, pod in later if not _serves(pod) or pod.restarts > restarts), None)


def _whole_again_s(past: _History, fault: FaultView, asked: int, window: Window) -> float | None:
    hit = _hit(past, fault)
    for t_s in past.changes(max(window.start_s, _struck_s(past, fault, hit))):
        if t_s >= window.end_s:
            return None
        if _all_gone(past, fault, hit, t_s) and _complete(past, t_s, _wanted(past, t_s, asked)):
            return t_s
    return None


def _struck_s(past: _History, fault: FaultView, hit: Sequence[str]) -> float:
    """Return when the last pod was seen to be hit; where none is named, when the workload first was short."""
    if hit:
        return max((t for uid in hit if (t := _affected_s(past, uid, fault)) is not None), default=fault.touched_s)
    moments = past.changes(fault.touched_s)
    return next((t for t in moments if not _complete(past, t, _wanted(past, t, None))), fault.touched_s)


def _all_gone(past: _History, fault: FaultView, hit: Sequence[str], t_s: float) -> bool:
    if fault.loss not in POD_LOSSES:
        return True
    left = (past.pod(uid, t_s) for uid in hit)
    return all(pod is None or pod.deleted for pod in left)


def _wanted(past: _History, t_s: float, asked: int | None) -> int:
    """Return how many pods make it whole: what was asked when the fault struck, or less if less is asked by now."""
    now = past.asked(t_s)
    spec = None if now is None or now.deleted else now.spec_replicas
    known = [number for number in (spec, asked) if number is not None]
    return min(known, default=0)


def _complete(past: _History, t_s: float, wanted: int) -> bool:
    now = past.asked(t_s)
    if now is None or now.deleted or wanted < 1 or now.observed_generation < now.generation:
        return False
    return now.available_replicas >= wanted and past.ready(t_s) >= wanted


def _not_back(record: Record, past: _History, fault: FaultView, limit: float, window: Window) -> Check:
    now = past.asked(window.end_s)
    told = "is gone" if now is None or now.deleted else f"had {now.available_replicas} of {now.spec_replicas} available"
    observed = f"{fault.name}: the workload {told} at the end of the record"
    if window.duration_s < limit:
        reason = f"{observed}, {window.duration_s:.0f} s after the deed; {limit:g} s were allowed"
        return unclear(reason, "let the run last longer, or inject earlier", observed)
    blind = _blind(record, past, window)
    if blind:
        return unclear(f"{observed}, but {blind}", "see why the API server could not be watched", observed)
    return broken(f"{observed}: it never recovered within {window.duration_s:.0f} s, the limit is {limit:g} s", SLOW)


def _blind(record: Record, past: _History, window: Window) -> str:
    workload = past.workload[-1][1]
    resources = (PODS, WORKLOADS.get(workload.workload_kind, "deployments"))
    return "; ".join(blind_spots(record, resources, workload.namespace, window))


DEFINITION = Definition(
    kind=KIND,
    question="Did the workload get back in time what a fault took?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("run_completed", "load_reached_floor", "faults_took_effect", "observation_complete"),
    needs_for_fail=(),
)
