"""Replays pods and a disruption budget change by change: how many were Ready, how many were demanded, who took them.

Pure; it blames, but it does not judge. Rounding follows Kubernetes (`desired_healthy`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from assertions.fault_view import FaultView, fault_views
from harness.model.facts import PdbFact, PodFact, WorkloadFact
from harness.model.fault import Loss
from harness.model.record import Record
from harness.model.time import Window

EVICTED = "EvictionByEvictionAPI"
"""Reason of a pod's condition DisruptionTarget after an eviction (Kubernetes, "Pod disruption conditions")."""

VOLUNTARY = frozenset(loss.value for loss in Loss if loss.voluntary)
"""Causes before which a budget is asked: evictions, also those of a drain."""

DELETION = "deletion"
"""Cause of a pod that was deleted by nobody we know: most often its own controller, when it shrinks."""

WATCH_ORDER_S = 0.5


def desired_healthy(pdb: PdbFact, expected_pods: int | None) -> int | None:
    """Return how many healthy pods a budget demands, rounded as Kubernetes does (CASES F02).

    Percentages are rounded up for both fields; ``maxUnavailable`` is then taken from the expected count, so rounding
    up there allows *more* disruption (Kubernetes, "Specifying a Disruption Budget", rounding logic).

    Args:
        pdb: The budget.
        expected_pods: Sum of the replicas asked of the controllers of its pods; None where it is not known.

    Returns:
        The number, or None where it depends on an unknown count or the budget has neither field.
    """
    if pdb.min_available is not None:
        return _scaled(pdb.min_available, expected_pods)
    unavailable = None if pdb.max_unavailable is None else _scaled(pdb.max_unavailable, expected_pods)
    return None if unavailable is None or expected_pods is None else max(0, expected_pods - unavailable)


def _scaled(value: str, total: int | None) -> int | None:
    number = value.removesuffix("%")
    if not number.isdecimal():  # not what the API server lets through
        return None
    if number == value:
        return int(value)
    return None if total is None else math.ceil(int(number) * total / 100)


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Tell whether labels carry all of a selector. An empty selector of a budget matches every pod (policy/v1)."""
    return all(labels.get(key) == value for key, value in selector.items())


@dataclass(frozen=True, slots=True)
class Breach:
    """A stretch with fewer Ready pods than demanded.

    Attributes:
        start_s: When it began.
        duration_s: How long it lasted within the window.
        healthy_min: Fewest Ready pods in it.
        desired: Most that were demanded in it.
        lost: ``(pod, cause)`` of every pod that was lost at its beginning or in it.
        voluntary: An eviction, also one of a drain, is among the causes.
        by_growth: No pod was lost; the demand rose, as it does while a workload grows under a budget in percent.
    """

    start_s: float
    duration_s: float
    healthy_min: int
    desired: int
    lost: tuple[tuple[str, str], ...]
    voluntary: bool
    by_growth: bool


@dataclass(slots=True)
class Replay:
    """What the replay saw within the window.

    Attributes:
        healthy_min: Fewest Ready pods.
        desired_at_min: What was demanded then.
        headroom_min: Least of Ready minus demanded.
        desired_last: What was demanded at the end.
        evicted: Pods lost by eviction, also by those of a drain.
        unknown_s: How long the demand was not known.
        unknown_reason: Why.
        breaches: In order.
    """

    healthy_min: int = 0
    desired_at_min: int = 0
    headroom_min: int = 0
    desired_last: int | None = None
    evicted: int = 0
    unknown_s: float = 0.0
    unknown_reason: str = ""
    breaches: list[Breach] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Moment:
    t_s: float
    healthy: int
    desired: int | None
    lost: tuple[tuple[str, str], ...]
    reason: str = ""


def replay(record: Record, states: Sequence[tuple[float, PdbFact]], window: Window) -> Replay:
    """Replay a budget's pods over a window.

    Args:
        record: The run.
        states: States of the budget, in order, the first one before the window.
        window: What is looked at; the state at its start is the first moment.
    """
    return _summary(list(_within(_moments(record, states), window)), window.end_s)


class Causes:
    """What faults did: to a pod by its uid, and to whatever was on a node while it was lost."""

    def __init__(self, faults: Sequence[FaultView], record: Record) -> None:
        """Look at the faults of a run."""
        self._by_uid = {uid: fault.loss.value for fault in faults for uid in fault.pod_uids}
        self._lost = [(fault.held(record), fault.nodes) for fault in faults if fault.loss is Loss.NODE]

    def of(self, t_s: float, pod: PodFact) -> str:
        """Return the kind of loss that took a pod, or an empty text."""
        on_lost_node = any(held.contains(t_s) and pod.node in nodes for held, nodes in self._lost)
        return self._by_uid.get(pod.uid) or (Loss.NODE.value if on_lost_node else "")


class _World:
    """The present: pods of the budget, its workloads, and the budget."""

    def __init__(self, causes: Causes) -> None:
        self.pdb: PdbFact | None = None
        self.healthy: dict[str, str] = {}
        self.workloads: dict[str, WorkloadFact] = {}
        self._causes = causes

    def take(self, t_s: float, fact: PodFact | WorkloadFact | PdbFact) -> tuple[tuple[str, str], ...]:
        """Take in a state; return the pods that were lost by it, with their causes."""
        if isinstance(fact, PdbFact):
            self.pdb = fact
        elif isinstance(fact, WorkloadFact):
            self.workloads[fact.uid] = fact
        else:
            return self._take_pod(t_s, fact)
        return ()

    def _take_pod(self, t_s: float, pod: PodFact) -> tuple[tuple[str, str], ...]:
        counts = pod.ready and not (pod.terminating or pod.terminal or pod.deleted)
        if counts and self.pdb is not None and matches(self.pdb.selector, pod.labels):
            self.healthy[pod.uid] = pod.name
            return ()
        name = self.healthy.pop(pod.uid, None)
        return () if name is None else ((name, self._cause(t_s, pod)),)

    def _cause(self, t_s: float, pod: PodFact) -> str:
        known = self._causes.of(t_s, pod)
        if pod.disruption == EVICTED:
            return known if known == Loss.DRAIN.value else Loss.EVICTION.value
        if known:
            return known
        if pod.disruption:
            return pod.disruption
        return (
            "deletion" if pod.terminating or pod.deleted else f"not Ready any more{pod.reason and f' ({pod.reason})'}"
        )

    def demand(self) -> tuple[int | None, str]:
        """Return what the budget demands now, or None and why it is not known."""
        if self.pdb is None:
            return None, "no budget yet"
        if self.pdb.computed is False:
            return None, "the controller cannot compute it"
        mine = [w for w in self.workloads.values() if not w.deleted and matches(self.pdb.selector, w.selector)]
        asked = [w.spec_replicas for w in mine if w.spec_replicas is not None]
        expected = sum(asked) if asked else self.pdb.expected_pods
        return desired_healthy(self.pdb, expected), "the number of expected pods is not known"


def _moments(record: Record, states: Sequence[tuple[float, PdbFact]]) -> Iterator[_Moment]:
    pdb = states[0][1]
    timeline = record.timeline
    pods = timeline.facts(PodFact, lambda p: p.namespace == pdb.namespace)
    workloads = timeline.facts(WorkloadFact, lambda w: w.namespace == pdb.namespace)
    world = _World(Causes(fault_views(record), record))
    world.pdb = pdb  # its selector says which pods count, also for pods that were listed before it
    merged: list[tuple[float, PodFact | WorkloadFact | PdbFact]] = [*states, *workloads, *pods]
    for t_s, fact in sorted(merged, key=lambda pair: pair[0]):
        lost = world.take(t_s, fact)
        desired, reason = world.demand()
        yield _Moment(t_s, len(world.healthy), desired, lost, reason if desired is None else "")


def _within(moments: Iterator[_Moment], window: Window) -> Iterator[_Moment]:
    """Yield the state at the window's start, then every moment inside."""
    before: _Moment | None = None
    for moment in moments:
        if moment.t_s >= window.end_s:
            break
        if moment.t_s <= window.start_s:
            before = moment
            continue
        if before is not None:
            yield _Moment(window.start_s, before.healthy, before.desired, (), before.reason)
            before = None
        yield moment
    if before is not None:
        yield _Moment(window.start_s, before.healthy, before.desired, (), before.reason)


def _summary(moments: Sequence[_Moment], end_s: float) -> Replay:
    seen = Replay()
    ends = [m.t_s for m in moments[1:]] + [end_s]
    known = [m for m in moments if m.desired is not None]
    if known:
        lowest = min(known, key=lambda m: m.healthy)
        seen.healthy_min, seen.desired_at_min = lowest.healthy, lowest.desired or 0
        seen.headroom_min = min(m.healthy - (m.desired or 0) for m in known)
        seen.desired_last = moments[-1].desired
    seen.evicted = sum(cause in VOLUNTARY for m in moments for _, cause in m.lost)
    unknown = [(m, end) for m, end in zip(moments, ends, strict=True) if m.desired is None]
    seen.unknown_s = sum(end - m.t_s for m, end in unknown)
    seen.unknown_reason = unknown[0][0].reason if unknown else ""
    seen.breaches = list(_breaches(moments, end_s))
    return seen


def _breaches(moments: Sequence[_Moment], end_s: float) -> Iterator[Breach]:
    """Fold moments below the demand into breaches; each is blamed on the losses that made or deepened it."""
    part: list[_Moment] = []
    before: _Moment | None = None
    for moment in moments:
        if moment.desired is not None and moment.healthy < moment.desired:
            part.append(moment)
            continue
        if part and not _of_watch_order(part, moment):
            yield _breach(before, part, moment.t_s)
        part, before = [], moment
    if part:
        yield _breach(before, part, end_s)


def _of_watch_order(part: Sequence[_Moment], after: _Moment) -> bool:
    """Tell whether a shortfall is only the order in which two watches were read.

    Pods and workloads are watched apart. When a workload shrinks, its pods may be seen to go a moment before its own
    ``replicas`` is seen to fall; then the demand falls and no pod comes back.
    """
    short = after.t_s - part[0].t_s < WATCH_ORDER_S
    plain = all(cause == DELETION for moment in part for _, cause in moment.lost)
    fell = after.desired is not None and after.desired < (part[-1].desired or 0)
    return short and plain and fell and after.healthy <= part[-1].healthy


def _breach(before: _Moment | None, part: Sequence[_Moment], end_s: float) -> Breach:
    lost = tuple(pair for moment in part for pair in moment.lost)
    grew = before is not None and before.desired is not None and (part[0].desired or 0) > before.desired
    return Breach(
        start_s=part[0].t_s,
        duration_s=end_s - part[0].t_s,
        healthy_min=min(moment.healthy for moment in part),
        desired=max(moment.desired or 0 for moment in part),
        lost=lost,
        voluntary=any(cause in VOLUNTARY for _, cause in lost),
        by_growth=grew and not lost,
    )
