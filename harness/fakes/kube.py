"""The cluster's ports over the simulated cluster: observer, actor, Lease, safety watch. They answer as the real ones.

Nothing here decides what happens in the cluster: `cluster` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.fakes.clock import FakeClock
from harness.fakes.cluster import EVICTED, SimulatedCluster
from harness.fakes.fingerprint import fingerprint_of
from harness.fakes.meddling import Meddler
from harness.fakes.objects import SERVED, SYSTEM, ObjectStore
from harness.fakes.switches import Switches, passed
from harness.fakes.workloads import SimPdb, SimPod, select
from harness.model.errors import PortError, Refusal
from harness.model.experiment import Scope
from harness.model.facts import FACTS, Fact, NodeAutoscalerFact, NodeAutoscalerFlagsFact, PdbFact, PodFact
from harness.model.fault import ObjectRef, Permission, UndoRecord
from harness.model.target import ClusterIdentity, Target
from harness.ports import EvictionResult, Observation

RESOURCES = (
    "nodes",
    "pods",
    "deployments",
    "horizontalpodautoscalers",
    "poddisruptionbudgets",
    "scaledobjects",
    "jobs",
)
METRICS_DELAY_S = 2.0
WATCH_DELAY_S = 0.001
"""A watch shows a change after it was made, never in the same instant."""


class FakeObserver:
    """A `ClusterObserver` of the simulated cluster."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        clock: FakeClock,
        target: Target,
        switches: Switches,
        store: ObjectStore | None = None,
    ) -> None:
        self._cluster, self._clock, self._target, self._switches = cluster, clock, target, switches
        self._store = ObjectStore(cluster, clock) if store is None else store
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
        self._news += [_seen(now_s, fact) for kind in FACTS for fact in self.current(kind)]
        self._taken = len(self._cluster.outbox)

    def poll(self) -> Sequence[Observation]:
        """Return what changed since the last call."""
        if self._scope is None:
            return ()
        now_s, fresh = self._clock.now_s(), self._cluster.outbox[self._taken :]
        shown = [(t_s + WATCH_DELAY_S, fact) for t_s, fact in fresh if t_s + WATCH_DELAY_S <= now_s]
        self._taken += len(shown)
        self._news += [_seen(t_s, fact) for t_s, fact in shown if self._watched(fact)]
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
        if self._scope is None:
            return False
        if isinstance(fact, (NodeAutoscalerFact, NodeAutoscalerFlagsFact)):
            return fact.namespace in {name.partition("/")[0] for name in self._scope.node_autoscalers}
        return not fact.namespace or fact.namespace in self._scope.namespaces

    def stop(self) -> None:
        """Stop watching."""
        self._scope = None

    def current(self, kind: str) -> Sequence[Fact]:
        """Return the present state of every watched object of a kind."""
        return [fact for fact in self._cluster.present(kind) if self._watched(fact)]

    def pod_metrics(self, namespace: str) -> Mapping[str, float]:
        """Return some CPU for pods that have been Ready for a while; nothing where the metrics API is away."""
        if not self._store.metrics_served:
            return {}
        now_unix_s = self._clock.unix_s()
        pods = [p.fact for p in self._cluster.pods if p.fact.namespace == namespace and p.serving]
        return {p.name: 0.05 for p in pods if now_unix_s - (p.ready_unix_s or now_unix_s) >= METRICS_DELAY_S}

    def fingerprint(self, scope: Scope) -> Mapping[str, Any]:
        """Return what faults can touch."""
        return fingerprint_of(self._cluster, self._store, scope, self._target.system_namespace)


def _seen(t_s: float, fact: Fact) -> Observation:
    return Observation(t_s, "cluster", fact.kind, fact.subject, fact.detail())


class FakeActor:
    """A `ClusterActor` of the simulated cluster; every write carries a uid precondition."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        clock: FakeClock,
        switches: Switches,
        store: ObjectStore | None = None,
        meddler: Meddler | None = None,
        records: Sequence[UndoRecord] = (),
    ) -> None:
        self._cluster, self._clock, self._switches = cluster, clock, switches
        self._store = ObjectStore(cluster, clock) if store is None else store
        self._meddler = Meddler(self._store) if meddler is None else meddler
        self._records = records

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
            self._end(self._hit(found), grace_s)
        return True

    def _hit(self, named: SimPod) -> SimPod:
        """Return the pod that is hit: the one that was named, or by a switch a mate that no undo record names."""
        if not self._switches.wrong_victim:
            return named
        mates = select(self._cluster.pods, named.fact.namespace, named.fact.labels)
        spared = {named.fact.uid, *(record.uid for record in self._records)}
        return next((pod for pod in mates if pod.fact.uid not in spared and not pod.fact.terminating), named)

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
            self._cluster.let_go(self._hit(found), self._clock.now_s(), EVICTED)
        return EvictionResult("accepted")

    def terminate_pods(self, namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        """Kill pods by name; returns the names that were accepted."""
        found = [self.pod(namespace, name) for name in names]
        return [pod.name for pod in found if pod is not None and self.delete_pod(pod, grace_s)]

    def serves(self, api_version: str, kind: str) -> bool:
        """Tell whether the twin has objects of a kind."""
        return (api_version, kind) in SERVED

    def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """Read one object."""
        return self._store.get(ref)

    def find(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        """List objects."""
        return self._store.find(api_version, kind, namespace, selector, field_selector)

    def patch(
        self, ref: ObjectRef, seen: Mapping[str, Any], values: Mapping[str, Any], subresource: str = ""
    ) -> Mapping[str, Any]:
        """Set values of an object, on exactly the state that was seen."""
        self._meddler.saw(self._clock.now_s(), ref, seen, values, subresource)
        return self._store.patch(ref, seen, {} if self._switches.fault_absent else values, subresource)

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create an object."""
        return self._store.create(manifest)

    def delete(self, ref: ObjectRef, uid: str, grace_s: int | None = None) -> bool:
        """Delete an object."""
        return self._store.delete(ref, uid, grace_s)

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
class FakeLease:
    """A `RunLease` in memory. Leases of one twin share ``taken``, so that two runs contend for it."""

    clock: FakeClock
    switches: Switches = field(default_factory=Switches)
    taken: dict[str, str] = field(default_factory=dict)
    holder: str = ""

    def acquire(self, holder: str) -> None:
        """Take the Lease.

        Raises:
            Refusal: Another run holds it.
        """
        other = self.switches.lease_holder or self.taken.get("holder", "")
        if other and other != holder:
            raise Refusal("lease-held", f"run {other} holds the Lease of this cluster", "wait until it has ended")
        self.holder = self.taken["holder"] = holder

    @property
    def held(self) -> bool:
        """Tell whether it is still ours."""
        return bool(self.holder) and not passed(self.switches.lease_lost_at_s, self.clock.now_s())

    def release(self) -> bool:
        """Give it back."""
        if self.holder and self.taken.get("holder") == self.holder:
            del self.taken["holder"]
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
