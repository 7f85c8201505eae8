"""One view of an autoscaler, its target and the target's pods, from what was watched. Pure; it judges no limit.

``spec.replicas`` of the target says what was asked, Ready pods say what it has; the HPA's status is a hint that lags
behind (CASES F12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assertions.budget_replay import matches
from assertions.temporal import Steps, steps_of
from assertions.windows import stage_window
from harness.model.facts import HpaFact, PodFact, ScaledObjectFact, WorkloadFact
from harness.model.load import RequestOutcome
from harness.model.record import Record
from harness.model.time import Window

HPA, SCALED_OBJECT = "hpa", "scaledobject"
WATCH_ORDER_S = 0.5
"""Pods and workloads are watched apart: a pod may be seen this much before the patch that asked for it."""


@dataclass(frozen=True, slots=True)
class ScalerRef:
    """``hpa/NAMESPACE/NAME`` or ``scaledobject/NAMESPACE/NAME``."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ScalerRef:
        """Read a reference; the params schema has checked its form."""
        kind, namespace, name = text.split("/", 2)
        return cls(kind, namespace, name)

    def __str__(self) -> str:
        """Return ``hpa agents/planner``."""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ScalingView:
    """An autoscaler and what it scales.

    Attributes:
        ref: The autoscaler.
        states: ``(t_s, fact)`` of the object that the experiment names.
        hpa: ``(t_s, fact)`` of the HPA itself (for a ScaledObject: the one that KEDA made).
        target: ``Kind/name`` of the workload.
        asked: ``spec.replicas`` of the workload over time.
        pods: ``(t_s, fact)`` of the workload's pods.
    """

    ref: ScalerRef
    states: Sequence[tuple[float, HpaFact | ScaledObjectFact]]
    hpa: Sequence[tuple[float, HpaFact]]
    target: str
    asked: Steps
    pods: Sequence[tuple[float, PodFact]]

    @property
    def max_replicas(self) -> int:
        """Upper limit, as last written."""
        return self.states[-1][1].max_replicas

    @property
    def pod_names(self) -> frozenset[str]:
        """Names of all pods of the workload."""
        return frozenset(pod.name for _, pod in self.pods)


def scaling_view(record: Record, ref: ScalerRef) -> ScalingView | None:
    """Look at an autoscaler; None where no state of it was ever seen."""
    timeline = record.timeline
    states: list[tuple[float, HpaFact | ScaledObjectFact]]
    if ref.kind == HPA:
        hpas = timeline.facts(HpaFact, lambda f: (f.namespace, f.name) == (ref.namespace, ref.name))
        states = [*hpas]
    else:
        objects = timeline.facts(ScaledObjectFact, lambda f: (f.namespace, f.name) == (ref.namespace, ref.name))
        made = next((f.hpa_name for _, f in reversed(objects) if f.hpa_name), f"keda-hpa-{ref.name}")
        hpas = timeline.facts(HpaFact, lambda f: (f.namespace, f.name) == (ref.namespace, made))
        states = [*objects]
    if not states:
        return None
    target = next((fact.target for _, fact in reversed(states) if fact.target), "")
    workload = timeline.facts(
        WorkloadFact, lambda f: f.namespace == ref.namespace and f.name == target.rpartition("/")[2]
    )
    asked = steps_of((t_s, None if f.deleted else f.spec_replicas) for t_s, f in workload)
    selector = next((f.selector for _, f in reversed(workload) if f.selector), None)
    pods = (
        []
        if selector is None
        else timeline.facts(PodFact, lambda p: p.namespace == ref.namespace and matches(selector, p.labels))
    )
    return ScalingView(ref, states, hpas, target, asked, pods)


@dataclass(frozen=True, slots=True)
class Chain:
    """The stages of the first answer to a burst, as instants; None where a stage was not seen.

    Attributes:
        start_s: Start of the burst.
        signal_s: The scaler's signal crossed.
        signal: Which signal, and its value; empty where none can be read.
        desired_s: The HPA's status said so (a hint).
        asked_s: ``spec.replicas`` rose.
        before: Replicas asked before.
        after: Replicas asked then.
        scheduled_s: As many new pods as were asked for have a node.
        ready_s: As many new pods as were asked for have become Ready.
        first_ready_s: The first new pod became Ready.
        scheduled: New pods that ever had a node.
        ready: New pods that ever became Ready.
        answer_s: The first good answer came from a new pod.
        answers_known: Whether the request log says which pod answered.
    """

    start_s: float
    before: float
    signal_s: float | None = None
    signal: str = ""
    desired_s: float | None = None
    asked_s: float | None = None
    after: float = 0.0
    scheduled_s: float | None = None
    ready_s: float | None = None
    first_ready_s: float | None = None
    scheduled: int = 0
    ready: int = 0
    answer_s: float | None = None
    answers_known: bool = False


def chain_of(record: Record, view: ScalingView, window: Window) -> Chain:
    """Find the stages of the first answer to a burst that lasts over a window."""
    before = view.asked.at(window.start_s)
    signal_s, signal = _signal(record, view, window)
    desired = (t for t, f in view.hpa if window.contains(t) and (f.desired_replicas or 0) > before)
    rise = next(((t, to) for t, old, to in view.asked.changes() if window.contains(t) and to > before), None)
    desired_s = next(desired, None)
    if rise is None:
        return Chain(window.start_s, before, signal_s, signal, desired_s)
    asked_s, after = rise
    news = _new_pods(view, asked_s)
    wanted = int(after - before)
    scheduled, ready = _times(news, "node"), _times(news, "ready")
    answer_s, known = _first_answer(record, view, news)
    return Chain(
        window.start_s, before, signal_s, signal, desired_s, asked_s, after,
        scheduled_s=scheduled[wanted - 1] if len(scheduled) >= wanted else None,
        ready_s=ready[wanted - 1] if len(ready) >= wanted else None,
        first_ready_s=ready[0] if ready else None,
        scheduled=len(scheduled), ready=len(ready), answer_s=answer_s, answers_known=known,
    )  # fmt: skip


def _signal(record: Record, view: ScalingView, window: Window) -> tuple[float | None, str]:
    """Return when the scaler's signal crossed, and which one it was; the text says so where it never did."""
    targets = [f.cpu_target_percent for _, f in view.hpa if f.cpu_target_percent]
    if targets:
        limit = targets[-1] * (1 + view.hpa[-1][1].up_tolerance_ratio)
        steps = steps_of((t, f.cpu_current_percent) for t, f in view.hpa)
        return _crossing(steps, window, limit, f"CPU at {{value:.0f}} % of requests (target {targets[-1]} %)")
    metric = steps_of((t, max(f.metric_current.values(), default=None)) for t, f in view.hpa)
    if np.isfinite(metric.within(window).values).any():
        least = metric.at(window.start_s)
        return _crossing(metric, window, 0.0 if np.isnan(least) else least, "metric of the HPA at {value:g}")
    return _queue_signal(record, window)


def _queue_signal(record: Record, window: Window) -> tuple[float | None, str]:
    found = record.harvest.series("queue_depth")
    if not found:
        return None, ""
    depth = Steps(found[0].t_s, found[0].values)
    baseline = stage_window(record, "baseline")
    calm = 0.0 if baseline is None else float(np.nan_to_num(depth.within(baseline).values).max())
    return _crossing(depth, window, calm, "queue depth at {value:.0f}")


def _crossing(steps: Steps, window: Window, limit: float, text: str) -> tuple[float | None, str]:
    part = steps.within(window)
    above = np.flatnonzero(np.isfinite(part.values) & (part.values > limit))
    if len(above):
        return float(part.t_s[above[0]]), text.format(value=part.values[above[0]])
    known = part.values[np.isfinite(part.values)]
    return None, text.format(value=known.max()) if len(known) else ""


def _new_pods(view: ScalingView, asked_s: float) -> list[list[tuple[float, PodFact]]]:
    """Return the states of each pod that was first seen after the patch."""
    by_uid: dict[str, list[tuple[float, PodFact]]] = {}
    for t_s, pod in view.pods:
        by_uid.setdefault(pod.uid, []).append((t_s, pod))
    return [states for states in by_uid.values() if states[0][0] >= asked_s - WATCH_ORDER_S]


def _times(news: Sequence[Sequence[tuple[float, PodFact]]], field: str) -> list[float]:
    """Return in order when each pod first had a node, or first was Ready."""
    firsts = (next((t for t, p in states if getattr(p, field) and not p.terminating), None) for states in news)
    return sorted(t for t in firsts if t is not None)


def _first_answer(
    record: Record, view: ScalingView, news: Sequence[Sequence[tuple[float, PodFact]]]
) -> tuple[float | None, bool]:
    requests = record.requests
    if requests.empty:
        return None, False
    if not requests["pod"].isin(view.pod_names).any():
        return None, False
    names = {states[0][1].name for states in news}
    mine = (requests["pod"].isin(names) & (requests["outcome"] == RequestOutcome.OK.value)).to_numpy()
    if not mine.any():
        return None, True
    start_s, latency_s = (requests[name].to_numpy(dtype=np.float64)[mine] for name in ("start_s", "latency_s"))
    return float((start_s + latency_s).min()), True
