"""A simulated autoscaler of nodes: it adds one for pods that find none, and removes those that nobody uses.

It looks every few seconds, tells of itself as the Cluster Autoscaler does, and has short timers. It adds nodes of the
general pool alone, and only those, once their pods fit elsewhere, go again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from harness.fakes.cluster import EVICTED, SimulatedCluster
from harness.fakes.nodes import POOL as POOL_LABEL
from harness.fakes.nodes import SimNode, new_node
from harness.fakes.scheduling import closed
from harness.fakes.switches import Switches
from harness.model.facts import NodeAutoscalerFact, NodeAutoscalerFlagsFact

POOL, ZONE = "general", "zone-a"
SCAN_S, UNNEEDED_S, AFTER_ADD_S = 5.0, 30.0, 30.0
KUBELET_S, DELETION_S = 3.0, 4.0
MAXIMUM_MORE = 3
"""Nodes that may come beside those of the platform."""

ROOM = 1
"""Pods that each node of the pool still takes when the run begins: a burst does not fit."""

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
CANDIDATE, LEAVING = "DeletionCandidateOfClusterAutoscaler", "ToBeDeletedByClusterAutoscaler"


@dataclass
class _Added:
    """A node of the autoscaler's own making; None for what has not come to pass."""

    node: SimNode
    ready_at_s: float
    unneeded_s: float | None = None
    gone_at_s: float | None = None


@dataclass
class SimNodeAutoscaler:
    """The autoscaler.

    Attributes:
        cluster: Whose nodes it scales.
        status: ``namespace/name`` of what it tells of itself.
        switches: How it misbehaves.
    """

    cluster: SimulatedCluster
    status: str
    switches: Switches
    _added: list[_Added] = field(default_factory=list)
    _due_s: float | None = None
    _last_add_s: float = float("-inf")
    _next_s: float = 0.0
    _made: int = 0

    def __post_init__(self) -> None:
        """Fill the pool up to its last places, and tell of itself."""
        self._uid = self.cluster.new_uid()
        self._pool = [node for node in self.cluster.nodes.values() if node.name.startswith(f"{POOL}-")]
        for node in self._pool:
            node.obj["status"]["allocatable"]["pods"] = str(len(self.cluster.pods_on(node.name)) + ROOM)
            self.cluster.publish(node.fact())
        flags = {
            "scan-interval": f"{SCAN_S:g}s",
            "scale-down-unneeded-time": f"{UNNEEDED_S:g}s",
            "scale-down-delay-after-add": f"{AFTER_ADD_S:g}s",
        }
        namespace = self.status.partition("/")[0]
        made = NodeAutoscalerFlagsFact(self.cluster.new_uid(), namespace, "cluster-autoscaler", flags=flags)
        self.cluster.publish(made)
        self._tell()

    def step(self, now_s: float) -> None:
        """Let nodes become Ready and go; look, if it is time."""
        for added in list(self._added):
            self._live(added, now_s)
        if self._due_s is not None and now_s >= self._due_s:
            self._add(now_s)
        if now_s < self._next_s:
            return
        self._next_s = now_s + SCAN_S
        if self._due_s is None and len(self._added) < MAXIMUM_MORE and self._waits():
            self._due_s = now_s + self.switches.node_start_s
        for added in self._added:
            self._weigh(added, now_s)
        self._tell()

    def _waits(self) -> bool:
        template = new_node("", "template", ZONE, POOL).obj
        settling = any(not added.node.ready for added in self._added)
        waiting = (p for p in self.cluster.pods if not p.fact.node and p.fact.reason == "Unschedulable")
        return not settling and any(not p.fact.terminating and not closed(template, p.spec) for p in waiting)

    def _add(self, now_s: float) -> None:
        self._due_s, self._last_add_s, self._made = None, now_s, self._made + 1
        node = new_node(self.cluster.new_uid(), f"{POOL}-added-{self._made}", ZONE, POOL)
        node.mark(ready=False)
        _taint(node, [NOT_READY])
        self.cluster.nodes[node.name] = node
        self._added.append(_Added(node, now_s + KUBELET_S))
        self.cluster.publish(node.fact())

    def _live(self, added: _Added, now_s: float) -> None:
        if not added.node.ready and added.node.silent_s is None and now_s >= added.ready_at_s:
            added.node.mark(ready=True)
            _taint(added.node, [])
            self.cluster.publish(added.node.fact())
        if added.gone_at_s is not None and now_s >= added.gone_at_s:
            self._added.remove(added)
            del self.cluster.nodes[added.node.name]
            self.cluster.publish(replace(added.node.fact(), deleted=True))

    def _weigh(self, added: _Added, now_s: float) -> None:
        """Mark a node whose pods fit elsewhere, and drain it once its timers allow it."""
        if added.gone_at_s is not None or not added.node.ready:
            return
        if self._needed(added):
            added.unneeded_s = None
            _taint(added.node, [])
        elif added.unneeded_s is None:
            added.unneeded_s = now_s
            _taint(added.node, [self._mark(CANDIDATE, "PreferNoSchedule")])
        elif not self.switches.nodes_kept and now_s >= max(
            added.unneeded_s + UNNEEDED_S, self._last_add_s + AFTER_ADD_S
        ):
            added.gone_at_s = now_s + DELETION_S
            _taint(added.node, [self._mark(LEAVING, "NoSchedule")])
            for pod in self.cluster.pods_on(added.node.name):
                self.cluster.let_go(pod, now_s, EVICTED)
        self.cluster.publish(added.node.fact())

    def _mark(self, key: str, effect: str) -> dict[str, str]:
        return {"key": key, "value": f"{self.cluster.clock.unix_s():.0f}", "effect": effect}

    def _needed(self, added: _Added) -> bool:
        pods = self.cluster.pods_on(added.node.name)
        others = (node for node in self.cluster.nodes.values() if node is not added.node and self._takes_pods(node))
        free = sum(self._places(node) for node in others)
        budgets = [budget for pod in pods for budget in self.cluster.budgets_of(pod)]
        return len(pods) > free or any(self.cluster.headroom(budget) < len(pods) for budget in budgets)

    def _takes_pods(self, node: SimNode) -> bool:
        return node.obj["metadata"]["labels"].get(POOL_LABEL) == POOL and not closed(node.obj, {})

    def _places(self, node: SimNode) -> int:
        return int(node.obj["status"]["allocatable"]["pods"]) - len(self.cluster.pods_on(node.name))

    def _tell(self) -> None:
        namespace, _, name = self.status.partition("/")
        size, unneeded = len(self._pool), sum(added.unneeded_s is not None for added in self._added)
        self.cluster.publish(
            NodeAutoscalerFact(
                self._uid, namespace, name, state="Running", health="Healthy",
                scale_up="NoActivity" if self._due_s is None else "InProgress",
                scale_down="CandidatesPresent" if unneeded else "NoCandidates", candidates=unneeded,
                min_sizes={POOL: size}, max_sizes={POOL: size + MAXIMUM_MORE},
                targets={POOL: size + len(self._added) + (self._due_s is not None)},
                updated_unix_s=self.cluster.clock.unix_s(),
            )
        )  # fmt: skip


def _taint(node: SimNode, taints: list[dict[str, Any]]) -> None:
    node.obj["spec"]["taints"] = taints
