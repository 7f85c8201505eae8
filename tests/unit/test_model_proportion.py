"""Intervals of a ratio and of a difference, against published examples and against what must hold for all counts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.proportion import lower_bound, newcombe_interval, upper_bound, wilson_interval

COUNTS = st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@pytest.mark.parametrize(
    ("before", "after", "low", "high"),
    [
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((2, 7), (6, 7), 0.0582, 0.8062),
    ],
)
def test_newcombe_gives_the_published_intervals_of_method_10(before, after, low, high):
    assert newcombe_interval(before, after) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS, COUNTS)
def test_an_interval_holds_its_estimate_and_turns_round_with_its_sides(before, after):
    low, high = newcombe_interval(before, after)
    difference = after[0] / after[1] - before[0] / before[1]
    assert -1 - 1e-9 <= low <= difference + 1e-9 and difference - 1e-9 <= high <= 1 + 1e-9
    assert newcombe_interval(after, before) == pytest.approx((-high, -low))


@given(COUNTS)
def test_a_ratio_lies_in_its_interval_and_equal_sides_never_differ(counts):
    low, high = wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12 and counts[0] / counts[1] - 1e-12 <= high <= 1
    apart = newcombe_interval(counts, counts)
    assert apart[0] <= 0 <= apart[1]


def test_nothing_counted_gives_no_interval():
    assert all(math.isnan(bound) for bound in (*wilson_interval(0, 0), *newcombe_interval((0, 0), (1, 9))))


def test_one_sided_bounds_are_those_of_wilson_and_the_rule_of_three():
    assert upper_bound(0, 600) == pytest.approx(0.0049929, abs=1e-7)
    assert upper_bound(0, 1) == 1.0
    assert upper_bound(5, 100) == pytest.approx(0.09916, abs=5e-6)
    assert lower_bound(5, 100) == pytest.approx(0.02455, abs=5e-6)
    assert lower_bound(0, 100) == pytest.approx(0.0, abs=1e-12)
    assert upper_bound(5, 100, 0.99) > upper_bound(5, 100) > 0.05 > lower_bound(5, 100) > lower_bound(5, 100, 0.99)
    assert upper_bound(1, 10) == pytest.approx(wilson_interval(1, 10, 0.9)[1])
    assert lower_bound(1, 10) == pytest.approx(wilson_interval(1, 10, 0.9)[0])


def test_no_bound_and_no_difference_of_nothing():
    assert math.isnan(upper_bound(0, 0)) and math.isnan(lower_bound(0, 0))
    for pair in (((0, 0), (1, 2)), ((1, 2), (0, 0))):
        assert all(math.isnan(end) for end in newcombe_interval(*pair))


def test_an_interval_stays_inside_0_and_1():
    assert 0.0 <= wilson_interval(0, 10)[0] < 1e-12
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(48, 80) == pytest.approx((0.490455, 0.700382), abs=1e-6)
