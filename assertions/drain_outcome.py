"""Did a drain end as it was meant to: the nodes emptied, or blocked by the very budget that had to block it?

Pure. Drained means that the uids have left the node, not that evictions were granted (CASES F08). What the drain says
of itself is compared with the watch; neither alone is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assertions.budget_replay import matches, replay
from assertions.definition import (
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    param,
    param_s,
    params_object,
    unclear,
)
from assertions.fault_view import LEFT_STATUSES, FaultView, fault_view, unproven
from assertions.node_view import NodeView, node_view, pods_on
from assertions.temporal import always, spans
from assertions.watching import NODES, PDBS, PODS, blind_spots
from harness.model.experiment import AssertionSpec
from harness.model.facts import PdbFact, PodFact
from harness.model.record import Record
from harness.model.time import PhaseName, Window
from harness.model.verdict import Verdict

KIND = "drain_outcome"
DRAINED, BLOCKED = "drained", "blocked"
SCHEMA = params_object(
    {
        "fault": {"type": "string", "minLength": 1, "description": "name of the drain"},
        "expect": {"enum": [DRAINED, BLOCKED], "default": DRAINED, "description": "how it has to end"},
        "budget": {
            "type": "string",
            "pattern": "^[^/]+/[^/]+$",
            "description": "namespace/name of the budget that has to block it; needed for blocked",
        },
        "within": duration("from the cordon until the last pod has left, or until it gave up; no limit by default"),
    },
    required=["fault"],
)
UNDRAINABLE = ("DaemonSet/", "Node/")
"""Owners whose pods a drain leaves: DaemonSets, and mirror pods of the kubelet."""

LOOK = "see the outcomes of each pod in the fault's events"


@dataclass(frozen=True, slots=True)
class _Drain:
    """A drain, its nodes, and when each pod that had to leave was gone (None: it is still there)."""

    fault: FaultView
    nodes: tuple[NodeView, ...]
    left_s: Mapping[str, float | None]
    names: Mapping[str, str]
    namespaces: tuple[str, ...]
    window: Window


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge a drain by its outcomes, the pods that left, the cordon and the budget (CASES F01, F03, F08)."""
    name, expect = str(spec.params["fault"]), str(param(spec, SCHEMA, "expect"))
    budget = str(spec.params.get("budget", ""))
    expected = f"drain {name} is {expect}" + (f" by budget {budget}" if expect == BLOCKED else "")
    problem, fault = _problem(record, name, expect, budget), fault_view(record, name)
    if problem is not None or fault is None:
        return conclude(spec, [problem or unclear(f"fault {name} was never carried out", LOOK)], expected)
    drain = _drain(record, fault)
    ended = _drained_checks(record, drain) if expect == DRAINED else _blocked_checks(record, drain, budget)
    checks = [*ended, *_time_checks(drain, expect, param_s(spec, SCHEMA, "within"))]
    figures = {"pods": float(len(drain.left_s)), "pods_left_node": float(len(_gone(drain)))}
    evidence = [_line(outcome) for outcome in fault.outcomes][:20]
    return conclude(spec, checks, expected, window=drain.window, evidence=evidence, figures=figures)


def _problem(record: Record, name: str, expect: str, budget: str) -> Check | None:
    if expect == BLOCKED and not budget:
        return unclear("which budget has to block it is not said", "give `budget: namespace/name`")
    problem, fault = unproven(record, name), fault_view(record, name)
    if fault is not None and fault.drained is not None and fault.drained is (expect == BLOCKED):
        return None  # it ended in the other way, and that is proven by the drain's own account and by the watch
    if problem is None and fault is not None and not fault.nodes:
        return unclear(f"fault {name} names no node among its victims", "name a drain")
    return problem


def _drain(record: Record, fault: FaultView) -> _Drain:
    window = Window(fault.touched_s, max(fault.touched_s, _end_s(record)))
    spared = {str(o.get("uid")) for o in fault.outcomes if o.get("status") == "skipped"}
    there = [pod for node in fault.nodes for pod in pods_on(record, node, fault.touched_s)]
    leaving = [pod for pod in there if _evictable(pod) and pod.uid not in spared]
    gone = {pod.uid: t_s for t_s, pod in reversed(record.timeline.facts(PodFact)) if pod.deleted}
    return _Drain(
        fault,
        tuple(node_view(record, node) for node in fault.nodes),
        {pod.uid: gone.get(pod.uid) for pod in leaving},
        {pod.uid: pod.subject for pod in leaving},
        tuple(dict.fromkeys(pod.namespace for pod in leaving)),
        window,
    )


def _evictable(pod: PodFact) -> bool:
    return not pod.terminal and not pod.owner.startswith(UNDRAINABLE)


def _end_s(record: Record) -> float:
    harvest = record.timeline.phase(PhaseName.HARVEST)
    return record.timeline.end_s if harvest is None else harvest.window.start_s


def _until_undo(record: Record, drain: _Drain) -> Window:
    """Return the span from the deed until the undo began: whoever leaves later was not drained."""
    fault = drain.fault
    start_s = fault.touched_s if fault.acted_s is None else fault.acted_s
    end_s = fault.held(record).end_s if fault.undo_start_s is None else fault.undo_start_s
    return Window(start_s, max(start_s, end_s))


def _gone(drain: _Drain) -> list[str]:
    return [uid for uid, t_s in drain.left_s.items() if t_s is not None]


def _line(outcome: Mapping[str, Any]) -> str:
    why = "; ".join(str(outcome[key]) for key in ("reason", "blocked_by") if outcome.get(key))
    return f"{outcome.get('pod')}: {outcome.get('status')}{f' ({why})' if why else ''}"


# Drained --------------------------------------------------------------------------------------------------------------


def _drained_checks(record: Record, drain: _Drain) -> Iterator[Check]:
    span = _until_undo(record, drain)
    late = [uid for uid, t_s in drain.left_s.items() if t_s is None or t_s > span.end_s]
    if drain.fault.drained is False:
        by = ", ".join(drain.fault.blocked_by) or "what its outcomes say"
        yield broken(f"the drain says that it did not empty its nodes: blocked by {by}", LOOK)
    blind = _blind(record, drain, Window(drain.window.start_s, span.end_s))
    if late and not blind:
        names = ", ".join(drain.names[uid] for uid in late[:5])
        yield broken(f"{len(late)} of {len(drain.left_s)} pods had not left when the undo began: {names}", LOOK)
    if blind:
        yield unclear(blind, "see why the API server could not be watched")
    if not drain.left_s:
        yield unclear("no pod that could be evicted was seen on the nodes: nothing was drained", "drain a node in use")
    elif not late:
        yield held(f"{len(drain.left_s)} pods left {', '.join(drain.fault.nodes)}")
    yield from _false_claims(drain)
    for node in drain.nodes:
        yield _cordoned(node, span)


def _false_claims(drain: _Drain) -> Iterator[Check]:
    """Doubt a drain that says of a pod that it left while the watch still has it."""
    said = {str(o.get("uid")) for o in drain.fault.outcomes if o.get("status") in LEFT_STATUSES}
    stale = [uid for uid in said if uid in drain.left_s and drain.left_s[uid] is None]
    for uid in stale[:5]:
        yield broken(f"the drain says that {drain.names[uid]} left, and the watch never saw it go", LOOK)
    if drain.fault.drained is None:
        yield unclear("the drain does not say whether it emptied its nodes", LOOK)


def _cordoned(node: NodeView, span: Window) -> Check:
    steps = node.unschedulable()
    found = spans(steps, span, lambda value: value > 0)
    kept = always(found)
    if kept is False:
        open_s = next(part.start_s for part in found if part.holds is False)
        return broken(f"node {node.name} took pods again at +{open_s:.1f}s, before the undo", "see who uncordoned it")
    if kept is None:
        return unclear(f"it is not known all through whether node {node.name} was cordoned", LOOK)
    return held(f"node {node.name} was cordoned until the undo")


# Blocked --------------------------------------------------------------------------------------------------------------


def _blocked_checks(record: Record, drain: _Drain, budget: str) -> Iterator[Check]:
    named = {*drain.fault.blocked_by, *(b for o in drain.fault.outcomes for b in _budgets(o.get("blocked_by")))}
    if drain.fault.drained is True:
        yield broken(
            f"nothing blocked the drain: {', '.join(drain.fault.nodes)} were emptied", "see the budget's limits"
        )
    elif budget in named:
        stuck = [o for o in drain.fault.outcomes if budget in _budgets(o.get("blocked_by"))]
        longest_s = max((float(o.get("blocked_s") or 0.0) for o in stuck), default=0.0)
        yield held(f"budget {budget} blocked {len(stuck)} pods, for up to {longest_s:.0f} s")
    elif named:
        yield broken(f"it was blocked by {', '.join(sorted(named))} and not by {budget}", "see which budgets overlap")
    else:
        yield unclear("the drain does not say what blocked it", LOOK)
    yield from _budget_checks(record, drain, budget)
    for node in drain.nodes:
        yield _uncordoned(node, drain)


def _budgets(value: Any) -> list[str]:
    return [value] if isinstance(value, str) and value else [str(each) for each in value or ()]


def _budget_checks(record: Record, drain: _Drain, budget: str) -> Iterator[Check]:
    """Look for a pod that was taken below the budget, by our own count."""
    namespace, _, name = budget.partition("/")
    states = record.timeline.facts(PdbFact, lambda pdb: (pdb.namespace, pdb.name) == (namespace, name))
    blind = "; ".join(blind_spots(record, [PODS, PDBS], namespace, drain.window))
    if blind or not states or states[0][0] > drain.window.start_s:
        reason = blind or f"budget {budget} was not seen before the drain"
        yield unclear(reason, "see that its namespace is in the experiment's scope")
        return
    if not _was_seen(record, namespace, states):
        yield unclear(f"no pod of budget {budget} was seen before or in the drain", LOOK)
        return
    seen = replay(record, states, drain.window)
    taken = [breach for breach in seen.breaches if breach.voluntary]
    if taken:
        lost = ", ".join(pod for pod, _ in taken[0].lost)
        reason = (
            f"{taken[0].healthy_min} Ready, {taken[0].desired} demanded, from +{taken[0].start_s:.1f}s (lost: {lost})"
        )
        yield broken(f"pods were evicted below budget {budget}: {reason}", "see the eviction API's answers")
    elif seen.unknown_s > 0:
        yield unclear(f"it is not known what {budget} demands: {seen.unknown_reason}", LOOK)
    else:
        yield held(f"no pod was evicted below it: at least {seen.healthy_min} Ready")


def _was_seen(record: Record, namespace: str, states: Sequence[tuple[float, PdbFact]]) -> bool:
    selector = states[-1][1].selector
    pods = record.timeline.facts(PodFact, lambda pod: pod.namespace == namespace and matches(selector, pod.labels))
    return bool(pods)


def _uncordoned(node: NodeView, drain: _Drain) -> Check:
    before, after = node.at(drain.window.start_s), node.at(drain.window.end_s)
    if before is None or after is None:
        return unclear(f"node {node.name} was not seen before and after the drain", "see that nodes are watched")
    if after.unschedulable and not before.unschedulable:
        return broken(f"node {node.name} is still cordoned at the end of the record", "run `gameday recover`")
    told = "cordoned as before" if after.unschedulable else "schedulable"
    return held(f"node {node.name} is {told} at the end of the record")


# Both -----------------------------------------------------------------------------------------------------------------


def _time_checks(drain: _Drain, expect: str, limit: float | None) -> Iterator[Check]:
    if limit is None:
        return
    if expect == DRAINED:
        ends = [t_s for t_s in drain.left_s.values() if t_s is not None]
        end_s = max(ends) if ends and len(ends) == len(drain.left_s) else None
        what = "the last pod had left"
    else:
        end_s, what = drain.fault.proven_s, "it gave up"
    if end_s is None:
        yield unclear(f"when {what} is not known; {limit:g} s are allowed", LOOK)
        return
    took_s = end_s - drain.fault.touched_s
    text = f"{what} after {took_s:.1f} s"
    yield held(text) if took_s <= limit else broken(f"{text}, the limit is {limit:g} s", LOOK)


def _blind(record: Record, drain: _Drain, window: Window) -> str:
    told = [text for space in drain.namespaces for text in blind_spots(record, [PODS], space, window)]
    return "; ".join([*told, *blind_spots(record, [NODES], "", window)])


DEFINITION = Definition(
    kind=KIND,
    question="Did the drain end as it was meant to?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("run_completed", "load_reached_floor", "observation_complete"),
    needs_for_fail=("run_completed",),
)
