"""The cluster's ports over the simulated cluster: observer, actor, undo ledger, Lease. They answer as the real ones.

Nothing here decides what happens in the cluster: `cluster` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.fakes.clock import FakeClock
from harness.fakes.cluster import EVICTED, SimPdb, SimPod, SimulatedCluster, select
from harness.fakes.switches import Switches, passed
from harness.model.errors import PortError, Refusal
from harness.model.experiment import Scope
from harness.model.facts import Fact, HpaFact, NodeFact, PdbFact, PodFact, ScaledObjectFact, WorkloadFact
from harness.model.fault import ObjectRef, Permission, UndoRecord
from harness.model.target import ClusterIdentity, Target
from harness.ports import EvictionResult, Observation

RESOURCES = ("nodes", "pods", "deployments", "horizontalpodautoscalers", "poddisruptionbudgets", "scaledobjects")
METRICS_DELAY_S = 2.0
SYSTEM = "twin"


class FakeObserver:
    """A `ClusterObserver` of the simulated cluster."""

    def __init__(self, cluster: SimulatedCluster, clock: FakeClock, target: Target, switches: Switches) -> None:
        self._cluster, self._clock, self._target, self._switches = cluster, clock, target, switches
        self._scope: Scope | None = None
        self._news: list[Observation] = []
        self._taken = 0
        self._hole_told = False

    def _opt_in(self) -> dict[str, str]:
        key, _, value = self._target.opt_in_label.partition("=")
        return {key: value}

    def identify(self) -> ClusterIdentity:
        """Return who the simulated cluster is."""
        target = self._target
        return ClusterIdentity(
            target.context, target.api_server, target.kube_system_uid, self._opt_in(), "rehearsal", "twin"
        )

    def allowed(self, permissions: Sequence[Permission]) -> Sequence[Permission]:
        """Return nothing: all is allowed."""
        return ()

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Return the opt-in for the target's namespaces, None for every other."""
        return self._opt_in() if name in (*self._target.namespaces, self._target.system_namespace) else None

    def skew_s(self) -> float:
        """Return no skew."""
        return 0.0

    def start(self, scope: Scope) -> None:
        """Start to watch; the present state becomes the first observations."""
        self._scope = scope
        now_s = self._clock.now_s()
        self._news += [Observation(now_s, "cluster", "watch", name, {"state": "open"}) for name in RESOURCES]
        kinds = (NodeFact, PodFact, WorkloadFact, HpaFact, PdbFact, ScaledObjectFact)
        self._news += [_seen(now_s, fact) for kind in kinds for fact in self.current(kind.kind)]
        self._taken = len(self._cluster.outbox)

    def poll(self) -> Sequence[Observation]:
        """Return what changed since the last call."""
        if self._scope is None:
            return ()
        fresh = self._cluster.outbox[self._taken :]
        self._taken = len(self._cluster.outbox)
        self._news += [_seen(t_s, fact) for t_s, fact in fresh if self._watched(fact)]
        self._tell_hole()
        news, self._news = self._news, []
        return news

    def _tell_hole(self) -> None:
        at_s = self._switches.watch_hole_at_s
        if passed(at_s, self._clock.now_s()) and not self._hole_told:
            self._hole_told = True
            detail = {"state": "hole", "gap_s": 30.0, "reason": "the server fell silent"}
            self._news.append(Observation(self._clock.now_s(), "cluster", "watch", "pods", detail))

    def _watched(self, fact: Fact) -> bool:
        return self._scope is not None and (not fact.namespace or fact.namespace in self._scope.namespaces)

    def stop(self) -> None:
        """Stop watching."""
        self._scope = None

    def current(self, kind: str) -> Sequence[Fact]:
        """Return the present state of every watched object of a kind."""
        return [fact for fact in self._cluster.present(kind) if self._watched(fact)]

    def pod_metrics(self, namespace: str) -> Mapping[str, float]:
        """Return some CPU for pods that have been Ready for a while."""
        now_unix_s = self._clock.unix_s()
        pods = [p.fact for p in self._cluster.pods if p.fact.namespace == namespace and p.serving]
        return {p.name: 0.05 for p in pods if now_unix_s - (p.ready_unix_s or now_unix_s) >= METRICS_DELAY_S}

    def fingerprint(self, scope: Scope) -> Mapping[str, Any]:
        """Return what faults can touch; replicas are left out, since every workload may be scaled."""
        found: dict[str, Any] = {}
        for fact in self._cluster.present("node"):
            assert isinstance(fact, NodeFact)  # noqa: S101 - by its kind
            found[f"Node/{fact.name}"] = {"unschedulable": fact.unschedulable, "taints": fact.taints}
        for workload in self._cluster.workloads:
            found[f"Deployment/{workload.namespace}/{workload.name}"] = {"selector": workload.selector}
        for pdb in self._cluster.pdbs:
            name = f"PodDisruptionBudget/{pdb.namespace}/{pdb.name}"
            found[name] = {"minAvailable": pdb.min_available, "selector": pdb.selector}
        return found


def _seen(t_s: float, fact: Fact) -> Observation:
    return Observation(t_s, "cluster", fact.kind, fact.subject, fact.detail())


class FakeActor:
    """A `ClusterActor` of the simulated cluster; every write carries a uid precondition."""

    def __init__(self, cluster: SimulatedCluster, clock: FakeClock, switches: Switches) -> None:
        self._cluster, self._clock, self._switches = cluster, clock, switches

    def pods(self, namespace: str, selector: Mapping[str, str]) -> Sequence[PodFact]:
        """List pods by labels, now."""
        return [pod.fact for pod in select(self._cluster.pods, namespace, selector)]

    def pod(self, namespace: str, name: str) -> PodFact | None:
        """Read one pod."""
        found = (p.fact for p in self._cluster.pods if (p.fact.namespace, p.fact.name) == (namespace, name))
        return next(found, None)

    def pdbs(self, namespace: str) -> Sequence[PdbFact]:
        """List disruption budgets, now."""
        return [p.fact for p in self._cluster.pdbs if p.namespace == namespace and p.fact is not None]

    def delete_pod(self, pod: PodFact, grace_s: int | None) -> bool:
        """Delete a pod by uid."""
        found = self._cluster.find(pod.uid)
        if found is None:
            return False
        if not self._switches.fault_absent:
            self._end(found, grace_s)
        return True

    def _end(self, pod: SimPod, grace_s: int | None) -> None:
        if grace_s == 0:
            self._cluster.kill(pod, self._clock.now_s())
        elif not pod.fact.terminating:
            self._cluster.let_go(pod, self._clock.now_s())

    def evict_pod(self, pod: PodFact, dry_run: bool = False) -> EvictionResult:
        """Ask the eviction subresource, once."""
        found = self._cluster.find(pod.uid)
        if found is None:
            return EvictionResult("gone", f'pods "{pod.name}" not found')
        budgets = self._cluster.budgets_of(found)
        if len(budgets) > 1:
            return EvictionResult("overlap", "This pod has more than one PodDisruptionBudget, which is not supported.")
        blocking = [b for b in budgets if found.serving and self._cluster.headroom(b) < 1]
        if blocking:
            return EvictionResult("blocked", _blocked(self._cluster, blocking[0]))
        if not dry_run and not self._switches.fault_absent:
            self._cluster.let_go(found, self._clock.now_s(), EVICTED)
        return EvictionResult("accepted")

    def terminate_pods(self, namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        """Kill pods by name; returns the names that were accepted."""
        found = [self.pod(namespace, name) for name in names]
        return [pod.name for pod in found if pod is not None and self.delete_pod(pod, grace_s)]

    def serves(self, api_version: str, kind: str) -> bool:
        """Tell whether the twin has objects of a kind that can be read as a whole: not yet."""
        return False

    def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """Read one object."""
        return None

    def find(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        """List objects."""
        return ()

    def patch(
        self, ref: ObjectRef, seen: Mapping[str, Any], values: Mapping[str, Any], subresource: str = ""
    ) -> Mapping[str, Any]:
        """Set values of an object."""
        raise PortError(SYSTEM, f"patch {ref}", "the twin has no such object")

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create an object."""
        raise PortError(SYSTEM, f"create {manifest['kind']}", "the twin makes no such object")

    def delete(self, ref: ObjectRef, uid: str, grace_s: int | None = None) -> bool:
        """Delete an object."""
        return False

    def run_command(self, name: str, node: str) -> str:
        """Run a command of the target: the twin has none."""
        raise PortError(SYSTEM, name, f"the twin has no command for node {node}")


def _blocked(cluster: SimulatedCluster, pdb: SimPdb) -> str:
    healthy = cluster.headroom(pdb) + pdb.min_available
    return (
        "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget "
        f"{pdb.name} needs {pdb.min_available} healthy pods and has {healthy} currently"
    )


@dataclass
class FakeLedger:
    """An `UndoLedger` in memory. It only knows records of operation ``none``; that is what the faults of pods write."""

    switches: Switches = field(default_factory=Switches)
    records: list[UndoRecord] = field(default_factory=list)

    def write(self, record: UndoRecord) -> Mapping[str, Any]:
        """Store a record before the deed."""
        self.records.append(record)
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": record.record_id, "uid": f"record-{record.record_id}"}

    def open_records(self, run_id: str | None = None) -> Sequence[UndoRecord]:
        """Return records that are not done, newest first."""
        return [r for r in reversed(self.records) if not r.done and run_id in {None, r.run_id}]

    def run_records(self, run_id: str) -> Sequence[UndoRecord]:
        """Return every record of a run that is not closed, newest first."""
        return [r for r in reversed(self.records) if r.run_id == run_id]

    def undo(self, record: UndoRecord) -> UndoRecord:
        """Take one change back.

        Raises:
            PortError: It could not be taken back.
        """
        if self.switches.undo_fails or record.operation != "none":
            raise PortError(SYSTEM, f"undo {record.fault}", f"operation {record.operation!r} cannot be carried out")
        done = replace(record, done=True, outcome=f"nothing to restore: {record.outcome}")
        self.records = [done if r.record_id == record.record_id else r for r in self.records]
        return done

    def close(self, run_id: str) -> None:
        """Remove the done records of a run."""
        self.records = [r for r in self.records if not (r.done and r.run_id == run_id)]


@dataclass
class FakeLease:
    """A `RunLease` in memory."""

    clock: FakeClock
    switches: Switches = field(default_factory=Switches)
    holder: str = ""

    def acquire(self, holder: str) -> None:
        """Take the Lease.

        Raises:
            Refusal: Another run holds it.
        """
        other = self.switches.lease_holder or (self.holder if self.holder != holder else "")
        if other:
            raise Refusal("lease-held", f"run {other} holds the Lease of this cluster", "wait until it has ended")
        self.holder = holder

    @property
    def held(self) -> bool:
        """Tell whether it is still ours."""
        return bool(self.holder) and not passed(self.switches.lease_lost_at_s, self.clock.now_s())

    def release(self) -> bool:
        """Give it back."""
        self.holder = ""
        return True


@dataclass
class FakeSafety:
    """A `SafetyWatch` in memory: the lever is pulled, or the reaper dies, when the switches say so."""

    clock: FakeClock
    switches: Switches = field(default_factory=Switches)

    def start(self) -> None:
        """Look once.

        Raises:
            Refusal: The lever is pulled, or there is no reaper.
        """
        trouble = self.trouble()
        if trouble:
            raise Refusal("halted" if "halt" in trouble else "reaper", trouble, "release it: `gameday halt --release`")

    def trouble(self) -> str:
        """Return why the run must stop."""
        now_s = self.clock.now_s()
        if passed(self.switches.halted_at_s, now_s):
            return "the halt lever was pulled"
        return "the reaper is gone" if passed(self.switches.reaper_lost_at_s, now_s) else ""

    def ask(self) -> str:
        """Return why no fault may start."""
        return self.trouble()

    def stop(self) -> None:
        """Stop looking."""
