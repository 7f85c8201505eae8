"""Names that faults write into a cluster, and how they are told to people."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.model.fault import Loss, ObjectRef, Permission, owner_annotation, run_label

LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
RUN = "20261125-0141-pod-kill-under-burst-7f3a"


@given(st.from_regex(r"\A[a-z0-9][a-z0-9 /_.-]{0,120}\Z").map(lambda text: f"2026-{text}"))
@example("x" * 63)
@example("x" * 64)
@example("a" * 47 + "-._" + "b" * 30)
def test_a_run_id_of_any_length_is_a_label(run_id: str) -> None:
    label = run_label(run_id)
    assert len(label) <= 63
    assert LABEL.fullmatch(label) or run_id == label, label


def test_a_short_run_id_is_its_own_label_and_a_long_one_is_cut_where_a_word_ends() -> None:
    assert run_label(RUN) == RUN
    assert run_label("x" * 63) == "x" * 63
    assert run_label("x" * 64) == "x" * 50 + "-7ce100971f64"
    assert run_label("a" * 47 + "-._" + "b" * 30) == "a" * 47 + "-d97ff23f702f"
    assert re.fullmatch(r"a-b-[0-9a-f]{12}", run_label("a b")), "a replaced character may not make two runs one"


def test_ids_that_are_cut_alike_stay_apart() -> None:
    assert run_label("x" * 70 + "1") != run_label("x" * 70 + "2")
    assert run_label("a b") != run_label("a/b")


def test_an_annotation_is_of_one_record_of_one_run() -> None:
    assert re.fullmatch(r"gameday\.local/changed-by\.[0-9a-f]{12}", owner_annotation(RUN, "undo-1"))
    assert owner_annotation("run-1", "undo-1") == "gameday.local/changed-by.1a9c281d4fe5"
    assert len({owner_annotation(RUN, "undo-1"), owner_annotation(RUN, "undo-2"), owner_annotation("r", "undo-1")}) == 3


def test_a_budget_is_asked_before_an_eviction_and_a_drain_only() -> None:
    assert {loss for loss in Loss if loss.voluntary} == {Loss.EVICTION, Loss.DRAIN}


@pytest.mark.parametrize(
    ("permission", "text"),
    [
        (Permission("create", "pods", "", "eviction", "agents"), "create pods/eviction in agents"),
        (Permission("patch", "deployments", "apps", "scale"), "patch deployments/scale.apps"),
        (Permission("get", "nodes"), "get nodes"),
    ],
)
def test_a_permission_is_told_as_kubectl_says_it(permission: Permission, text: str) -> None:
    assert str(permission) == text


def test_an_object_is_told_with_its_namespace_where_it_has_one() -> None:
    assert str(ObjectRef("v1", "Pod", "planner-0", "agents")) == "Pod agents/planner-0"
    assert str(ObjectRef("v1", "Node", "gpu-1")) == "Node gpu-1"
