"""Faults that take pods away: kill, delete, eviction. Each says which kind of loss it is (CASES A23).

`kill_pods` and `evict_pods` are what an experiment file names; they refuse outside a game day (see `context`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.faults.context import FaultContext, Steps
from experiments.faults.definition import PodDeed, PodFault, perform
from harness.model.facts import PodFact
from harness.model.fault import FaultPlan, Loss

ABRUPT_GRACE_S = 0
RETRY_EVERY_S = 0.5
_WAITING = frozenset({"blocked", "throttled"})
_REPLACED = "uid gone and a pod that did not exist before is Ready, for every victim, within max_hold"


def kill_pods(**arguments: Any) -> dict[str, Any]:
    """Kill pods abruptly: deleted with a grace period of 0 s, as when their machine fails.

    Args:
        **arguments: ``namespace``, ``selector``, and ``count``, or ``share`` of the Ready pods (rounded down, at least
            one).

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(KILL_PODS)


def delete_pods(**arguments: Any) -> dict[str, Any]:
    """Delete pods gracefully, as a person or a controller does: budgets are not asked (CASES A23, F05).

    Args:
        **arguments: As `kill_pods`.

    Returns:
        Victims, effect and reason.
    """
    del arguments
    return perform(DELETE_PODS)


def evict_pods(**arguments: Any) -> dict[str, Any]:
    """Evict pods by the eviction subresource, as a drain does: budgets are asked, and 429 is retried until max_hold.

    Args:
        **arguments: As `kill_pods`.

    Returns:
        Victims, effect and reason.
    """
    del arguments
    return perform(EVICT_PODS)


def _kill(context: FaultContext, plan: FaultPlan, chosen: Sequence[PodFact]) -> Steps[PodDeed]:
    yield from ()  # steps like those of every deed, though this one never waits
    namespace = str(plan.arguments["namespace"])
    # chaosk8s kills by name: a name that another pod has by now must not be hit (a StatefulSet gives names again).
    there = [context.actor.pod(pod.namespace, pod.name) for pod in chosen]
    names = [pod.name for pod, now in zip(chosen, there, strict=True) if now is not None and now.uid == pod.uid]
    accepted = set(context.terminate_pods(namespace, names, ABRUPT_GRACE_S)) if names else set()
    hit = tuple(pod for pod in chosen if pod.name in accepted)
    missed = [pod.name for pod in chosen if pod.name not in accepted]
    problem = f"not killed: {', '.join(missed)}" if missed else ""
    return PodDeed(hit, problem, (("grace_s", ABRUPT_GRACE_S),))


def _delete(context: FaultContext, plan: FaultPlan, chosen: Sequence[PodFact]) -> Steps[PodDeed]:
    yield from ()
    del plan
    hit = tuple(pod for pod in chosen if not context.stopping() and context.actor.delete_pod(pod, None))
    missed = [pod.name for pod in chosen if pod not in hit]
    problem = f"not deleted, or gone already: {', '.join(missed)}" if missed else ""
    return PodDeed(hit, problem, (("grace_s", "the pod's own"),))


def _evict(context: FaultContext, plan: FaultPlan, chosen: Sequence[PodFact]) -> Steps[PodDeed]:
    deadline_s = context.clock.now_s() + plan.max_hold_s
    hit: list[PodFact] = []
    problems: list[str] = []
    for pod in chosen:
        if context.stopping() or (problems and context.clock.now_s() >= deadline_s):
            problems.append(f"{pod.subject} was not asked for any more")
            continue
        problem = yield from _evict_one(context, plan, pod, deadline_s)
        if problem:
            problems.append(problem)
        else:
            hit.append(pod)
    return PodDeed(tuple(hit), "; ".join(problems), (("grace_s", "the pod's own"),))


def _evict_one(context: FaultContext, plan: FaultPlan, pod: PodFact, deadline_s: float) -> Steps[str]:
    """Ask until it is granted; return why it was not, or an empty string."""
    started_s = context.clock.now_s()
    told = ""
    while True:
        answer = context.actor.evict_pod(pod)
        if answer.status == "accepted":
            return ""
        what = f"eviction of {pod.subject} {answer.status}: {answer.message or 'no message'}"
        if answer.status not in _WAITING:
            return what
        if what != told:
            context.note(plan.name, what)
            told = what
        waited_s = context.clock.now_s() - started_s
        if context.stopping() or context.clock.now_s() >= deadline_s:
            return f"{what} (asked for {waited_s:.1f} s)"
        yield from _pause(context, answer.retry_after_s, deadline_s)


def _pause(context: FaultContext, wanted_s: float, deadline_s: float) -> Steps[None]:
    """Wait as long as the API server wants to be left alone, in short steps: a stop or the deadline cuts it short."""
    end_s = min(context.clock.now_s() + wanted_s, deadline_s)
    yield RETRY_EVERY_S
    while context.clock.now_s() < end_s and not context.stopping():
        yield RETRY_EVERY_S


KILL_PODS = PodFault(
    name="kill_pods",
    module=__name__,
    loss=Loss.ABRUPT,
    evidence=_REPLACED,
    deed=_kill,
    verbs=(("list", "pods", ""), ("get", "pods", ""), ("delete", "pods", "")),
)

DELETE_PODS = PodFault(
    name="delete_pods",
    module=__name__,
    loss=Loss.GRACEFUL,
    evidence=_REPLACED,
    deed=_delete,
    verbs=(("list", "pods", ""), ("get", "pods", ""), ("delete", "pods", "")),
)

EVICT_PODS = PodFault(
    name="evict_pods",
    module=__name__,
    loss=Loss.EVICTION,
    evidence=_REPLACED,
    deed=_evict,
    verbs=(("list", "pods", ""), ("get", "pods", ""), ("create", "pods", "eviction")),
)
