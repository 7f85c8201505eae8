"""The budgets of an autoscaler of nodes: laws that hold whatever its flags, and whenever what happens happens (F17)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assertions.node_timers import (
    AFTER_ADD,
    AFTER_DELETE,
    AFTER_FAILURE,
    DEFAULTS,
    SCAN,
    UNNEEDED,
    Held,
    Timers,
    budget,
)
from assertions.registry import ASSERTIONS
from harness.model.experiment import NODES_SCALED, AssertionSpec
from harness.model.verdict import Outcome
from tests.replay.builders import BURST_END_S
from tests.replay.node_builders import (
    DOWN,
    TRIGGER_S,
    UP,
    add_node,
    calm_run,
    flags,
    long_run,
    mark,
    say_event,
    wait_for_capacity,
)
from tests.replay.node_builders import remove as removed

SECONDS = st.integers(0, 3000)
FLAGS = st.fixed_dictionaries({}, optional={flag: SECONDS.map(lambda s: f"{s}s") for flag in DEFAULTS})
INSTANTS = st.lists(SECONDS.map(float), max_size=4)
WITHIN = st.integers(1, 900)


@st.composite
def held(draw: st.DrawFn) -> Held:
    unneeded = draw(st.none() | SECONDS.map(float))
    instants = {"added_s": draw(INSTANTS), "deleted_s": draw(INSTANTS), "failed_s": draw(INSTANTS)}
    return Held(float(draw(SECONDS)), unneeded, draw(st.booleans()), **instants)


def verdict_of(run: object, direction: str, **params: object) -> Outcome:
    spec = AssertionSpec("it", NODES_SCALED, {"direction": direction, **params})
    return ASSERTIONS[NODES_SCALED].check(run.record(), spec).outcome  # type: ignore[attr-defined]


@given(FLAGS, held(), WITHIN)
def test_f17_no_removal_is_due_before_any_timer_that_holds_it_up(
    flags: dict[str, str], held: Held, within: int
) -> None:
    timers = Timers(flags, known=True)
    found = budget(timers, held, within)
    assert found.due_s >= held.calm_s + timers.of_s(SCAN)
    for flag, instants in ((AFTER_ADD, held.added_s), (AFTER_DELETE, held.deleted_s), (AFTER_FAILURE, held.failed_s)):
        assert all(found.due_s >= t_s + timers.of_s(flag) for t_s in instants)
    assert found.deadline_s == pytest.approx(found.due_s + within)


@given(FLAGS, held(), WITHIN, st.sampled_from(sorted(DEFAULTS)), SECONDS)
def test_a_longer_timer_never_makes_a_removal_due_sooner(
    flags: dict[str, str], held: Held, within: int, flag: str, more: int
) -> None:
    timers = Timers(flags, known=True)
    longer = Timers({**flags, flag: f"{timers.of_s(flag) + more:g}s"}, known=True)
    assert budget(longer, held, within).due_s >= budget(timers, held, within).due_s


@given(FLAGS, held(), WITHIN, SECONDS)
def test_one_more_addition_or_failure_never_makes_a_removal_due_sooner(
    flags: dict[str, str], held: Held, within: int, t_s: int
) -> None:
    timers = Timers(flags, known=True)
    for name in ("added_s", "deleted_s", "failed_s"):
        more = replace(held, **{name: [*getattr(held, name), float(t_s)]})
        assert budget(timers, more, within).due_s >= budget(timers, held, within).due_s


@settings(max_examples=30, deadline=None)
@given(st.integers(160, 3000), st.integers(0, 1500), st.integers(0, 1500), WITHIN)
def test_f17_a_run_that_ends_before_its_timers_is_neither_pass_nor_fail(
    end_s: int, unneeded: int, after_add: int, within: int
) -> None:
    run = mark(long_run(end_s), 158)
    run.fact(2, flags(scale_down_unneeded_time=f"{unneeded}s", scale_down_delay_after_add=f"{after_add}s"))
    timers = Timers({UNNEEDED: f"{unneeded}s", AFTER_ADD: f"{after_add}s"}, known=True)
    due = budget(timers, Held(BURST_END_S, 158, added_s=[100]), within)
    wanted = Outcome.INCONCLUSIVE if end_s < due.deadline_s else Outcome.FAIL
    assert verdict_of(run, DOWN, removed_within=f"{within}s") is wanted


@settings(max_examples=30, deadline=None)
@given(st.integers(170, 2000), st.integers(0, 1500), WITHIN)
def test_f17_a_node_that_went_passes_or_fails_by_its_deadline_alone(at_s: int, unneeded: int, within: int) -> None:
    run = removed(mark(long_run(2500), 158), at_s)
    run.fact(2, flags(scale_down_unneeded_time=f"{unneeded}s", scale_down_delay_after_add="0s"))
    due = budget(
        Timers({UNNEEDED: f"{unneeded}s", AFTER_ADD: "0s"}, True), Held(BURST_END_S, 158, added_s=[100]), within
    )
    wanted = Outcome.PASS if at_s + 10 <= due.deadline_s else Outcome.FAIL
    assert verdict_of(run, DOWN, removed_within=f"{within}s") is wanted


@settings(max_examples=30, deadline=None)
@given(st.integers(70, 2000), st.integers(163, 2500), WITHIN)
def test_f17_a_node_that_is_to_come_has_a_budget_that_no_timer_of_a_removal_changes(
    offered_s: int, end_s: int, within: int
) -> None:
    run = wait_for_capacity(calm_run(), end_s=None)
    say_event(run, TRIGGER_S, "TriggeredScaleUp", "Pod", "big", "", "agents")
    add_node(run, 66, offered_s if offered_s < end_s else None)
    run.events = [e for e in run.events if not (e[3] in {"settle", "harvest"} and e[0] >= 180)]
    run.say(end_s, "harness", "phase", "harvest", edge="start")
    run.say(end_s, "harness", "phase", "harvest", edge="end")
    deadline_s = TRIGGER_S + within
    wanted = Outcome.PASS if offered_s <= deadline_s else Outcome.FAIL
    if offered_s >= end_s:
        wanted = Outcome.INCONCLUSIVE if end_s < deadline_s else Outcome.FAIL
    for unneeded in ("1s", "90m"):
        run.fact(2, flags(scale_down_unneeded_time=unneeded))
        assert verdict_of(run, UP, offered_within=f"{within}s") is wanted


def test_a_timer_that_nobody_wrote_or_that_cannot_be_read_is_the_default() -> None:
    timers = Timers({UNNEEDED: "soon", AFTER_ADD: ""}, known=True)
    assert (timers.of_s(UNNEEDED), timers.of_s(AFTER_ADD), timers.of_s(SCAN)) == (600, 600, 10)
