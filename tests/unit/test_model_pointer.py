"""Pointers into objects, and the JSON patches that set them (harness.model.pointer)."""

import copy

import pytest

from harness.model.pointer import escape, resolve, set_operations, written_pointer

SPOT = "/spec/taints/key=spot,effect=NoSchedule"
TAINT = {"key": "spot", "value": "true", "effect": "NoSchedule"}
OTHER = {"key": "gpu", "value": "true", "effect": "NoSchedule"}


def applied(obj, operations):
    """Apply RFC 6902's test, add, replace and remove, as an API server would."""
    made = copy.deepcopy(obj)
    for operation in operations:
        *parents, last = [p.replace("~1", "/").replace("~0", "~") for p in operation["path"].split("/")[1:]]
        place = made
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        _one(place, last, operation)
    return made


def _one(place, last, operation):
    key = last if isinstance(place, dict) else len(place) if last == "-" else int(last)
    match operation["op"]:
        case "test":
            assert place[key] == operation["value"]
        case "remove":
            del place[key]
        case "add" if isinstance(place, list):
            place.insert(key, operation["value"])
        case "add" | "replace":
            place[key] = operation["value"]


@pytest.mark.parametrize(
    ("obj", "pointer", "value"),
    [
        ({"spec": {}}, "/spec/unschedulable", True),
        ({"spec": {"unschedulable": True}}, "/spec/unschedulable", None),
        ({"metadata": {}}, f"/metadata/annotations/{escape('a/b')}", "x"),
        ({"metadata": {"annotations": {"a/b": "x"}}}, f"/metadata/annotations/{escape('a/b')}", None),
        ({"status": {"capacity": {"nvidia.com/gpu": "4"}}}, f"/status/capacity/{escape('nvidia.com/gpu')}", "0"),
        ({"spec": {}}, SPOT, TAINT),
        ({}, SPOT, TAINT),
        ({"spec": {"taints": [OTHER]}}, SPOT, TAINT),
        ({"spec": {"taints": [OTHER, TAINT]}}, SPOT, None),
        ({"spec": {"taints": [{**TAINT, "value": "no"}, OTHER]}}, SPOT, TAINT),
        ({"spec": {"ports": [{"name": "http", "port": 1}]}}, "/spec/ports/name=http/port", 2),
    ],
)
def test_a_value_that_was_set_is_the_value_that_is_found(obj, pointer, value):
    made = applied(obj, set_operations(obj, [], pointer, value))

    assert resolve(made, pointer) == value


@pytest.mark.parametrize("pointer", [SPOT, "/spec/unschedulable", "/metadata/annotations/x"])
def test_removing_what_is_not_there_writes_nothing(pointer):
    assert set_operations({"spec": {"taints": [OTHER]}}, [], pointer, None) == []


def test_an_item_that_is_named_by_its_fields_is_found_wherever_others_have_moved_it():
    before = {"spec": {"taints": [TAINT]}}
    moved = {"spec": {"taints": [OTHER, OTHER, TAINT]}}

    assert resolve(before, SPOT) == resolve(moved, SPOT) == TAINT
    assert written_pointer(moved, SPOT) == "/spec/taints/2"


def test_an_item_of_others_is_never_written_over():
    obj = {"spec": {"taints": [OTHER]}}
    made = applied(obj, set_operations(obj, [], SPOT, TAINT))

    assert made["spec"]["taints"] == [OTHER, TAINT]
    assert applied(made, set_operations(made, [], SPOT, None)) == obj


def test_parents_that_an_earlier_operation_of_the_same_patch_makes_are_not_made_twice():
    first = set_operations({}, [], "/metadata/annotations/a", "1")
    second = set_operations({}, first, "/metadata/annotations/b", "2")

    assert applied({}, [*first, *second]) == {"metadata": {"annotations": {"a": "1", "b": "2"}}}


@pytest.mark.parametrize("pointer", ["/a/0", "/a/x=1", "/a/b/c", "/missing/x=1/y"])
def test_what_is_not_there_is_none(pointer):
    assert resolve({"a": []}, pointer) is None
