"""A cluster as the contract tests of its ports see it: ways to arrange it, and one driver a port.

Each world is one parameter of the suites in ``test_cluster_*``; what holds in one must hold in all.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from harness.drivers.kubernetes import kubeconfig
from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.connection import MERGE_PATCH, Call, Connection
from harness.drivers.kubernetes.lease import KubernetesLease
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.observer import KubernetesObserver
from harness.model.errors import PortError
from harness.model.facts import PodFact
from harness.ports import ClusterActor, ClusterObserver, RunLease, UndoLedger

WAIT_LIMIT_S = 60.0
SYSTEM_NAMESPACE = "gameday-system"
T = TypeVar("T")


class World(Protocol):
    """What a suite may ask of any cluster, real or simulated."""

    namespace: str
    node: str

    def observer(self) -> ClusterObserver: ...

    def actor(self) -> ClusterActor: ...

    def ledger(self) -> UndoLedger: ...

    def deploy(self, name: str, replicas: int) -> list[PodFact]: ...

    def budget(self, name: str, app: str, min_available: int) -> None: ...

    def until(self, look: Callable[[], T | None], what: str) -> T: ...


class WallClock:
    """The system's clock, from now on."""

    def __init__(self) -> None:
        self.origin_unix_s = time.time()
        self._origin_s = time.monotonic()

    def now_s(self) -> float:
        return time.monotonic() - self._origin_s

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s)


class RealWorld:
    """A light testbed: arranged with an administrator's rights, driven with the runner's."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self._target = target
        self._admin = self._connect(str(Path(target["kubeconfig"]).with_name("admin.kubeconfig")))
        self._opened: list[Any] = []
        self.namespace = f"contract-{uuid.uuid4().hex[:8]}"
        self.node = "general-1"
        labels = {"gameday.local/opt-in": "true"}
        self._post("/api/v1/namespaces", {"metadata": {"name": self.namespace, "labels": labels}})

    def _connect(self, path: str) -> Connection:
        from kubernetes.client import ApiClient  # noqa: PLC0415 - kept out of collection

        return Connection(lambda: ApiClient(kubeconfig.load(path, self._target["context"])), self._target["context"])

    def _fresh(self) -> Connection:
        return self._connect(self._target["kubeconfig"])

    def _post(self, path: str, body: object) -> dict[str, Any]:
        return self._admin.send(Call(f"create {path}", "POST", path, body=body))

    def observer(self) -> ClusterObserver:
        found = KubernetesObserver(self._fresh(), WallClock())
        self._opened.append(found.stop)
        return found

    def actor(self) -> ClusterActor:
        return KubernetesActor(self._fresh())

    def ledger(self) -> UndoLedger:
        return KubernetesLedger(self._fresh(), SYSTEM_NAMESPACE)

    def lease(self, duration_s: int = 15, renew_every_s: float = 5.0) -> RunLease:
        found = KubernetesLease(self._fresh(), SYSTEM_NAMESPACE, duration_s=duration_s, renew_every_s=renew_every_s)
        self._opened.append(found.release)
        return found

    def now_unix_s(self) -> float:
        return time.time()

    def deploy(self, name: str, replicas: int) -> list[PodFact]:
        """Deploy pods that only sleep; return them once they are Ready."""
        container = {"name": "main", "image": "sleep", "command": ["sleep", "600"]}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
        body = {
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
            },
        }
        self._post(f"/apis/apps/v1/namespaces/{self.namespace}/deployments", body)
        return self.until(lambda: self._ready(name, replicas), f"{replicas} Ready pods of {name}")

    def _ready(self, name: str, count: int) -> list[PodFact] | None:
        pods = [p for p in KubernetesActor(self._admin).pods(self.namespace, {"app": name}) if p.ready]
        return pods if len(pods) >= count else None

    def job(self, name: str, seconds: float) -> None:
        """Start a Job of one pod that sleeps and then succeeds."""
        container = {"name": "main", "image": "sleep", "command": ["sleep", str(seconds)]}
        pod = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
        template = {"metadata": {"labels": {"app": name}}, "spec": pod}
        body = {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"completions": 1, "template": template}}
        self._post(f"/apis/batch/v1/namespaces/{self.namespace}/jobs", body)

    def budget(self, name: str, app: str, min_available: int) -> None:
        """Make a disruption budget and wait until its controller has computed it."""
        spec = {"minAvailable": min_available, "selector": {"matchLabels": {"app": app}}}
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        self._post(path, {"metadata": {"name": name}, "spec": spec})
        actor = KubernetesActor(self._admin)
        self.until(
            lambda: next((b for b in actor.pdbs(self.namespace) if b.name == name and b.computed), None),
            f"budget {name} computed",
        )

    def set_node(self, unschedulable: bool | None, annotations: Mapping[str, str | None]) -> None:
        body = {"metadata": {"annotations": dict(annotations)}, "spec": {"unschedulable": unschedulable}}
        path = f"/api/v1/nodes/{self.node}"
        self._admin.send(Call("patch node", "PATCH", path, body=body, content_type=MERGE_PATCH))

    def node_object(self) -> dict[str, Any]:
        return self._admin.get("read node", f"/api/v1/nodes/{self.node}")

    def write_node_as_of(self, resource_version: str) -> bool:
        """Cordon as a late process would, under a version that it read before; tells whether that was accepted."""
        body = {"metadata": {"resourceVersion": resource_version}, "spec": {"unschedulable": True}}
        path = f"/api/v1/nodes/{self.node}"
        try:
            self._admin.send(Call("late patch", "PATCH", path, body=body, content_type=MERGE_PATCH))
        except PortError:
            return False
        return True

    def until(self, look: Callable[[], T | None], what: str) -> T:
        deadline_s = time.monotonic() + WAIT_LIMIT_S
        while time.monotonic() < deadline_s:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"not within {WAIT_LIMIT_S:g} s: {what}")

    def close(self) -> None:
        for end in self._opened:
            end()
        self.set_node(None, {"gameday.local/owner": None})
        self._empty()
        self._admin.send(Call("delete namespace", "DELETE", f"/api/v1/namespaces/{self.namespace}"))
        path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
        self._admin.send(Call("delete records", "DELETE", path, {"labelSelector": "gameday.local/run"}))

    def _empty(self) -> None:
        """Take its pods away at once: the namespace controller begins 5 s after the namespace was deleted."""
        where = f"namespaces/{self.namespace}"
        owners = ("apps/v1", "deployments"), ("apps/v1", "replicasets"), ("batch/v1", "jobs")
        for path in (*(f"/apis/{group}/{where}/{kind}" for group, kind in owners), f"/api/v1/{where}/pods"):
            self._admin.send(Call("delete what runs", "DELETE", path, {"propagationPolicy": "Background"}))
