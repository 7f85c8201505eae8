"""What two fingerprints differ in, field by field."""

from __future__ import annotations

from harness.model.fingerprint import Difference, fingerprint_difference

BEFORE = {"Node/a": {"unschedulable": False, "labels": {"x/y": "1", "m~n": "2"}}, "Node/b": {"taints": ["t"]}}


def test_nothing_differs_from_itself() -> None:
    assert fingerprint_difference(BEFORE, BEFORE) == []
    assert fingerprint_difference({}, {}) == []


def test_every_field_that_changed_came_or_went_is_named_in_order() -> None:
    after = {"Node/a": {"unschedulable": True, "labels": {"x/y": "3"}, "new": 1}, "Pod/c": {"phase": "Running"}}
    assert fingerprint_difference(BEFORE, after) == [
        Difference("Node/a", "/labels/m~0n", "2", None),
        Difference("Node/a", "/labels/x~1y", "1", "3"),
        Difference("Node/a", "/new", None, 1),
        Difference("Node/a", "/unschedulable", False, True),
        Difference("Node/b", "", {"taints": ["t"]}, None),
        Difference("Pod/c", "", None, {"phase": "Running"}),
    ]


def test_a_list_and_a_value_of_another_kind_differ_as_a_whole() -> None:
    assert fingerprint_difference({"a": {"x": [1, 2]}}, {"a": {"x": [2, 1]}}) == [Difference("a", "/x", [1, 2], [2, 1])]
    assert fingerprint_difference({"a": {"x": {"y": 1}}}, {"a": {"x": 1}}) == [Difference("a", "/x", {"y": 1}, 1)]


def test_a_difference_is_told_in_one_line() -> None:
    assert str(Difference("Node/a", "/unschedulable", False, True)) == "Node/a /unschedulable: False → True"
    assert str(Difference("Node/a", "", {"x": 1}, None)) == "Node/a: {'x': 1} → None"
