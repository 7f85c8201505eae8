"""Did the important pods take what they needed from the unimportant ones, and only from them?

Pure. While capacity was exhausted, pods of one selector became Ready because the scheduler preempted pods of another,
of lower priority; none of the first was preempted. Order in time decides, not the fact that both happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
from assertions.fault_view import fault_view, unproven
from assertions.pod_lives import NAMESPACE, SELECTOR, PodLife, pod_lives
from assertions.watching import PODS, blind_spots
from assertions.windows import judged_window
from harness.model.experiment import AssertionSpec
from harness.model.fault import Loss
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "preemption"
SCHEMA = params_object(
    {
        "namespace": NAMESPACE,
        "selector": SELECTOR | {"description": "pods that must win, such as app=inference"},
        "victims": {
            **params_object({"namespace": NAMESPACE, "selector": SELECTOR}, ["namespace", "selector"]),
            "description": "pods that may be preempted",
        },
        "during": {"type": "string", "description": "fault that takes the capacity; default: the first that does"},
        "ready_within": duration("from the making of a pod that must win until it is Ready", "60s"),
    },
    required=["namespace", "selector", "victims"],
)
WATCH_ORDER_S = 0.5
"""Pods of two namespaces are watched apart: the order of two instants is not known closer than this."""

LOOK = "see the priority classes of both, and the events of the scheduler"


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge who was preempted for whom while a fault held the capacity."""
    selector, victims = str(spec.params["selector"]), spec.params["victims"]
    expected = (
        f"while capacity is exhausted, pods of {selector} become Ready by preempting pods of {victims['selector']}"
    )
    name = _fault_name(record, spec)
    problem = _no_fault() if name is None else unproven(record, name)
    fault = None if name is None else fault_view(record, name)
    whole = judged_window(record)
    if problem is not None or fault is None or whole is None:
        return conclude(spec, [problem or unclear("no load was started", "see why the run ended early")], expected)
    window = fault.held(record)
    winners = pod_lives(record, str(spec.params["namespace"]), selector)
    losers = pod_lives(record, str(victims["namespace"]), str(victims["selector"]))
    checks = _checks(record, spec, (winners, losers), window, whole)
    evidence = [_line(life) for life in losers if life.preempted_s is not None]
    figures = {"preempted_pods": float(len(evidence)), **_times(winners, window)}
    return conclude(spec, checks, expected, window=window, evidence=evidence[:10], figures=figures)


def _fault_name(record: Record, spec: AssertionSpec) -> str | None:
    named = spec.params.get("during")
    takers = (plan.name for plan in record.experiment.faults if plan.loss is Loss.CAPACITY)
    return str(named) if named else next(takers, None)


def _no_fault() -> Check:
    return unclear("no fault of the method takes capacity", "name the fault by `during`")


def _line(life: PodLife) -> str:
    where = f" from {life.node}" if life.node else ""
    return f"+{life.preempted_s:.1f}s {life.name} (priority {life.priority}) was preempted{where}"


def _times(winners: Sequence[PodLife], window: Window) -> Mapping[str, float]:
    took = [w.ready_s - w.created_s for w in winners if w.ready_s is not None and window.contains(w.created_s)]
    return {"ready_max_s": max(took)} if took else {}


Lives = tuple[Sequence[PodLife], Sequence[PodLife]]


def _checks(record: Record, spec: AssertionSpec, lives: Lives, window: Window, whole: Window) -> list[Check]:
    winners, losers = lives
    blind = _blind(record, spec, window)
    lost = [*_lost_winners(winners, whole)]
    wanting = [w for w in winners if window.contains(w.created_s) or _waited_into(w, window)]
    if not wanting:
        reason = f"no pod of {spec.params['selector']} was made or waited while the capacity was taken"
        return [*lost, unclear(reason, "let it scale while the fault holds")]
    limit = limit_s(spec, SCHEMA, "ready_within")
    found = [_winner_check(w, losers, window, limit) for w in wanting]
    none_preempted = not any(_preempted_for(w, losers) for w in wanting)
    if none_preempted and not any(check.reason for check in found):
        found = [unclear("they became Ready and no pod was preempted for them: there was room", LOOK)]
    proven = [check for check in found if check.reason] or found[:1]
    if blind:
        proven = [unclear(blind, "see why the API server could not be watched")]
    return [*lost, *proven, *_priority_checks(wanting, losers)]


def _blind(record: Record, spec: AssertionSpec, window: Window) -> str:
    spaces = dict.fromkeys([str(spec.params["namespace"]), str(spec.params["victims"]["namespace"])])
    return "; ".join(text for space in spaces for text in blind_spots(record, [PODS], space, window))


def _waited_into(life: PodLife, window: Window) -> bool:
    alive = life.gone_s is None or life.gone_s > window.start_s
    waits = life.scheduled_s is None or life.scheduled_s > window.start_s
    return life.created_s < window.start_s and alive and waits


def _lost_winners(winners: Sequence[PodLife], whole: Window) -> Iterator[Check]:
    for life in winners:
        if life.preempted_s is not None and whole.contains(life.preempted_s):
            yield broken(f"{life.name} was itself preempted at +{life.preempted_s:.1f}s", LOOK)


def _preempted_for(winner: PodLife, losers: Sequence[PodLife]) -> list[PodLife]:
    """Return pods that were preempted after a pod was made and before it got its node, on that node if it is known."""
    until_s = winner.scheduled_s if winner.scheduled_s is not None else winner.ready_s
    if until_s is None:
        return []
    return [
        loser
        for loser in losers
        if loser.preempted_s is not None
        and winner.created_s - WATCH_ORDER_S <= loser.preempted_s <= until_s + WATCH_ORDER_S
        and (not (loser.node and winner.node) or loser.node == winner.node)
    ]


def _winner_check(winner: PodLife, losers: Sequence[PodLife], window: Window, limit: float) -> Check:
    since_s = max(winner.created_s, window.start_s)
    if winner.ready_s is None or winner.ready_s >= window.end_s:
        waited_s = window.end_s - since_s
        text = f"{winner.name} was not Ready after {waited_s:.1f} s ({winner.reason or 'no reason given'})"
        if waited_s < limit:
            return unclear(f"{text}, when the capacity came back; {limit:g} s are allowed", "hold the fault longer")
        return broken(f"{text}, the limit is {limit:g} s", LOOK)
    took_s = winner.ready_s - since_s
    by = ", ".join(loser.name for loser in _preempted_for(winner, losers)) or "nobody"
    text = f"{winner.name} was Ready after {took_s:.1f} s (preempted for it: {by})"
    return held(text) if took_s <= limit else broken(f"{text}, the limit is {limit:g} s", LOOK)


def _priority_checks(winners: Sequence[PodLife], losers: Sequence[PodLife]) -> Iterator[Check]:
    pairs: list[tuple[Any, Any]] = [(w, loser) for w in winners for loser in _preempted_for(w, losers)]
    for winner, loser in pairs:
        if winner.priority is None or loser.priority is None:
            yield unclear(f"the priority of {winner.name} or {loser.name} is not known", LOOK)
            return
        if winner.priority <= loser.priority:
            priorities = f"priority {loser.priority}, of {winner.name} {winner.priority}"
            yield broken(f"{loser.name} ({priorities}) was preempted though it is not lower", LOOK)
            return


DEFINITION = Definition(
    kind=KIND,
    question="Did important pods get their capacity from unimportant ones?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("run_completed", "load_reached_floor", "faults_took_effect", "observation_complete"),
    needs_for_fail=("faults_took_effect",),
)
