"""Contract of `UndoLedger`: records outlive their writer, and an undo takes back ours alone (DESIGN U1-U4)."""

import pytest

from harness.model.errors import PortError
from harness.model.fault import UndoRecord
from harness.undo import recover
from tests.contract.cluster_world import SYSTEM_NAMESPACE, WallClock

pytestmark = pytest.mark.testbed

CORDON = "/spec/unschedulable"
OWNER = "/metadata/annotations/gameday.local~1owner"
RUN = "20261125-0141-contract-7f3a"


def cordon(real_world, record_id="1", **fields):
    base = {
        "record_id": record_id, "run_id": RUN, "fault": "cordon", "api_version": "v1", "kind": "Node", "namespace": "",
        "name": real_world.node, "uid": real_world.node_object()["metadata"]["uid"], "operation": "patch",
        "prior": {CORDON: None, OWNER: None}, "applied": {CORDON: True, OWNER: f"{RUN}/1"},
    }  # fmt: skip
    return UndoRecord(**{**base, **fields})


def do(real_world):
    real_world.set_node(True, {"gameday.local/owner": f"{RUN}/1"})


def node(real_world):
    found = real_world.node_object()
    return found["spec"].get("unschedulable"), found["metadata"].get("annotations", {}).get("gameday.local/owner")


def kill(pod, record_id="1", **fields):
    base = {
        "record_id": record_id, "run_id": RUN, "fault": "kill", "api_version": "v1", "kind": "Pod",
        "namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "operation": "none",
        "outcome": "its ReplicaSet makes a new one",
    }  # fmt: skip
    return UndoRecord(**{**base, **fields})


def test_a_record_is_there_for_whoever_comes_later(world):
    record = kill(world.deploy("planner", 1)[0])
    world.ledger().write(record)
    assert list(world.ledger().open_records()) == [record]
    assert list(world.ledger().open_records(RUN)) == [record]
    assert list(world.ledger().open_records("another-run")) == []


def test_a_lost_pod_needs_no_undo_and_its_record_is_closed_with_its_reason(world):
    pod, _ = world.deploy("planner", 2)
    record = kill(pod)
    world.ledger().write(record)
    world.actor().delete_pod(pod, 0)
    world.until(lambda: world.actor().pod(pod.namespace, pod.name) is None, "the pod is gone")
    done = world.ledger().undo(record)
    assert done.done
    assert record.outcome in done.outcome
    assert list(world.ledger().open_records()) == []


def test_recovery_is_last_in_first_out_and_close_forgets_only_what_is_done(world):
    pods = world.deploy("planner", 2)
    world.ledger().write(kill(pods[0], "1"))
    world.ledger().write(kill(pods[1], "2"))
    world.ledger().write(kill(pods[1], "3", operation="explode"))
    found = recover(world.ledger(), WallClock(), step_limit_s=1.0)
    assert [(r.record_id, r.done) for r in found] == [("3", False), ("2", True), ("1", True)]
    world.ledger().close(RUN)
    assert [r.record_id for r in world.ledger().open_records()] == ["3"]


def test_what_was_done_is_taken_back_by_a_fresh_client(real_world):
    real_world.ledger().write(cordon(real_world))
    do(real_world)
    (record,) = real_world.ledger().open_records()
    done = real_world.ledger().undo(record)
    assert node(real_world) == (None, None)
    assert done.done
    assert "restored" in done.outcome
    assert list(real_world.ledger().open_records()) == []


def test_undoing_twice_changes_nothing_more(real_world):
    record = cordon(real_world)
    real_world.ledger().write(record)
    do(real_world)
    real_world.ledger().undo(record)
    again = real_world.ledger().undo(record)
    assert again.done
    assert "already as before" in again.outcome
    assert node(real_world) == (None, None)


def test_a_value_of_somebody_else_is_never_overwritten(real_world):
    record = cordon(real_world)
    real_world.ledger().write(record)
    do(real_world)
    real_world.set_node(True, {"gameday.local/owner": "somebody else"})
    done = real_world.ledger().undo(record)
    assert node(real_world) == (None, "somebody else")
    assert "left alone" in done.outcome
    assert "somebody else" in done.outcome


def test_a_late_write_of_a_dying_process_fails_after_the_undo_even_if_there_was_nothing_to_restore(real_world):
    record = cordon(real_world)
    real_world.ledger().write(record)
    version_read_by_the_late_one = real_world.node_object()["metadata"]["resourceVersion"]
    real_world.ledger().undo(record)
    assert real_world.write_node_as_of(version_read_by_the_late_one) is False
    assert node(real_world) == (None, None)


def test_an_object_that_was_replaced_is_left_alone(real_world):
    do(real_world)
    record = cordon(real_world, uid="00000000-0000-0000-0000-000000000000")
    real_world.ledger().write(record)
    done = real_world.ledger().undo(record)
    assert "replaced" in done.outcome
    assert node(real_world) == (True, f"{RUN}/1")


def test_an_object_that_is_gone_needs_no_undo(real_world):
    record = cordon(real_world, name="no-such-node")
    real_world.ledger().write(record)
    assert "gone" in real_world.ledger().undo(record).outcome


def test_recovery_takes_back_everything_of_every_run_and_close_forgets_what_is_done(real_world):
    real_world.ledger().write(cordon(real_world, "1"))
    do(real_world)
    real_world.ledger().write(cordon(real_world, "2", name="no-such-node"))
    real_world.ledger().write(cordon(real_world, "3", operation="explode"))
    found = recover(real_world.ledger(), WallClock(), step_limit_s=3.0)
    assert [(r.record_id, r.done) for r in found] == [("3", False), ("2", True), ("1", True)]
    assert node(real_world) == (None, None)
    real_world.ledger().close(RUN)
    assert [r.record_id for r in real_world.ledger().open_records()] == ["3"]


def test_a_record_that_is_there_already_is_not_written_over(real_world):
    real_world.ledger().write(cordon(real_world))
    with pytest.raises(PortError):
        real_world.ledger().write(cordon(real_world, fault="another"))


def test_the_records_namespace_is_the_targets_own(real_world):
    assert SYSTEM_NAMESPACE != real_world.namespace
