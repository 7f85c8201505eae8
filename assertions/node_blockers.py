"""What keeps an autoscaler from removing a node: pods that it may not move, budgets, annotations. Pure.

Source: Cluster Autoscaler, FAQ, "What types of pods can prevent CA from removing a node?". Only pods of the namespaces
that were watched can be told.
"""

from __future__ import annotations

from collections.abc import Iterator

from assertions.budget_replay import matches
from assertions.node_timers import Timers
from assertions.node_view import pods_on
from harness.model.facts import NodeFact, PdbFact, PodFact
from harness.model.record import Record

SYSTEM = "kube-system"
WITH_LOCAL_STORAGE, WITH_SYSTEM_PODS = "skip-nodes-with-local-storage", "skip-nodes-with-system-pods"
STAYING = ("DaemonSet/", "Node/")
"""Owners of pods that are on every node by default, and keep none."""


def blockers(record: Record, node: NodeFact, t_s: float, timers: Timers) -> list[str]:
    """Return, in words, what keeps a node at an instant; empty where nothing that was watched does."""
    found = [f"node {node.name} has the annotation scale-down-disabled"] if node.kept else []
    budgets = _budgets(record, t_s)
    for pod in movable_pods(record, node.name, t_s):
        found += [f"pod {pod.subject} on {node.name} {why}" for why in _reasons(pod, budgets, timers)]
    return found


def movable_pods(record: Record, node: str, t_s: float) -> list[PodFact]:
    """Return the pods on a node that would have to move for it to go, by name."""
    pods = (p for p in pods_on(record, node, t_s) if not p.terminal and not p.owner.startswith(STAYING))
    return sorted(pods, key=lambda pod: pod.subject)


def _reasons(pod: PodFact, budgets: list[PdbFact], timers: Timers) -> Iterator[str]:
    mine = [b for b in budgets if b.namespace == pod.namespace and matches(b.selector, pod.labels)]
    if pod.safe_to_evict is False:
        yield "is annotated safe-to-evict: false"
    elif pod.safe_to_evict is None:
        if pod.local_volumes and not timers.is_off(WITH_LOCAL_STORAGE):
            yield f"has local storage ({', '.join(pod.local_volumes)})"
        if pod.namespace == SYSTEM and not mine and not timers.is_off(WITH_SYSTEM_PODS):
            yield f"is of {SYSTEM} and has no budget"
        if not pod.owner:
            yield "has no controller"
    for budget in mine:
        if budget.disruptions_allowed == 0:
            yield f"is held by budget {budget.subject}, which allows no disruption"


def _budgets(record: Record, t_s: float) -> list[PdbFact]:
    latest: dict[str, PdbFact] = {}
    for seen_s, budget in record.timeline.facts(PdbFact):
        if seen_s <= t_s:
            latest[budget.uid] = budget
    return [budget for budget in latest.values() if not budget.deleted]
