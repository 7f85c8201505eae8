"""The life of each pod of a selector: made, scheduled, Ready, preempted, gone, as instants of the run. Pure.

Instants are those at which the watch saw a change. Where it saw a pod only later (it was listed), the pod's own times
count, which the API rounds down to whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assertions.budget_replay import matches
from harness.model.facts import PodFact
from harness.model.record import Record
from harness.model.selector import parse_selector

PREEMPTED = "PreemptionByScheduler"
"""Reason of a pod's condition DisruptionTarget after a preemption (Kubernetes, "Pod disruption conditions")."""

SELECTOR = {"type": "string", "format": "selector", "description": "labels, such as app=planner"}
NAMESPACE = {"type": "string", "minLength": 1, "description": "namespace of the pods; it must be in the scope"}


@dataclass(frozen=True, slots=True)
class PodLife:
    """What became of one pod; None where it was not seen.

    Attributes:
        uid: Of the pod.
        name: Of the pod.
        created_s: It was made.
        scheduled_s: It got a node.
        ready_s: It was first Ready.
        preempted_s: The scheduler took it away for another.
        gone_s: It was gone.
        ended_s: It had ended for good (Succeeded or Failed).
        node: Its node, or empty.
        priority: Its priority; None where it is not known.
        reason: What it last said while it had no node.
    """

    uid: str
    name: str
    created_s: float
    scheduled_s: float | None
    ready_s: float | None
    preempted_s: float | None
    gone_s: float | None
    ended_s: float | None
    node: str
    priority: int | None
    reason: str


def pod_lives(record: Record, namespace: str, selector: str) -> list[PodLife]:
    """Return the pods that ever carried a selector, in the order in which they were made."""
    labels = parse_selector(selector)
    by_uid: dict[str, list[tuple[float, PodFact]]] = {}
    for t_s, pod in record.timeline.facts(PodFact, lambda p: p.namespace == namespace):
        by_uid.setdefault(pod.uid, []).append((t_s, pod))
    origin_unix_s = record.timeline.origin.timestamp()
    kept = (states for states in by_uid.values() if any(matches(labels, pod.labels) for _, pod in states))
    return sorted((_life(states, origin_unix_s) for states in kept), key=lambda life: life.created_s)


def _life(states: Sequence[tuple[float, PodFact]], origin_unix_s: float) -> PodLife:
    created_s, first = states[0]
    last = states[-1][1]
    waiting = [pod for _, pod in states if not pod.node]
    firsts = {
        name: next((t for t, pod in states if test(pod)), None)
        for name, test in (
            ("node", lambda p: bool(p.node)),
            ("ready", lambda p: p.ready),
            ("preempted", lambda p: p.disruption == PREEMPTED),
            ("gone", lambda p: p.deleted),
            ("ended", lambda p: p.terminal),
        )
    }
    if first.created_unix_s is not None and _was_listed(created_s, first, origin_unix_s):
        created_s = first.created_unix_s - origin_unix_s
        if first.node and first.scheduled_unix_s is not None:
            firsts["node"] = first.scheduled_unix_s - origin_unix_s
        if first.ready and first.ready_unix_s is not None:
            firsts["ready"] = first.ready_unix_s - origin_unix_s
    return PodLife(
        last.uid, last.name, created_s, firsts["node"], firsts["ready"], firsts["preempted"], firsts["gone"],
        firsts["ended"],
        node=next((pod.node for _, pod in reversed(states) if pod.node), ""),
        priority=last.priority,
        reason=next((pod.reason for pod in reversed(waiting) if pod.reason), ""),
    )  # fmt: skip


SEEN_LATE_S = 2.0
"""A pod that is seen more than this after its own creation time (whole seconds) was not seen to be made."""


def _was_listed(seen_s: float, pod: PodFact, origin_unix_s: float) -> bool:
    return pod.created_unix_s is not None and seen_s - (pod.created_unix_s - origin_unix_s) > SEEN_LATE_S
