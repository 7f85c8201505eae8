"""Chaos Mesh, LitmusChaos and throttling on a real API server; the test plays the operators."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.faults.context import FaultError
from harness.drivers.kubernetes.connection import MERGE_PATCH, Call, connect_context
from harness.model.errors import PortError
from harness.model.fault import ObjectRef
from tests.contract.fault_stage import Stage

pytestmark = pytest.mark.testbed

LIMIT_S = 20.0


class Operator:
    """An operator whose CRD is installed: sets a status on what is created, and keeps a finalizer until told."""

    def __init__(self, target: dict[str, Any], group: str, kind: str, plural: str) -> None:
        admin = str(Path(target["kubeconfig"]).with_name("admin.kubeconfig"))
        self._connection = connect_context(admin, target["context"])
        self._group, self._kind, self._plural = group, kind, plural
        self.status: dict[str, Any] = {}
        self._over = threading.Event()
        self._install()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def api_version(self) -> str:
        return f"{self._group}/v1alpha1"

    def _install(self) -> None:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {
            "name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
        }  # fmt: skip
        names = {"kind": self._kind, "plural": self._plural, "singular": self._kind.lower()}
        spec = {"group": self._group, "scope": "Namespaced", "names": names, "versions": [version]}
        body = {"metadata": {"name": f"{self._plural}.{self._group}"}, "spec": spec}
        self._send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
        self._until(lambda: self._list() is not None)

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        kind = MERGE_PATCH if method == "PATCH" else "application/json"
        return self._connection.send(Call(f"{method} {path}", method, path, body=body, content_type=kind))

    def _list(self) -> list[dict[str, Any]] | None:
        try:
            return list(self._send("GET", f"/apis/{self.api_version}/{self._plural}")["items"])
        except PortError:
            return None

    def _until(self, look: Any) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while not look():
            assert time.monotonic() < deadline_s
            time.sleep(0.1)

    def _work(self) -> None:
        while not self._over.wait(0.2):
            for found in self._list() or ():
                if self.status and found.get("status") != self.status:
                    meta = found["metadata"]
                    path = f"/apis/{self.api_version}/namespaces/{meta['namespace']}/{self._plural}/{meta['name']}"
                    self._send("PATCH", f"{path}/status", {"status": self.status})

    def close(self) -> None:
        self._over.set()
        self._thread.join(LIMIT_S)
        self._send("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{self._plural}.{self._group}")
        self._until(lambda: self._list() is None)


@pytest.fixture
def mesh(light_testbed: dict[str, Any]) -> Iterator[Operator]:
    found = Operator(light_testbed, "chaos-mesh.org", "NetworkChaos", "networkchaos")
    yield found
    found.close()


@pytest.fixture
def litmus(light_testbed: dict[str, Any]) -> Iterator[Operator]:
    found = Operator(light_testbed, "litmuschaos.io", "ChaosEngine", "chaosengines")
    yield found
    found.close()


def network(stage: Stage) -> dict[str, Any]:
    return {
        "kind": "NetworkChaos", "namespace": stage.world.namespace, "selector": "app=planner",
        "spec": {"action": "delay", "delay": {"latency": "200ms"}},
    }  # fmt: skip


def test_without_the_crds_both_are_refused_before_anything_is_touched(stage):
    stage.world.deploy("planner", 1)
    assert "Chaos Mesh is not installed" in stage.preview("mesh_chaos", **network(stage)).problem
    engine = {"namespace": stage.world.namespace, "selector": "app=planner", "experiment": "x", "service_account": "y"}
    assert "LitmusChaos is not installed" in stage.preview("litmus_chaos", **engine).problem


def test_chaos_mesh_has_bitten_only_when_its_controller_says_so_and_its_object_goes_with_the_undo(stage, mesh):
    stage.world.deploy("planner", 1)
    mesh.status = {"conditions": [{"type": "Selected", "status": "True"}, {"type": "AllInjected", "status": "True"}]}
    told = stage.carry_out("mesh_chaos", **network(stage))

    assert told["effect"] == "CONFIRMED"
    (made,) = stage.world.actor().find(mesh.api_version, "NetworkChaos", stage.world.namespace)
    assert made["spec"]["selector"]["labelSelectors"] == {"app": "planner"} and made["spec"]["duration"] == "40s"
    assert made["spec"]["delay"] == {"latency": "200ms"}
    stage.undo()
    assert stage.world.actor().find(mesh.api_version, "NetworkChaos", stage.world.namespace) == []


def test_chaos_mesh_that_injects_nothing_is_absent(stage, mesh):
    stage.world.deploy("planner", 1)
    mesh.status = {"conditions": [{"type": "Selected", "status": "True"}, {"type": "AllInjected", "status": "False"}]}
    with pytest.raises(FaultError, match="ABSENT"):
        stage.carry_out("mesh_chaos", max_hold_s=8.0, **network(stage))
    stage.undo()


def test_an_engine_of_litmus_bites_when_its_experiment_runs(stage, litmus):
    stage.world.deploy("planner", 1)
    litmus.status = {"engineStatus": "initialized", "experiments": [{"name": "pod-delete", "status": "Running"}]}
    told = stage.carry_out(
        "litmus_chaos", namespace=stage.world.namespace, selector="app=planner", experiment="pod-delete",
        service_account="litmus",
    )  # fmt: skip

    assert told["effect"] == "CONFIRMED"
    stage.undo()
    assert stage.world.actor().find(litmus.api_version, "ChaosEngine", stage.world.namespace) == []


def test_a_user_is_refused_by_the_api_server_until_the_undo(stage, light_testbed):
    told = stage.carry_out("throttle_api", user="system:serviceaccount:kube-system:horizontal-pod-autoscaler")

    assert told["effect"] == "CONFIRMED"
    name = str(stage.detail("acted")["object"])
    level = stage.get(ObjectRef("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration", name))
    assert level["spec"]["limited"]["nominalConcurrencyShares"] == 0
    stage.undo()
    assert stage.world.actor().get(ObjectRef("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", name)) is None


@pytest.mark.parametrize("user", ["gameday-runner", "system:node:general-1", "system:serviceaccount:x:gameday-reaper"])
def test_users_without_whom_nothing_could_be_taken_back_are_never_refused(stage, user):
    assert "must not be refused" in stage.preview("throttle_api", user=user).problem
