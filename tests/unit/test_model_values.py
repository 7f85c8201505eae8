"""Properties of the values that verdicts are made of: windows, durations, counters, the verdict algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.signal import Series, increase
from harness.model.time import Window, parse_duration_s
from harness.model.verdict import Outcome, at_least, at_most, combine

outcomes = st.sampled_from(Outcome)
times = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start_s = draw(times)
    return Window(start_s, start_s + draw(st.floats(0, 1e6)))


@given(st.lists(outcomes), outcomes)
def test_one_more_verdict_never_makes_the_whole_better(many: list[Outcome], one: Outcome) -> None:
    rank = [Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL].index
    assert rank(combine([*many, one])) >= (rank(combine(many)) if many else 0)


@given(st.lists(outcomes, min_size=1))
def test_the_whole_does_not_depend_on_the_order(many: list[Outcome]) -> None:
    assert combine(many) is combine(reversed(many))
    assert (combine(many) is Outcome.PASS) == all(o is Outcome.PASS for o in many)


def test_nothing_judged_is_inconclusive() -> None:
    assert combine([]) is Outcome.INCONCLUSIVE


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.floats())
def test_a_value_that_is_not_finite_passes_and_fails_nothing_c02(bad: float, other: float) -> None:
    assert at_most(bad, other) is None
    assert at_least(other, bad) is None


@given(windows(), windows())
def test_the_common_part_of_two_windows_is_inside_both(one: Window, two: Window) -> None:
    common = one.intersect(two)
    assert common == two.intersect(one)
    if common is not None:
        assert one.start_s <= common.start_s < common.end_s <= one.end_s
        assert two.start_s <= common.start_s < common.end_s <= two.end_s


@pytest.mark.parametrize("edges", [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_a_window_that_is_none_is_refused(edges: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="not a window"):
        Window(*edges)


def test_a_window_holds_its_start_and_not_its_end() -> None:
    assert [Window(1.0, 2.0).contains(t_s) for t_s in (0.9, 1.0, 1.9, 2.0)] == [False, True, True, False]


@given(st.integers(0, 10_000), st.integers(0, 59))
def test_durations_add_up(minutes: int, seconds: int) -> None:
    assert parse_duration_s(f"{minutes}m{seconds}s") == minutes * 60 + seconds


def test_plain_seconds_are_a_duration_and_so_is_none_at_all() -> None:
    assert [parse_duration_s(number) for number in (0, 0.5, 90)] == [0.0, 0.5, 90.0]


@pytest.mark.parametrize("text", ["", "5", "5 m", "m5", "-5s", "5sx", True, -1, math.nan])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_s(text)  # type: ignore[arg-type]


steps = st.lists(st.one_of(st.integers(0, 100), st.none()), min_size=1, max_size=40)


def counter(moves: list[int | None], start: int = 0) -> tuple[Series, int]:
    """Return a counter that rises by each move, or starts anew (None), and how much it rose in all."""
    value, values, rise = start, [float(start)], 0
    for move in moves:
        value, rise = (0, rise) if move is None else (value + move, rise + move)
        values.append(float(value))
    return Series("c", {}, np.arange(len(values), dtype=float), np.array(values)), rise


@given(steps, st.integers(0, 1000))
def test_increase_sees_through_resets(moves: list[int | None], start: int) -> None:
    # A reset is seen where the value falls; a counter that was at 0 when it started anew has lost nothing.
    series, rise = counter(moves, start)
    assert increase([series], Window(0.0, len(series.t_s) - 1.0)) == rise


@given(steps, steps)
def test_increase_of_two_series_is_the_sum_of_both(one: list[int | None], two: list[int | None]) -> None:
    window = Window(0.0, 50.0)
    a, b = counter(one)[0], counter(two)[0]
    assert increase([a, b], window) == increase([a], window) + increase([b], window)


@given(steps, st.integers(0, 40))
def test_increase_is_additive_over_windows(moves: list[int | None], cut: int) -> None:
    series, _ = counter(moves)
    whole = increase([series], Window(0.0, 50.0))
    assert whole == increase([series], Window(0.0, float(cut))) + increase([series], Window(float(cut), 50.0))


def test_a_counter_that_appears_inside_the_window_counts_from_zero_c07() -> None:
    series = Series("c", {}, np.array([5.0, 6.0]), np.array([8.0, 9.0]))
    assert increase([series], Window(0.0, 10.0)) == 9.0


def test_a_sample_that_is_not_finite_makes_the_increase_unknown_c02() -> None:
    series = Series("c", {}, np.array([0.0, 1.0, 2.0]), np.array([1.0, math.nan, 3.0]))
    assert math.isnan(increase([series], Window(0.0, 2.0)))


def test_no_series_have_no_increase_and_judges_must_ask_for_them_first_c01() -> None:
    assert increase([], Window(0.0, 1.0)) == 0.0


def test_coverage_counts_holes_at_both_edges() -> None:
    series = Series("g", {}, np.array([4.0, 6.0]), np.array([1.0, 1.0]))
    coverage = series.coverage(Window(0.0, 20.0), 2.0)
    assert (coverage.samples, coverage.expected, coverage.gap_max_s) == (2, 10, 14.0)
