"""A small simulated cluster: Deployments keep their pods, budgets keep count, nodes are there. No threads, no time.

The world calls `step`; what changes becomes a fact in the outbox, as a watch would show it. It knows nothing of
traffic nor of autoscalers: they set ``spec.replicas`` like anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from harness.fakes.clock import FakeClock
from harness.fakes.jobs import WORK_S, SimJob
from harness.fakes.nodes import BACK_S, EVICTED_S, GPU, NOTICED_S, PLATFORM_NODES, SimNode, new_node
from harness.fakes.scheduling import PRIORITIES, Placed, closed, lacking, shortage, told, victims_for
from harness.fakes.switches import Switches
from harness.fakes.workloads import (
    FROZEN,
    KILL,
    PROBED_S,
    RESTART_S,
    SimPdb,
    SimPod,
    SimScaler,
    SimWorkload,
    matches,
    pdb_fact,
    rollout_step,
    start_problem,
    workload_fact,
)  # fmt: skip
from harness.model.facts import Fact, PodFact

SCHEDULE_S = 0.25
DRAIN_S = 2.0
"""A pod that is asked to go leaves after its preStop of 2 s."""

EVICTED = "EvictionByEvictionAPI"
PREEMPTED, BY_NODE = "PreemptionByScheduler", "DeletionByTaintManager"


@dataclass
class SimulatedCluster:
    """The cluster.

    Attributes:
        clock: Simulated time; the world steps it, the cluster only reads it.
        random: Seeded source of names.
        pod_start_s: Seconds from a pod's node to its readiness.
        outbox: ``(t_s, fact)`` that nobody has taken yet.
        lost: Told of each pod that is gone at once, without a drain.
        switches: How it misbehaves.
        nodes: By name.
        scalers: What can be set of each HorizontalPodAutoscaler, by its uid.
    """

    clock: FakeClock
    random: Random
    pod_start_s: float = 2.0
    workloads: list[SimWorkload] = field(default_factory=list)
    pdbs: list[SimPdb] = field(default_factory=list)
    pods: list[SimPod] = field(default_factory=list)
    outbox: list[tuple[float, Fact]] = field(default_factory=list)
    lost: Callable[[str], None] = lambda name: None
    switches: Switches = field(default_factory=Switches)
    nodes: dict[str, SimNode] = field(default_factory=dict)
    jobs: list[SimJob] = field(default_factory=list)
    scalers: dict[str, SimScaler] = field(default_factory=dict)
    _stepped_s: float = 0.0
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
        fresh = replace(fact, resource_version=self.next_version())
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

    def version(self, uid: str) -> str:
        """Return the resourceVersion of an object that is shown as a fact."""
        return self._present[uid].resource_version

    def touch(self, uid: str) -> None:
        """Give an object a new resourceVersion for a change that its fact does not show."""
        self._present[uid] = replace(self._present[uid], resource_version=self.next_version())
        self.outbox.append((self.clock.now_s(), self._present[uid]))

    def next_version(self) -> str:
        """Return a resourceVersion that no object had before."""
        self._version += 1
        return str(self._version)

    def add_nodes(self, devices: Sequence[str] = (GPU,)) -> None:
        """Add the nodes of the sample platform; those with GPUs offer them under these names."""
        for name, zone, pool in PLATFORM_NODES:
            node = self.nodes[name] = new_node(self.new_uid(), name, zone, pool, devices)
            self.publish(node.fact())

    def add_workload(self, workload: SimWorkload) -> None:
        """Add a Deployment whose pods are Ready already."""
        if not self.nodes:
            self.add_nodes()
        self.workloads.append(workload)
        for _ in range(workload.replicas):
            pod = self._new_pod(workload, 0.0)
            pod.schedule_at_s = pod.ready_at_s = 0.0
            self._advance(pod, 0.0)
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

    def reachable(self, pod: SimPod) -> bool:
        """Tell whether anything answers at a pod's address, whatever its condition says."""
        node = self.nodes.get(pod.fact.node)
        return pod.frozen_s is None and node is not None and node.silent_s is None

    def kill(self, pod: SimPod, now_s: float) -> None:
        """Take a pod away at once."""
        self._remove(pod)
        self.lost(pod.fact.name)
        self._settle(now_s)

    def _remove(self, pod: SimPod) -> None:
        self.pods.remove(pod)
        if pod.job is not None and not pod.fact.terminal:
            pod.job.lose_pod()
        self.publish(replace(pod.fact, deleted=True, ready=False, terminating=True))

    def let_go(self, pod: SimPod, now_s: float, disruption: str = "") -> None:
        """Ask a pod to end: not Ready from now on, gone after its drain."""
        pod.gone_at_s = now_s + float(pod.spec.get("terminationGracePeriodSeconds", DRAIN_S) and DRAIN_S)
        pod.fact = replace(pod.fact, terminating=True, ready=False, disruption=disruption or pod.fact.disruption)
        self.publish(pod.fact)
        self._settle(now_s)

    def step(self, now_s: float) -> None:
        """Let controllers, scheduler and kubelets do what is due."""
        for node in self.nodes.values():
            self._watch_node(node, now_s)
        for pod in list(self.pods):
            if pod in self.pods:
                self._advance(pod, now_s)
        self._stepped_s = now_s
        self._settle(now_s)

    def _settle(self, now_s: float) -> None:
        for workload in self.workloads:
            self._reconcile(workload, now_s)
        for job in self.jobs:
            if not job.complete and not any(p.job is job and not p.fact.terminating for p in self.pods):
                meta = {"namespace": job.namespace, "labels": job.pod_labels()}
                owner = f"Job/{job.name}"
                self._add_pod(f"{job.name}-{self.random.getrandbits(20):05x}", meta, owner, now_s).job = job
        self._recount()

    def remove_job(self, uid: str, now_s: float) -> None:
        """Take a Job away, and its pods with it."""
        for job in [job for job in self.jobs if job.uid == uid]:
            self.jobs.remove(job)
            self.publish(replace(job.fact(0), deleted=True))
            for pod in [pod for pod in self.pods if pod.job is job]:
                self.kill(pod, now_s)

    # nodes ----------------------------------------------------------------------------------------------------------

    def pods_on(self, name: str) -> list[SimPod]:
        """Return the pods that are bound to a node."""
        return [pod for pod in self.pods if pod.fact.node == name]

    def _watch_node(self, node: SimNode, now_s: float) -> None:
        """Let the node controller, and a kubelet that is started again, do what is due."""
        if node.stopped and node.silent_s is None:
            node.silent_s, node.evicting, node.back_s = now_s, False, None
            for pod in self.pods_on(node.name):
                self.lost(pod.fact.name)
        if node.silent_s is None:
            return
        if not node.stopped and not self.switches.node_stays_lost:
            node.back_s = now_s + BACK_S if node.back_s is None else node.back_s
            if now_s >= node.back_s:
                self._bring_back(node, now_s)
            return
        silent_s = now_s - node.silent_s
        if silent_s >= NOTICED_S and node.ready:
            node.mark(ready=False)
            self.publish(node.fact())
            self._unready(node)
        if silent_s >= NOTICED_S + EVICTED_S and not node.evicting:
            node.evicting = True
            for pod in [p for p in self.pods_on(node.name) if not p.fact.terminating]:
                self.let_go(pod, now_s, BY_NODE)

    def _unready(self, node: SimNode) -> None:
        for pod in self.pods_on(node.name):
            pod.fact = replace(pod.fact, ready=False)
            self.publish(pod.fact)

    def _bring_back(self, node: SimNode, now_s: float) -> None:
        """Let a kubelet report again: what was told to go is gone, what was not starts anew."""
        node.silent_s, node.back_s, node.evicting = None, None, False
        node.mark(ready=True)
        self.publish(node.fact())
        for pod in self.pods_on(node.name):
            pod.ready_at_s = now_s + RESTART_S
            if pod.fact.terminating:
                self._remove(pod)

    # pods -----------------------------------------------------------------------------------------------------------

    def _advance(self, pod: SimPod, now_s: float) -> None:
        node = self.nodes.get(pod.fact.node)
        if node is not None and node.silent_s is not None:
            return  # no kubelet: nothing of it changes
        if now_s >= pod.gone_at_s:
            self._remove(pod)
            return
        if node is None:
            if now_s >= pod.schedule_at_s and not pod.fact.terminating:
                self._schedule(pod, now_s)
            return
        self._obey(pod, now_s)
        hung = pod.frozen_s is not None
        if not hung and not pod.fact.ready and not pod.fact.terminating and not pod.fact.terminal:
            self._start(pod, now_s)
        if pod.job is not None and pod.fact.ready:
            self._work(pod, pod.job, now_s)

    def _start(self, pod: SimPod, now_s: float) -> None:
        if now_s >= pod.ready_at_s and not start_problem(pod.spec):
            pod.fact = replace(pod.fact, ready=True, phase="Running", ready_unix_s=self.clock.unix_s())
            self.publish(pod.fact)

    def _obey(self, pod: SimPod, now_s: float) -> None:
        """Do what a pod's annotations tell the node's agent: hang, go on, kill a container."""
        frozen, order = pod.annotations.get(FROZEN) == "true", pod.annotations.get(KILL, "")
        if frozen and pod.frozen_s is None:
            pod.frozen_s = now_s
            self.lost(pod.fact.name)
        elif not frozen and pod.frozen_s is not None:
            pod.frozen_s, pod.ready_at_s = None, now_s + RESTART_S
        if pod.frozen_s is not None and pod.fact.ready and now_s - pod.frozen_s >= PROBED_S:
            pod.fact = replace(pod.fact, ready=False)
            self.publish(pod.fact)
        if order and order != pod.killed:
            pod.killed, pod.ready_at_s = order, now_s + RESTART_S
            pod.fact = replace(pod.fact, ready=False, restarts=pod.fact.restarts + 1)
            self.lost(pod.fact.name)
            self.publish(pod.fact)

    def _work(self, pod: SimPod, job: SimJob, now_s: float) -> None:
        job.done_s += now_s - self._stepped_s
        if job.done_s >= WORK_S and not job.complete and not self.switches.job_stuck:
            job.completed_unix_s = self.clock.unix_s()
            pod.fact = replace(pod.fact, phase="Succeeded", ready=False)
            self.publish(pod.fact)

    def _schedule(self, pod: SimPod, now_s: float) -> None:
        """Bind a pod to the open node with the fewest pods, or say why there is none and preempt."""
        problems: list[str] = []
        able: list[SimNode] = []
        short: list[SimNode] = []
        for node in self.nodes.values():
            problem = closed(node.obj, pod.spec)
            lack = "" if problem else lacking(node.obj, pod.spec, self._placed(node))
            problems += [problem] if problem else [shortage(lack)] if lack else []
            (short if lack else able if not problem else []).append(node)
        if able:
            node = min(able, key=lambda n: (len(self.pods_on(n.name)), n.name))
            pod.message = ""
            if now_s > 0:
                pod.ready_at_s = max(pod.ready_at_s, now_s + self.pod_start_s)
            pod.fact = replace(pod.fact, node=node.name, scheduled_unix_s=self.clock.unix_s(), reason="")
        else:
            pod.message, pod.fact = told(problems), replace(pod.fact, reason="Unschedulable")
            self._preempt(pod, short, now_s)
        self.publish(pod.fact)

    def _placed(self, node: SimNode) -> list[Placed]:
        return [
            Placed(p.fact.uid, p.spec, p.fact.priority or 0) for p in self.pods_on(node.name) if not p.fact.terminal
        ]

    def _preempt(self, pod: SimPod, short: list[SimNode], now_s: float) -> None:
        if self.switches.preemption_off:
            return
        for node in short:
            leaving = any(p.fact.terminating for p in self.pods_on(node.name))
            keys = [] if leaving else victims_for(node.obj, pod.spec, pod.fact.priority or 0, self._placed(node))
            for victim in [p for p in self.pods_on(node.name) if p.fact.uid in keys]:
                self.let_go(victim, now_s, PREEMPTED)
            if keys:
                return

    def _reconcile(self, workload: SimWorkload, now_s: float) -> None:
        missing, leaving = rollout_step(workload, self.alive(workload))
        for _ in range(missing):
            self._new_pod(workload, now_s)
        for pod in leaving:
            pod.gone_at_s = now_s + DRAIN_S
            pod.fact = replace(pod.fact, terminating=True, ready=False)
            self.publish(pod.fact)

    def _new_pod(self, workload: SimWorkload, now_s: float) -> SimPod:
        name = f"{workload.name}-{self.random.getrandbits(20):05x}"
        meta = {"namespace": workload.namespace, "labels": dict(workload.selector)}
        pod = self._add_pod(name, meta, f"ReplicaSet/{workload.name}", now_s, workload.pod_spec())
        pod.workload = workload
        return pod

    def create_pod(self, manifest: Mapping[str, Any], now_s: float) -> SimPod:
        """Add a pod that no controller owns."""
        meta = manifest["metadata"]
        return self._add_pod(str(meta["name"]), meta, "", now_s, manifest["spec"])

    def _add_pod(
        self, name: str, meta: Mapping[str, Any], owner: str, now_s: float, spec: Mapping[str, Any] | None = None
    ) -> SimPod:
        if spec is None:
            spec = next(job.obj["spec"]["template"]["spec"] for job in self.jobs if owner == f"Job/{job.name}")
        fact = PodFact(
            self.new_uid(), str(meta["namespace"]), name, labels=dict(meta.get("labels") or {}), phase="Pending",
            owner=owner, created_unix_s=self.clock.unix_s(),
            priority=PRIORITIES.get(str(spec.get("priorityClassName", "")), 0),
        )  # fmt: skip
        ready_s = now_s + SCHEDULE_S + self.pod_start_s
        pod = SimPod(fact, None, now_s + SCHEDULE_S, ready_s, spec=spec, annotations=dict(meta.get("annotations", {})))
        self.pods.append(pod)
        self.publish(fact)
        return pod

    def _recount(self) -> None:
        for job in self.jobs:
            self.publish(job.fact(sum(p.job is job and not p.fact.terminal for p in self.pods)))
        for workload in self.workloads:
            uid = workload.fact.uid if workload.fact else self.new_uid()
            workload.fact = workload_fact(workload, uid, self.alive(workload))
            self.publish(workload.fact)
        for pdb in self.pdbs:
            uid = pdb.fact.uid if pdb.fact else self.new_uid()
            expected = sum(w.replicas for w in self.workloads if matches(pdb.selector, w.selector))
            pdb.fact = pdb_fact(pdb, uid, expected, len(self._healthy(pdb)))
            self.publish(pdb.fact)
