"""Every fault that can be taken back, carried out and taken back on a real API server with real controllers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from experiments.faults.context import FaultError
from harness.drivers.kubernetes.connection import Call
from harness.model.fault import ObjectRef
from tests.contract.cluster_world import SYSTEM_NAMESPACE, RealWorld
from tests.contract.fault_stage import GPU_NODE, RUN, Stage, marks
from tests.contract.served_api import SERVICE, served_api

pytestmark = pytest.mark.testbed

NODE = ObjectRef("v1", "Node", "general-1")
GPU = "nvidia.com/gpu"


def holders(stage: Stage) -> list[Any]:
    return list(stage.world.actor().find("v1", "Pod", SYSTEM_NAMESPACE, "gameday.local/helper=hold"))


@pytest.fixture
def urgent(real_world: RealWorld) -> Iterator[Callable[[str], ObjectRef]]:
    """Ask for one device at a priority above that of helper pods; the class and the pod go with the test."""
    ref = ObjectRef("v1", "Pod", "urgent", real_world.namespace)
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    real_world._post(classes, {"metadata": {"name": real_world.namespace}, "value": 1000})

    def create(resource: str) -> ObjectRef:
        devices = {"requests": {resource: "1"}, "limits": {resource: "1"}}
        container = {"name": "main", "image": "sleep", "command": ["sleep", "600"], "resources": devices}
        spec = {
            "containers": [container],
            "priorityClassName": real_world.namespace,
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
        }
        real_world._post(f"/api/v1/namespaces/{ref.namespace}/pods", {"metadata": {"name": ref.name}, "spec": spec})
        return ref

    yield create
    path = f"{classes}/{real_world.namespace}"
    real_world._admin.send(Call("delete the class", "DELETE", path))


def cordoned(node: dict[str, Any]) -> bool:
    return bool(node["spec"].get("unschedulable"))


def ready(node: dict[str, Any]) -> str:
    return next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")


def test_a09_f08_a_drain_empties_the_node_by_uid_and_its_undo_gives_the_node_back(stage):
    pods = stage.world.deploy("planner", 4)
    stage.world.budget("planner", "planner", 2)
    told = stage.carry_out("drain_nodes", nodes=["general-1"], within_s=30)

    assert told["effect"] == "CONFIRMED" and cordoned(stage.get(NODE)) and len(marks(stage.get(NODE))) == 1
    mine = {p.uid for p in pods if p.node == "general-1"}
    outcomes = {o["uid"]: o["status"] for o in stage.detail("evidence")["outcomes"]}
    assert mine and all(outcomes[uid] == "gone" for uid in mine)
    stage.undo()
    assert not cordoned(stage.get(NODE)) and marks(stage.get(NODE)) == []


def test_a08_a_drain_that_a_budget_blocks_names_it_with_its_numbers_and_leaves_no_cordon(stage):
    stage.world.deploy("planner", 4)
    stage.world.budget("strict", "planner", 3)
    with pytest.raises(FaultError, match=r"blocked by PDB .*/strict for .* wants 3 healthy pods") as failed:
        drained = stage.carry_out("drain_nodes", nodes=["general-1", "general-2"], within_s=4, max_hold_s=12.0)
        pytest.fail(f"it was drained: {drained}")

    evidence = stage.detail("evidence")
    assert evidence["drained"] is False and evidence["blocked_by"] == [f"{stage.world.namespace}/strict"]
    assert evidence["blocked_s"] > 0 and "strict" in str(failed.value)
    stage.undo()
    assert not cordoned(stage.get(NODE)) and not cordoned(stage.get(ObjectRef("v1", "Node", "general-2")))


def test_a_block_that_is_expected_is_the_proof(stage):
    stage.world.deploy("planner", 4)
    stage.world.budget("strict", "planner", 4)
    budget = f"{stage.world.namespace}/strict"
    told = stage.carry_out("drain_nodes", nodes=["general-1"], within_s=3, expect="blocked", budget=budget)

    assert told["effect"] == "CONFIRMED" and stage.detail("evidence")["blocked_by"] == [budget]
    stage.undo()
    assert not cordoned(stage.get(NODE))


def test_f02_a_budget_that_never_allows_anything_is_refused_before_anything_is_touched(stage):
    stage.world.deploy("planner", 2)
    stage.world.budget("never", "planner", 2)

    assert "none may ever go" in stage.preview("drain_nodes", nodes=["general-1", "general-2"]).problem
    with pytest.raises(FaultError, match="none may ever go"):
        stage.carry_out("drain_nodes", nodes=["general-1", "general-2"])
    assert not cordoned(stage.get(NODE)) and not stage.world.ledger().open_records(RUN)


def test_f01_two_budgets_on_one_pod_are_refused_before_anything_is_touched(stage):
    stage.world.deploy("planner", 4)
    stage.world.budget("a", "planner", 1)
    stage.world.budget("b", "planner", 1)

    assert "2 budgets count it" in stage.preview("drain_nodes", nodes=["general-1", "general-2"]).problem


def test_a_node_that_somebody_else_cordoned_stays_cordoned(stage):
    stage.world.set_node(True, {})
    stage.carry_out("drain_nodes", nodes=["general-1"], within_s=20)

    assert stage.world.ledger().open_records(RUN) == []
    stage.undo()
    assert cordoned(stage.get(NODE)) and marks(stage.get(NODE)) == []


def test_a07_a21_a_stop_in_the_middle_of_a_drain_ends_it_and_the_undo_gives_the_node_back(stage):
    stage.world.deploy("planner", 4)
    stage.world.budget("strict", "planner", 3)
    stage.stop_at_s = stage.clock.now_s() + 2.0
    with pytest.raises(FaultError):
        stage.carry_out("drain_nodes", nodes=["general-1", "general-2"], within_s=30)

    stage.undo()
    assert not cordoned(stage.get(NODE))


def test_f19_a_lost_node_is_missed_its_pods_are_replaced_and_the_undo_brings_it_back(stage):
    pods = stage.world.deploy("planner", 4)
    told = stage.carry_out("lose_nodes", nodes=["general-1"])

    assert told["effect"] == "CONFIRMED" and ready(stage.get(NODE)) != "True"
    lost = {p.uid for p in pods if p.node == "general-1"}

    def replaced() -> bool:
        now = stage.world.actor().pods(stage.world.namespace, {"app": "planner"})
        return sum(p.ready and p.uid not in lost for p in now) == 4

    stage.until(replaced, "four other pods are Ready")
    stage.undo()
    stage.until(lambda: ready(stage.get(NODE)) == "True", "the node is Ready again")

    def left() -> set[str]:
        return {p.uid for p in stage.world.actor().pods(stage.world.namespace, {"app": "planner"})}

    stage.until(lambda: not lost & left(), "the lost pods are gone for good")


def test_a_node_cannot_be_lost_where_nothing_could_bring_it_back(stage):
    stage.kind = "cluster"
    assert "set commands.node_stop and commands.node_start" in stage.preview("lose_nodes", nodes=["general-1"]).problem


def test_a_spot_node_gets_notice_then_is_lost_and_both_are_taken_back(stage):
    told = stage.carry_out("reclaim_spot_nodes", nodes=["spot-1"], grace_s=1)
    spot = ObjectRef("v1", "Node", "spot-1")

    assert told["effect"] == "CONFIRMED"
    assert "gameday.local/spot-reclaim" in {t["key"] for t in stage.get(spot)["spec"]["taints"]}
    stage.undo()
    assert "gameday.local/spot-reclaim" not in {t["key"] for t in stage.get(spot)["spec"]["taints"]}
    stage.until(lambda: ready(stage.get(spot)) == "True", "the spot node is Ready again")


def test_g02_held_gpus_leave_a_canary_pending_and_the_holders_go_with_the_undo(stage):
    told = stage.carry_out("exhaust_gpus", backend="hold")
    helpers = stage.world.actor().find("v1", "Pod", SYSTEM_NAMESPACE, "gameday.local/helper=hold")

    assert told["effect"] == "CONFIRMED" and len(helpers) == 4
    assert "Insufficient nvidia.com/gpu" in stage.detail("evidence")["reason"]
    assert all(p["spec"]["nodeName"] == "gpu-1" and "ownerReferences" in p["metadata"] for p in helpers)
    stage.undo()
    assert stage.world.actor().find("v1", "Pod", SYSTEM_NAMESPACE, "gameday.local/helper") == []


def test_held_gpus_give_way_to_a_pod_of_higher_priority_and_the_rest_go_with_the_undo(stage, urgent):
    """Devices that are held at priority 0 are no wall: the scheduler preempts a holder for what matters more."""
    stage.carry_out("exhaust_gpus", backend="hold")
    before = {p["metadata"]["uid"] for p in holders(stage)}
    ref = urgent(GPU)

    def runs():
        pod = stage.get(ref)
        return pod if pod.get("status", {}).get("phase") == "Running" else None

    assert stage.until(runs, "the urgent pod runs")["spec"]["nodeName"] == "gpu-1"
    stage.until(lambda: len(holders(stage)) == 3, "one holder is preempted")
    assert len(before) == 4 and {p["metadata"]["uid"] for p in holders(stage)} < before
    stage.undo()
    assert holders(stage) == [] and runs()


def test_g01_unplugged_gpus_are_gone_from_capacity_and_allocatable_and_come_back(stage):
    stage.carry_out("exhaust_gpus", backend="unplug")
    status = stage.get(GPU_NODE)["status"]
    assert (status["capacity"][GPU], status["allocatable"][GPU]) == ("0", "0")

    stage.undo()
    status = stage.get(GPU_NODE)["status"]
    assert (status["capacity"][GPU], status["allocatable"][GPU]) == ("4", "4")


def test_g07_a_resource_that_no_node_offers_is_refused_and_what_is_offered_named(stage):
    found = stage.preview("exhaust_gpus", backend="hold", resource="nvidia.com/mig-1g.5gb")
    assert "no node offers nvidia.com/mig-1g.5gb; offered are nvidia.com/gpu" in found.problem


def test_the_memory_of_mocked_gpus_cannot_be_taken_and_that_is_said(stage):
    assert "needs real GPUs" in stage.preview("exhaust_gpus", backend="vram", image="x").problem


def test_a_dependency_is_scaled_away_and_back(stage):
    stage.world.deploy("broker", 2)
    ref = ObjectRef("apps/v1", "Deployment", "broker", stage.world.namespace)
    told = stage.carry_out("scale_dependency", namespace=ref.namespace, name="broker")

    assert told["effect"] == "CONFIRMED" and stage.get(ref)["spec"]["replicas"] == 0
    stage.undo()
    assert stage.get(ref)["spec"]["replicas"] == 2 and marks(stage.get(ref)) == []
    found = stage.preview("scale_dependency", namespace=ref.namespace, name="broker", replicas=2)
    assert "has 2 replicas already" in found.problem


def test_a_pod_that_hangs_unseen_is_no_proof_and_goes_on_after_the_undo(stage):
    (pod,) = stage.world.deploy("broker", 1)
    where = {"namespace": pod.namespace, "selector": "app=broker", "count": 1}
    with pytest.raises(FaultError, match="0 of 1 pods hang"):  # it has no readiness probe that could fail
        stage.carry_out("hang_pods", max_hold_s=8.0, **where)

    (outcome,) = stage.undo()
    now = stage.world.actor().pod(pod.namespace, pod.name)
    assert "restored" in outcome and now is not None and now.uid == pod.uid and now.ready


def test_hanging_and_crashing_are_refused_where_nothing_could_take_them_back(stage):
    stage.kind = "cluster"
    stage.world.deploy("broker", 1)
    where = {"namespace": stage.world.namespace, "selector": "app=broker", "count": 1}
    assert "needs the local testbed" in stage.preview("hang_pods", **where).problem
    assert "needs the local testbed" in stage.preview("crash_containers", container="main", **where).problem


def test_a15_a_container_that_a_pod_does_not_have_is_refused(stage):
    stage.world.deploy("broker", 1)
    where = {"namespace": stage.world.namespace, "selector": "app=broker", "count": 1}
    assert (
        "has no container other (it has main)" in stage.preview("crash_containers", container="other", **where).problem
    )


def test_a_crashed_container_is_restarted_in_the_same_pod(stage):
    (pod,) = stage.world.deploy("broker", 1)
    where = {"namespace": pod.namespace, "selector": "app=broker", "count": 1}
    told = stage.carry_out("crash_containers", container="main", **where)

    assert told["effect"] == "CONFIRMED"
    now = stage.world.actor().pod(pod.namespace, pod.name)
    assert now is not None and now.uid == pod.uid and now.restarts > pod.restarts
    stage.undo()


def test_a23_a_graceful_delete_is_no_kill_and_says_so(stage):
    stage.world.deploy("broker", 2)
    told = stage.carry_out("delete_pods", namespace=stage.world.namespace, selector="app=broker", count=1)
    assert told["effect"] == "CONFIRMED" and stage.detail("acted")["loss"] == "graceful delete"


def test_without_a_metrics_api_there_is_none_to_take_away(stage):
    assert "no metrics API is registered" in stage.preview("metrics_blackout").problem


def test_a_metrics_api_is_taken_away_as_the_api_server_sees_it_and_comes_back(stage):
    with served_api(stage.world) as name:
        ref = ObjectRef("apiregistration.k8s.io/v1", "APIService", name)

        def available():
            conditions = (stage.get(ref).get("status") or {}).get("conditions") or ()
            return next((c["status"] for c in conditions if c["type"] == "Available"), "Unknown")

        stage.until(lambda: available() == "True", "the API server reaches the API")
        told = stage.carry_out("metrics_blackout", api=name)
        assert told["effect"] == "CONFIRMED" and available() == "False"
        assert "is not Available already" in stage.preview("metrics_blackout", api=name).problem
        stage.undo()
        stage.until(lambda: available() == "True", "the API answers again")
        assert stage.get(ref)["spec"]["service"]["name"] == SERVICE and marks(stage.get(ref)) == []


def test_undoing_twice_changes_nothing_more(stage):
    stage.world.deploy("broker", 1)
    stage.carry_out("scale_dependency", namespace=stage.world.namespace, name="broker")
    records = list(stage.world.ledger().open_records(RUN))
    first = [stage.world.ledger().undo(record).outcome for record in records]
    second = [stage.world.ledger().undo(record).outcome for record in records]

    assert any("restored" in text for text in first) and all("already as before" in text for text in second)
