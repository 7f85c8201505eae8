"""The in-memory twin as a world of the cluster's contract: what it simulates must behave as the real one does."""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from harness.fakes.clock import FakeClock
from harness.fakes.cluster import SimulatedCluster
from harness.fakes.kube import FakeActor, FakeObserver
from harness.fakes.ledger import FakeLedger
from harness.fakes.objects import ObjectStore
from harness.fakes.switches import Switches
from harness.fakes.workloads import SimPdb, SimWorkload
from harness.model.facts import PodFact
from harness.model.target import Target
from harness.ports import ClusterActor, ClusterObserver, UndoLedger

WAIT_LIMIT_S = 60.0
STEP_S = 0.1
T = TypeVar("T")


class TwinWorld:
    """A simulated cluster with simulated time; waiting costs nothing."""

    def __init__(self) -> None:
        self.namespace, self.node = "contract", "general-1"
        self._clock, self._switches = FakeClock(), Switches()
        self._cluster = SimulatedCluster(self._clock, Random(7))  # noqa: S311 - must repeat
        self._cluster.add_nodes()
        self._clock.every_step(self._cluster.step)
        self._store = ObjectStore(self._cluster, self._clock)
        self._ledger = FakeLedger(self._switches, store=self._store)
        self._target = Target(
            name="twin", kind="local", context="twin", kubeconfig="", api_server="https://127.0.0.1:1",
            kube_system_uid="twin", opt_in_label="gameday.local/opt-in=true", namespaces=(self.namespace,),
            gateway_url="http://127.0.0.1:1", prometheus_url="http://127.0.0.1:1", rate_max_rps=1.0,
        )  # fmt: skip

    def observer(self) -> ClusterObserver:
        return FakeObserver(self._cluster, self._clock, self._target, self._switches, self._store)

    def actor(self) -> ClusterActor:
        return FakeActor(self._cluster, self._clock, self._switches, self._store)

    def ledger(self) -> UndoLedger:
        return self._ledger

    def deploy(self, name: str, replicas: int) -> list[PodFact]:
        workload = SimWorkload(self.namespace, name, {"app": name}, replicas)
        self._cluster.add_workload(workload)
        return [pod.fact for pod in self._cluster.serving(workload)]

    def budget(self, name: str, app: str, min_available: int) -> None:
        self._cluster.pdbs.append(SimPdb(self.namespace, name, {"app": app}, min_available))
        self._clock.sleep(STEP_S)

    def until(self, look: Callable[[], T | None], what: str) -> T:
        for _ in range(int(WAIT_LIMIT_S / STEP_S)):
            found = look()
            if found:
                return found
            self._clock.sleep(STEP_S)
        raise AssertionError(f"not within {WAIT_LIMIT_S:g} simulated seconds: {what}")

    def close(self) -> None:
        return
