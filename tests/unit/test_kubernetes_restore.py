"""What an undo writes: only what is still ours, and always something (DESIGN U1, U2)."""

import json

import pytest

from harness.model.fault import UndoRecord
from harness.model.pointer import escape, resolve
from harness.model.restoration import plan_restoration, recreated

OWNER = "/metadata/annotations/gameday.local~1owner"
CORDON = "/spec/unschedulable"


def record(**fields):
    base = {
        "record_id": "1", "run_id": "run", "fault": "cordon", "api_version": "v1", "kind": "Node", "namespace": "",
        "name": "n", "uid": "u", "operation": "patch",
        "prior": {CORDON: None, OWNER: None}, "applied": {CORDON: True, OWNER: "run/1"},
    }  # fmt: skip
    return UndoRecord(**{**base, **fields})


def node(unschedulable=None, **annotations):
    spec = {} if unschedulable is None else {"unschedulable": unschedulable}
    meta = {"name": "n", "uid": "u", "resourceVersion": "7", **({"annotations": annotations} if annotations else {})}
    return {"metadata": meta, "spec": spec}


def apply(obj, operations):
    """Apply `test`, `add`, `replace` and `remove` of RFC 6902 on objects (no arrays), as the API server would."""
    found = json.loads(json.dumps(obj))
    for operation in operations:
        *parents, last = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:]]
        place = found
        for part in parents:
            place = place[part]
        match operation["op"]:
            case "test":
                assert place[last] == operation["value"]
            case "remove":
                del place[last]
            case "replace":
                assert last in place
                place[last] = operation["value"]
            case "add":
                place[last] = operation["value"]
    return found


def test_what_we_set_goes_back_to_what_it_was():
    ours = node(True, **{"gameday.local/owner": "run/1"})
    plan = plan_restoration(record(), ours, "trace")
    after = apply(ours, plan.operations)
    assert after["spec"] == {}
    assert after["metadata"]["annotations"] == {"gameday.local/last-undo": "trace"}
    assert set(plan.restored) == {CORDON, OWNER}
    assert plan.foreign == {}


def test_a_value_that_somebody_else_set_is_reported_and_left():
    theirs = node(True, **{"gameday.local/owner": "another run"})
    plan = plan_restoration(record(), theirs, "trace")
    after = apply(theirs, plan.operations)
    assert after["metadata"]["annotations"]["gameday.local/owner"] == "another run"
    assert plan.restored == (CORDON,)
    assert f"left alone: {OWNER} is now 'another run', not ours" in plan.outcome


@pytest.mark.parametrize("obj", [node(), node(None, other="x")])
def test_a_deed_that_never_happened_is_nothing_to_restore_but_is_written_all_the_same(obj):
    plan = plan_restoration(record(), obj, "trace")
    after = apply(obj, plan.operations)
    assert after["metadata"]["annotations"]["gameday.local/last-undo"] == "trace"
    assert after["spec"] == obj["spec"]
    assert plan.restored == ()
    assert "already as before" in plan.outcome


def test_the_patch_carries_uid_and_resource_version_before_anything_else():
    first, second, *_ = plan_restoration(record(), node(True), "trace").operations
    assert first == {"op": "test", "path": "/metadata/uid", "value": "u"}
    assert second == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}


def test_a_removed_field_comes_back_with_the_parents_it_lacks():
    gone = {"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {}}
    prior = {"/spec/limits/cpu": "1", "/spec/limits/memory": "1Gi"}
    plan = plan_restoration(record(prior=prior, applied=dict.fromkeys(prior)), gone, "trace")
    assert apply(gone, plan.operations)["spec"] == {"limits": {"cpu": "1", "memory": "1Gi"}}


def test_a_changed_value_is_replaced():
    obj = {"metadata": {"uid": "u", "resourceVersion": "7"}, "spec": {"replicas": 0}}
    plan = plan_restoration(record(prior={"/spec/replicas": 3}, applied={"/spec/replicas": 0}), obj, "trace")
    assert apply(obj, plan.operations)["spec"] == {"replicas": 3}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/a~1b/c~0d", 1),
        ("/list/1", "y"),
        ("/list/9", None),
        ("/list/x", None),
        ("/nothing/at/all", None),
        ("/n/deep", None),
    ],
)
def test_pointers_follow_rfc_6901(pointer, value):
    obj = {"a/b": {"c~d": 1}, "list": ["x", "y"], "n": 5}
    assert resolve(obj, pointer) == value


def test_keys_are_escaped_both_ways():
    assert resolve({"a~/b": 1}, "/" + escape("a~/b")) == 1


def test_a_deleted_object_is_created_anew_without_what_the_server_made():
    meta = {"name": "x", "uid": "u", "resourceVersion": "1", "labels": {"a": "b"}, "managedFields": []}
    whole = {"metadata": meta, "spec": {"a": 1}, "status": {"b": 2}}
    created = recreated(record(operation="create", prior={"": whole}))
    assert created == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {"a": 1},
    }
    assert whole["metadata"]["uid"] == "u"


def test_a_create_record_without_its_object_is_an_error():
    with pytest.raises(ValueError, match="whole object"):
        recreated(record(operation="create"))
