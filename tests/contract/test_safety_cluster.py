"""Halt lever, sweep and `recover --check` against a real API server (DESIGN U2, U5, U7; CASES A21)."""

import json
from typing import Any

import pytest

from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.connection import connect_context
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.residue import sweep
from harness.drivers.kubernetes.safety import HaltLever, KubernetesSafety
from harness.model.fault import RUN_LABEL, ObjectRef, UndoRecord, owner_annotation
from harness.model.pointer import escape
from harness.model.target import Target
from harness.recovery import Recovery
from tests.contract.cluster_world import SYSTEM_NAMESPACE

pytestmark = pytest.mark.testbed


@pytest.fixture
def connection(real_world: Any, light_testbed: dict[str, Any]) -> Any:
    return connect_context(light_testbed["kubeconfig"], light_testbed["context"])


@pytest.fixture
def recovery(real_world: Any, light_testbed: dict[str, Any]) -> Any:
    told = light_testbed
    target = Target(
        "local", "local", told["context"], told["kubeconfig"], told["api_server"], told["kube_system_uid"],
        "gameday.local/opt-in=true", (real_world.namespace,), "", "", 1.0, system_namespace=SYSTEM_NAMESPACE,
    )  # fmt: skip
    found = Recovery.of(target, lambda line: None)
    found.check_identity()
    return found


def helper(name: str, namespace: str, run: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "labels": {RUN_LABEL: run}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def test_u7_the_lever_stops_a_run_that_is_on_and_can_be_released(connection):
    lever, safety = HaltLever(connection, SYSTEM_NAMESPACE), KubernetesSafety(connection, SYSTEM_NAMESPACE)
    try:
        assert lever.pull("ann", "release day")
        assert not lever.pull("bob", "too")
        assert safety.ask() == "the halt lever was pulled by ann: release day"
    finally:
        lever.release()
    assert not lever.release()
    assert lever.state() == ""
    assert "halt" not in safety.ask()


def test_a_clean_cluster_is_clean_and_recover_says_so_twice(real_world, recovery):
    real_world.until(lambda: recovery.residue() == [], "the Lease of a reaper that an earlier test killed has lapsed")
    assert recovery.take_back(None) == ()
    assert recovery.take_back(None) == ()
    assert recovery.residue() == []


def test_a21_everything_that_a_run_may_leave_is_listed_and_recover_takes_back_what_has_a_record(
    real_world, connection, recovery
):
    actor, ledger, ref = KubernetesActor(connection), KubernetesLedger(connection, SYSTEM_NAMESPACE), None
    pod = real_world.deploy("planner", 1)[0]
    ref = ObjectRef("v1", "Pod", pod.name, pod.namespace)
    mark = f"/metadata/annotations/{escape(owner_annotation('run-dead', 'label-1'))}"
    applied = {mark: "run-dead/label-1"}
    record = UndoRecord(
        "label-1", "run-dead", "label", "v1", "Pod", ref.namespace, ref.name, pod.uid, "patch", {mark: None}, applied
    )
    ledger.write(record)
    actor.patch(ref, actor.get(ref), applied)
    actor.create(helper("late", real_world.namespace, "run-dead"))

    found = {residue.subject: residue.problem for residue in recovery.residue()}
    assert found[f"ConfigMap {real_world.namespace}/late"] == "helper object of run run-dead"
    assert found[f"Pod {ref.namespace}/{ref.name}"] == "carries a change of run-dead/label-1"
    assert json.dumps(found)

    (done,) = recovery.take_back(None)
    assert done.done
    assert recovery.residue() == []


def test_a_helper_object_that_came_late_outside_the_system_namespace_is_swept_unless_its_run_lives(
    real_world, connection
):
    actor = KubernetesActor(connection)
    actor.create(helper("late", real_world.namespace, "run-dead"))
    actor.create(helper("mine", real_world.namespace, "run-alive"))
    assert sweep(connection, (), {"run-alive"}) == [f"ConfigMap {real_world.namespace}/late"]
    assert actor.get(ObjectRef("v1", "ConfigMap", "mine", real_world.namespace)) is not None
