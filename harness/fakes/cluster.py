"""A small simulated cluster: Deployments keep their pods, budgets keep count, nodes are there. No threads, no time.

The world calls `step`; what changes becomes a fact in the outbox, as a watch would show it. It knows nothing of
traffic nor of autoscalers: they set ``spec.replicas`` like anybody else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from harness.fakes.clock import FakeClock
from harness.model.facts import Fact, NodeFact, PdbFact, PodFact, WorkloadFact

SCHEDULE_S = 0.25
DRAIN_S = 2.0
"""A pod that is asked to go leaves after its preStop of 2 s."""

EVICTED = "EvictionByEvictionAPI"
NODES = (("general-1", "zone-a"), ("general-2", "zone-b"))


@dataclass(eq=False)
class SimPod:
    """A pod: its present fact, and when its next change is due."""

    fact: PodFact
    workload: SimWorkload
    schedule_at_s: float
    ready_at_s: float
    gone_at_s: float = math.inf

    @property
    def serving(self) -> bool:
        """Tell whether it is Ready and not on its way out."""
        return self.fact.ready and not self.fact.terminating


@dataclass(eq=False)
class SimWorkload:
    """A Deployment: how many pods it is asked to have."""

    namespace: str
    name: str
    selector: dict[str, str]
    replicas: int
    fact: WorkloadFact | None = None


@dataclass(eq=False)
class SimPdb:
    """A PodDisruptionBudget of plain ``minAvailable``."""

    namespace: str
    name: str
    selector: dict[str, str]
    min_available: int
    fact: PdbFact | None = None


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Tell whether labels carry all of a selector."""
    return selector.items() <= labels.items()


@dataclass
class SimulatedCluster:
    """The cluster.

    Attributes:
        clock: Simulated time; the world steps it, the cluster only reads it.
        random: Seeded source of names.
        pod_start_s: Seconds from a pod's node to its readiness.
        outbox: ``(t_s, fact)`` that nobody has taken yet.
        lost: Told of each pod that is gone at once, without a drain.
    """

    clock: FakeClock
    random: Random
    pod_start_s: float = 2.0
    workloads: list[SimWorkload] = field(default_factory=list)
    pdbs: list[SimPdb] = field(default_factory=list)
    pods: list[SimPod] = field(default_factory=list)
    outbox: list[tuple[float, Fact]] = field(default_factory=list)
    lost: Callable[[str], None] = lambda name: None
    _present: dict[str, Fact] = field(default_factory=dict)
    _said: dict[str, Fact] = field(default_factory=dict)
    _uids: int = 0
    _version: int = 1000

    # facts ----------------------------------------------------------------------------------------------------------

    def new_uid(self) -> str:
        """Return a uid that no object had before."""
        self._uids += 1
        return f"{self.random.getrandbits(32):08x}-twin-{self._uids:06d}"

    def publish(self, fact: Fact) -> None:
        """Put a fact into the outbox, unless it says nothing new."""
        if self._said.get(fact.uid) == fact:
            return
        self._version += 1
        fresh = replace(fact, resource_version=str(self._version))
        self._said[fact.uid] = fact
        if fresh.deleted:
            self._present.pop(fact.uid, None)
        else:
            self._present[fact.uid] = fresh
        self.outbox.append((self.clock.now_s(), fresh))

    def present(self, kind: str) -> list[Fact]:
        """Return the present state of every object of a kind."""
        return [fact for fact in self._present.values() if fact.kind == kind]

    # objects --------------------------------------------------------------------------------------------------------

    def add_nodes(self) -> None:
        """Add two general nodes, one with GPUs and a spot node."""
        for name, zone in (*NODES, ("gpu-1", "zone-a"), ("spot-1", "zone-b")):
            taints = {"gpu-1": ["gpu=true:NoSchedule"]}.get(name, [])
            labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}
            self.publish(NodeFact(self.new_uid(), "", name, labels=labels, ready=True, taints=taints))

    def add_workload(self, workload: SimWorkload) -> None:
        """Add a Deployment whose pods are Ready already."""
        self.workloads.append(workload)
        for _ in range(workload.replicas):
            pod = self._new_pod(workload, 0.0)
            pod.schedule_at_s = pod.ready_at_s = 0.0
            self._advance(pod, 0.0)
        self._recount()

    def workload(self, namespace: str, name: str) -> SimWorkload | None:
        """Return a Deployment by name."""
        return next((w for w in self.workloads if (w.namespace, w.name) == (namespace, name)), None)

    def serving(self, workload: SimWorkload) -> list[SimPod]:
        """Return a Deployment's Ready pods."""
        return [pod for pod in self.pods if pod.workload is workload and pod.serving]

    def alive(self, workload: SimWorkload) -> list[SimPod]:
        """Return a Deployment's pods that are not on their way out."""
        return [pod for pod in self.pods if pod.workload is workload and not pod.fact.terminating]

    def find(self, uid: str) -> SimPod | None:
        """Return a pod by uid."""
        return next((pod for pod in self.pods if pod.fact.uid == uid), None)

    def budgets_of(self, pod: SimPod) -> list[SimPdb]:
        """Return the budgets that count a pod."""
        fact = pod.fact
        return [b for b in self.pdbs if b.namespace == fact.namespace and matches(b.selector, fact.labels)]

    def headroom(self, pdb: SimPdb) -> int:
        """Return how many pods a budget lets go now."""
        return len(self._healthy(pdb)) - pdb.min_available

    def _healthy(self, pdb: SimPdb) -> list[SimPod]:
        return [p for p in self.pods if p.serving and pdb in self.budgets_of(p)]

    # what happens ---------------------------------------------------------------------------------------------------

    def kill(self, pod: SimPod, now_s: float) -> None:
        """Take a pod away at once."""
        self.pods.remove(pod)
        self.publish(replace(pod.fact, deleted=True, ready=False, terminating=True))
        self.lost(pod.fact.name)
        self._settle(now_s)

    def let_go(self, pod: SimPod, now_s: float, disruption: str = "") -> None:
        """Ask a pod to end: not Ready from now on, gone after its drain."""
        pod.gone_at_s = now_s + DRAIN_S
        pod.fact = replace(pod.fact, terminating=True, ready=False, disruption=disruption or pod.fact.disruption)
        self.publish(pod.fact)
        self._settle(now_s)

    def step(self, now_s: float) -> None:
        """Let controllers, scheduler and kubelets do what is due."""
        for pod in list(self.pods):
            self._advance(pod, now_s)
        self._settle(now_s)

    def _settle(self, now_s: float) -> None:
        for workload in self.workloads:
            self._reconcile(workload, now_s)
        self._recount()

    def _advance(self, pod: SimPod, now_s: float) -> None:
        fact = pod.fact
        if now_s >= pod.gone_at_s:
            self.pods.remove(pod)
            self.publish(replace(fact, deleted=True))
            return
        if not fact.node and now_s >= pod.schedule_at_s:
            node = NODES[self._uids % len(NODES)][0]
            fact = replace(fact, node=node, scheduled_unix_s=self.clock.unix_s())
        if not fact.ready and not fact.terminating and now_s >= pod.ready_at_s:
            fact = replace(fact, ready=True, phase="Running", ready_unix_s=self.clock.unix_s())
        pod.fact = fact
        self.publish(fact)

    def _reconcile(self, workload: SimWorkload, now_s: float) -> None:
        alive = self.alive(workload)
        for _ in range(workload.replicas - len(alive)):
            self._new_pod(workload, now_s)
        surplus = len(alive) - workload.replicas
        newest_first = sorted(alive, key=lambda pod: (pod.serving, -pod.schedule_at_s))
        for pod in newest_first[: max(0, surplus)]:
            pod.gone_at_s = now_s + DRAIN_S
            pod.fact = replace(pod.fact, terminating=True, ready=False)
            self.publish(pod.fact)

    def _new_pod(self, workload: SimWorkload, now_s: float) -> SimPod:
        name = f"{workload.name}-{self.random.getrandbits(20):05x}"
        fact = PodFact(
            self.new_uid(), workload.namespace, name, labels=dict(workload.selector), phase="Pending",
            owner=f"ReplicaSet/{workload.name}", created_unix_s=self.clock.unix_s(),
        )  # fmt: skip
        pod = SimPod(fact, workload, now_s + SCHEDULE_S, now_s + SCHEDULE_S + self.pod_start_s)
        self.pods.append(pod)
        self.publish(fact)
        return pod

    def _recount(self) -> None:
        for workload in self.workloads:
            workload.fact = self._workload_fact(workload)
            self.publish(workload.fact)
        for pdb in self.pdbs:
            pdb.fact = self._pdb_fact(pdb)
            self.publish(pdb.fact)

    def _workload_fact(self, workload: SimWorkload) -> WorkloadFact:
        ready, alive = len(self.serving(workload)), len(self.alive(workload))
        old = workload.fact
        generation = 1 if old is None else old.generation + (old.spec_replicas != workload.replicas)
        return WorkloadFact(
            old.uid if old else self.new_uid(), workload.namespace, workload.name, generation=generation,
            observed_generation=generation, spec_replicas=workload.replicas, replicas=alive, ready_replicas=ready,
            available_replicas=ready, updated_replicas=alive, selector=workload.selector,
        )  # fmt: skip

    def _pdb_fact(self, pdb: SimPdb) -> PdbFact:
        expected = sum(w.replicas for w in self.workloads if matches(pdb.selector, w.selector))
        healthy = len(self._healthy(pdb))
        return PdbFact(
            pdb.fact.uid if pdb.fact else self.new_uid(), pdb.namespace, pdb.name, generation=1, observed_generation=1,
            min_available=str(pdb.min_available), selector=pdb.selector, current_healthy=healthy,
            desired_healthy=pdb.min_available, expected_pods=expected, computed=True,
            disruptions_allowed=max(0, healthy - pdb.min_available),
        )  # fmt: skip


def select(pods: Iterable[SimPod], namespace: str, selector: Mapping[str, str]) -> Iterator[SimPod]:
    """Yield pods of a namespace by labels."""
    return (p for p in pods if p.fact.namespace == namespace and matches(selector, p.fact.labels))
