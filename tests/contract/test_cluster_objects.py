"""Contract of `ClusterActor`'s and `UndoLedger`'s work on whole objects: what holds in the twin holds in a cluster."""

import pytest

from harness.model.errors import ChangedMeanwhileError
from harness.model.fault import RUN_LABEL, ObjectRef, UndoRecord, run_label
from harness.model.pointer import resolve
from tests.contract.cluster_world import SYSTEM_NAMESPACE

pytestmark = pytest.mark.testbed

RUN = "20261125-0900-objects-11aa"
MARK = "/metadata/annotations/gameday.local~1owner"
CORDON = "/spec/unschedulable"
TAINT = "/spec/taints/key=gameday.local~1test,effect=NoSchedule"
TAINTED = {"key": "gameday.local/test", "value": "x", "effect": "NoSchedule"}


def node_ref(world):
    return ObjectRef("v1", "Node", world.node)


def changed(world, values):
    """Change the node as a fault does: the record first; returns the record."""
    actor, ref = world.actor(), node_ref(world)
    seen = actor.get(ref)
    prior = {pointer: resolve(seen, pointer) for pointer in values}
    record = UndoRecord(
        "1", RUN, "change", "v1", "Node", "", world.node, seen["metadata"]["uid"], "patch", prior, dict(values)
    )
    world.ledger().write(record)
    actor.patch(ref, seen, values)
    return record


def put_back(world):
    """Leave the node as it was, whatever a test did."""
    actor, ref = world.actor(), node_ref(world)
    found = actor.get(ref)
    wanted = {p: None for p in (CORDON, TAINT, MARK) if resolve(found, p) is not None}
    if wanted:
        actor.patch(ref, found, wanted)


def test_kinds_are_served_or_not(world):
    actor = world.actor()
    assert actor.serves("v1", "Node") and actor.serves("apps/v1", "Deployment")
    assert not actor.serves("nobody.example/v1", "Nothing")


def test_an_object_that_is_not_there_is_none_and_not_in_a_list(world):
    actor = world.actor()
    assert actor.get(ObjectRef("v1", "Node", "nobody")) is None
    assert actor.find("v1", "Pod", world.namespace, "app=nobody") == []


def test_pods_of_a_node_are_found_by_field_and_by_label(world):
    world.deploy("planner", 2)
    actor = world.actor()
    mine = actor.find("v1", "Pod", world.namespace, "app=planner")
    assert len(mine) == 2
    name = mine[0]["spec"]["nodeName"]
    there = {pod["metadata"]["uid"] for pod in actor.find("v1", "Pod", field_selector=f"spec.nodeName={name}")}
    assert mine[0]["metadata"]["uid"] in there


def test_a_patch_on_an_older_state_writes_nothing(world):
    actor, ref = world.actor(), node_ref(world)
    seen = actor.get(ref)
    try:
        actor.patch(ref, seen, {MARK: "first"})
        with pytest.raises(ChangedMeanwhileError):
            actor.patch(ref, seen, {CORDON: True})
        assert not resolve(actor.get(ref), CORDON)
    finally:
        put_back(world)


def test_a_changed_node_is_as_before_after_its_undo_and_an_undo_may_be_repeated(world):
    try:
        record = changed(world, {CORDON: True, TAINT: TAINTED, MARK: RUN})
        actor, ref = world.actor(), node_ref(world)
        assert resolve(actor.get(ref), CORDON) is True
        assert resolve(actor.get(ref), TAINT) == TAINTED
        for _ in range(2):
            assert world.ledger().undo(record).done
            found = actor.get(ref)
            assert (resolve(found, CORDON) or None, resolve(found, TAINT), resolve(found, MARK)) == (None, None, None)
    finally:
        put_back(world)


def test_what_somebody_else_set_meanwhile_is_left_alone(world):
    try:
        record = changed(world, {CORDON: True, MARK: "ours"})
        actor, ref = world.actor(), node_ref(world)
        actor.patch(ref, actor.get(ref), {MARK: "theirs"})
        assert "left alone" in world.ledger().undo(record).outcome
        found = actor.get(ref)
        assert (resolve(found, CORDON) or None, resolve(found, MARK)) == (None, "theirs")
    finally:
        put_back(world)


def test_a_workload_scaled_to_nothing_loses_its_pods_and_has_them_again_after_the_undo(world):
    world.deploy("broker", 1)
    actor, ref = world.actor(), ObjectRef("apps/v1", "Deployment", "broker", world.namespace)

    def alive():
        pods = actor.find("v1", "Pod", world.namespace, "app=broker")
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def scale(replicas):
        for _ in range(20):  # its controller writes the status meanwhile
            try:
                return actor.patch(ref, actor.get(ref), {"/spec/replicas": replicas})
            except ChangedMeanwhileError:
                continue
        raise AssertionError("always changed meanwhile")

    scale(0)
    world.until(lambda: not alive(), "no pod is left")
    scale(1)
    world.until(lambda: len(alive()) == 1, "a pod is back")


def test_a_helper_object_is_deleted_by_its_record_and_only_one_of_ours(world):
    actor = world.actor()
    for name, run in (("gameday-ours", RUN), ("gameday-theirs", "another-run")):
        meta = {"name": name, "namespace": SYSTEM_NAMESPACE, "labels": {RUN_LABEL: run_label(run)}}
        actor.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": SPEC})
        record = UndoRecord(name, RUN, "help", "v1", "Pod", SYSTEM_NAMESPACE, name, "", "delete")
        world.ledger().write(record)
        outcome = world.ledger().undo(record).outcome
        assert ("left alone" in outcome) == (run != RUN)
    assert actor.get(ObjectRef("v1", "Pod", "gameday-ours", SYSTEM_NAMESPACE)) is None
    theirs = actor.get(ObjectRef("v1", "Pod", "gameday-theirs", SYSTEM_NAMESPACE))
    uid = theirs["metadata"]["uid"]
    assert actor.delete(ObjectRef("v1", "Pod", "gameday-theirs", SYSTEM_NAMESPACE), "another-uid") is False
    assert actor.delete(ObjectRef("v1", "Pod", "gameday-theirs", SYSTEM_NAMESPACE), uid, 0) is True


SPEC = {
    "nodeSelector": {"gameday.local/pool": "nowhere"},
    "terminationGracePeriodSeconds": 0,
    "containers": [{"name": "hold", "image": "sleep", "command": ["sleep", "60"]}],
}
"""It never finds a node: nothing has to run."""
