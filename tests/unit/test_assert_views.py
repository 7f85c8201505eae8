"""What judges of faults look with: holes of a watch, spans of steady demand, amounts of a node."""

from __future__ import annotations

from typing import Any

import pytest

from assertions.fault_view import fault_view
from assertions.node_view import amount
from assertions.watching import blind_spots
from assertions.windows import steady_demand_end_s
from harness.model.facts import NodeFact
from harness.model.fault import Loss
from harness.model.time import Window
from tests.replay.builders import BURST_END_S, add_fault, blank_run, good_run
from tests.replay.fault_builders import node_victim, tell_fault

SPAN = Window(20, 40)


@pytest.mark.parametrize(
    ("edges", "blind"),
    [
        ([(1, "pods in agents", "open", 0)], False),
        ([(1, "pods in agents", "open", 0), (30, "pods in agents", "hole", 2)], True),
        ([(1, "pods in agents", "open", 0), (50, "pods in agents", "hole", 20)], True),
        ([(1, "pods in agents", "open", 0), (50, "pods in agents", "hole", 5)], False),
        ([(1, "pods in agents", "open", 0), (10, "pods in agents", "lost", 5)], True),
        (
            [(1, "pods in agents", "open", 0), (10, "pods in agents", "lost", 5), (15, "pods in agents", "hole", 9)],
            False,
        ),
        ([(1, "pods in agents", "open", 0), (30, "pods in agents", "closed", 0)], True),
        ([(1, "pods in agents", "open", 0), (45, "pods in agents", "closed", 0)], False),
        ([(1, "pods in agents", "open", 0), (30, "pods in other", "hole", 5)], False),
        ([(1, "pods in agents", "open", 0), (30, "podtemplates in agents", "hole", 5)], False),
        ([(25, "pods in agents", "open", 0)], True),
        ([(1, "pods in other", "open", 0)], True),
        ([], True),
    ],
)
def test_a_hole_counts_for_its_own_resource_namespace_and_span_b01(
    edges: list[tuple[float, str, str, float]], blind: bool
) -> None:
    run = blank_run()
    for t_s, subject, state, gap_s in edges:
        run.say(t_s, "cluster", "watch", subject, state=state, gap_s=gap_s)
    assert bool(blind_spots(run.record(), ["pods"], "agents", SPAN)) is blind


def test_demand_is_steady_until_the_first_stage_that_asks_for_less() -> None:
    record = good_run().record()
    assert steady_demand_end_s(record, 60) == BURST_END_S
    assert steady_demand_end_s(record, 51) == BURST_END_S
    assert steady_demand_end_s(record, 20) == 162
    assert steady_demand_end_s(record, 5) is None
    assert steady_demand_end_s(record, 500) is None


@pytest.mark.parametrize(
    ("allocatable", "found"),
    [({"x": "4"}, 4), ({"x": "3920m"}, 3.92), ({}, 0), ({"x": "1Gi"}, None)],
)
def test_an_amount_is_0_where_it_is_absent_and_unknown_where_it_is_not_counted(
    allocatable: dict[str, str], found: float | None
) -> None:
    node = NodeFact("u", "", "n", allocatable=allocatable)
    assert amount(node, "x") == (None if found is None else pytest.approx(found))
    assert amount(None, "x") is None


def test_a_drain_hits_the_pods_that_it_took_and_not_those_that_it_left() -> None:
    run = good_run()
    outcomes: list[dict[str, Any]] = [{"uid": "a", "status": "evicted"}, {"uid": "b", "status": "blocked"}]
    tell_fault(run, "drain", Loss.DRAIN, [node_victim("n2")], outcomes=outcomes)
    view = fault_view(run.record(), "drain")
    assert view is not None
    assert (view.pod_uids, view.nodes) == (frozenset({"a"}), ("n2",))


def test_an_undo_that_had_nothing_to_take_back_does_not_end_a_fault() -> None:
    run = good_run()
    run.drop("undo")
    add_fault(run, 60, "hold", Loss.CAPACITY, ["p"])
    run.say(140, "harness", "undo", "hold", step="done", operation="none")
    view = fault_view(run.record(), "hold")
    assert view is not None
    assert view.undone_s is None
