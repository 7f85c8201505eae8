"""The states of a node by its name: could it take pods, what was on it, was it as before. Pure.

By name and not by uid: a reclaimed node may come back as a new object.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assertions.temporal import Steps, steps_of
from harness.model.facts import NodeFact, PodFact
from harness.model.record import Record

BLOCKING = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node over time.

    Attributes:
        name: Of the node.
        states: ``(t_s, fact)``, in order.
    """

    name: str
    states: Sequence[tuple[float, NodeFact]]

    def at(self, t_s: float) -> NodeFact | None:
        """Return its state at an instant; None before it was seen, and where it is gone."""
        fact = next((fact for seen_s, fact in reversed(self.states) if seen_s <= t_s), None)
        return None if fact is None or fact.deleted else fact

    def unschedulable(self) -> Steps:
        """Return over time whether it is cordoned; unknown where it is gone."""
        return steps_of((t, None if fact.deleted else float(fact.unschedulable)) for t, fact in self.states)


def node_view(record: Record, name: str) -> NodeView:
    """Look at a node; it has no states where it was never seen."""
    return NodeView(name, record.timeline.facts(NodeFact, lambda node: node.name == name))


def amount(node: NodeFact | None, resource: str) -> float | None:
    """Return how much of a resource a node offers; None where it is not known, 0 where it has none.

    Counted resources, as devices are, have whole numbers; cores may be written in thousandths.
    """
    if node is None:
        return None
    text = node.allocatable.get(resource, "0")
    scale = 0.001 if text.endswith("m") else 1.0
    digits = text.removesuffix("m")
    return float(digits) * scale if digits.isdecimal() else None


def blocking_taints(node: NodeFact) -> frozenset[str]:
    """Return the taints that keep pods away."""
    return frozenset(taint for taint in node.taints if taint.rpartition(":")[2] in BLOCKING)


def pods_on(record: Record, node: str, t_s: float) -> list[PodFact]:
    """Return the pods that were on a node at an instant, of the namespaces that were watched."""
    latest: dict[str, PodFact] = {}
    for seen_s, pod in record.timeline.facts(PodFact):
        if seen_s <= t_s:
            latest[pod.uid] = pod
    return [pod for pod in latest.values() if pod.node == node and not pod.deleted]
