"""Always, never, eventually and held-for, where some of it is not known."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from assertions.temporal import (
    Span,
    always,
    eventually_within,
    held_for,
    longest_s,
    never,
    spans,
    steps_of,
    steps_of_series,
)
from harness.model.signal import Series
from harness.model.time import Window

truths = st.lists(st.tuples(st.sampled_from([True, False, None]), st.floats(0.1, 10)), min_size=1, max_size=12)


def made(parts: list[tuple[bool | None, float]]) -> list[Span]:
    found, at_s = [], 0.0
    for holds, length_s in parts:
        found.append(Span(at_s, at_s + length_s, holds))
        at_s += length_s
    return found


def test_steps_hold_until_the_next_and_none_is_not_zero_b05() -> None:
    steps = steps_of([(1.0, 3), (5.0, None), (7.0, 9)])
    assert math.isnan(steps.at(0.9))
    assert steps.at(4.9) == 3
    assert math.isnan(steps.at(6.0))
    assert steps.at(100.0) == 9
    assert steps.changes() == [(7.0, 3.0, 9.0)]


def test_a_window_is_filled_by_spans_that_touch() -> None:
    found = spans(steps_of([(1.0, 3), (5.0, None), (7.0, 9)]), Window(0.0, 10.0), lambda v: v > 5)
    assert [(s.start_s, s.end_s, s.holds) for s in found] == [
        (0.0, 1.0, None),
        (1.0, 5.0, False),
        (5.0, 7.0, None),
        (7.0, 10.0, True),
    ]


def test_a_sample_holds_no_longer_than_its_gap_allows() -> None:
    steps = steps_of_series(Series("g", {}, np.array([0.0, 2.0, 30.0]), np.array([1.0, 1.0, 1.0])), gap_max_s=5.0)
    found = spans(steps, Window(0.0, 40.0), lambda v: v > 0)
    assert [(s.start_s, s.holds) for s in found] == [(0.0, True), (7.0, None), (30.0, True), (35.0, None)]


@given(truths)
def test_a_counterexample_is_proof_and_a_hole_is_no_proof(parts: list[tuple[bool | None, float]]) -> None:
    found = made(parts)
    kinds = {span.holds for span in found}
    assert always(found) is (False if False in kinds else None if None in kinds else True)
    assert never(found) is (False if True in kinds else None if None in kinds else True)


@example([(False, 1.0), (None, 1.0)], 1.0)
@given(truths, st.floats(0.1, 60))
def test_what_is_told_for_sure_stays_so_however_the_holes_turn_out(
    parts: list[tuple[bool | None, float]], limit_s: float
) -> None:
    told, _ = eventually_within(made(parts), limit_s)
    held = held_for(made(parts), limit_s)
    for guess in (True, False):
        filled = made([(guess if holds is None else holds, length_s) for holds, length_s in parts])
        if told is not None:
            assert eventually_within(filled, limit_s)[0] is told
        if held:
            assert any(_run_s(filled, i) >= limit_s - 1e-9 for i in range(len(filled)))


def _run_s(found: list[Span], at: int) -> float:
    length_s = 0.0
    for span in found[at:]:
        if not span.holds:
            break
        length_s += span.duration_s
    return length_s


def test_eventually_tells_late_from_never_and_from_too_short_a_record() -> None:
    late = made([(False, 10.0), (True, 5.0)])
    assert eventually_within(late, 10.0) == (True, 10.0)
    assert eventually_within(late, 9.0) == (False, 10.0)
    assert eventually_within(made([(False, 10.0)]), 9.0) == (False, None)
    assert eventually_within(made([(False, 10.0)]), 11.0) == (None, None)
    assert eventually_within(made([(None, 10.0), (True, 5.0)]), 9.0) == (None, 10.0)
    assert eventually_within([], 9.0) == (None, None)


def test_held_for_needs_one_stretch_long_enough() -> None:
    assert held_for(made([(True, 3.0), (False, 1.0), (True, 5.0), (False, 1.0)]), 5.0) is True
    assert held_for(made([(True, 3.0), (False, 1.0), (True, 2.0), (False, 1.0)]), 5.0) is False
    assert held_for(made([(True, 3.0), (None, 1.0), (True, 2.0), (False, 1.0)]), 5.0) is None
    assert held_for(made([(False, 3.0), (True, 2.0)]), 5.0) is None
    assert held_for([], 1.0) is None


def test_the_longest_known_stretch_is_found() -> None:
    assert longest_s(made([(True, 3.0), (None, 9.0), (True, 5.0)]), holds=True) == 5.0
    assert longest_s(made([(True, 3.0)]), holds=False) == 0.0


# Edges ---------------------------------------------------------------------------------------------------------------


def test_a_part_begins_with_what_holds_and_leaves_the_edges_of_its_window_out() -> None:
    part = steps_of([(1, 3), (5, 4), (9, 5)]).within(Window(1.0, 9.0))
    assert part.t_s.tolist() == [1.0, 5.0]
    assert part.values.tolist() == [3.0, 4.0]


def test_steps_are_floats_whatever_they_were_made_of() -> None:
    assert steps_of([(1, 3)]).values.dtype == np.float64
    assert len(steps_of([]).t_s) == 0


def test_a_sample_holds_for_exactly_its_gap() -> None:
    steps = steps_of_series(Series("g", {}, np.array([0.0, 5.0]), np.array([1.0, 1.0])), gap_max_s=5.0)
    found = spans(steps, Window(0.0, 10.0), lambda v: v > 0)
    assert [(s.start_s, s.end_s, s.holds) for s in found] == [(0.0, 10.0, True)]


def test_a_span_without_length_is_none() -> None:
    assert spans(steps_of([(1, 3)]), Window(2.0, 2.0), lambda v: v > 0) == ()


def test_a_deadline_is_inside_the_limit_and_what_follows_it_is_not_asked() -> None:
    assert eventually_within(made([(False, 9.0), (None, 1.0)]), 9.0) == (None, None), "it may have come at the deadline"
    assert eventually_within(made([(False, 9.5), (None, 1.0)]), 9.0) == (False, None)
    assert eventually_within(made([(False, 9.0)]), 9.0) == (False, None)


def test_an_unknown_stretch_leaves_held_for_open_only_where_it_may_be_long_enough() -> None:
    assert held_for(made([(False, 1.0), (None, 5.0), (False, 1.0)]), 5.0) is None
    assert held_for(made([(False, 3.0), (None, 4.5), (False, 1.0)]), 5.0) is False
    assert held_for(made([(None, 4.5), (False, 1.0)]), 5.0) is False
    assert held_for(made([(False, 9.0)]), 1.0) is False
