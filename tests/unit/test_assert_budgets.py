"""The arithmetic of disruption budgets and of error budgets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assertions.budget_replay import desired_healthy
from assertions.error_budget import allowed_bad
from assertions.scaling_shape import direction_changes
from harness.model.facts import PdbFact
from harness.model.proportion import lower_bound, upper_bound


def budget(**fields: str) -> PdbFact:
    return PdbFact("uid", "agents", "planner", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expected", "field", "value", "desired", "allowed"),
    [
        (3, "max_unavailable", "40%", 1, 2),
        (1, "max_unavailable", "20%", 0, 1),
        (7, "max_unavailable", "50%", 3, 4),
        (7, "min_available", "50%", 4, 3),
        (1, "min_available", "80%", 1, 0),
        (8, "min_available", "80%", 7, 1),
        (5, "min_available", "2", 2, 3),
        (5, "max_unavailable", "1", 4, 1),
        (2, "max_unavailable", "3", 0, 2),
    ],
)
def test_budgets_round_as_kubernetes_does_r_f02(
    expected: int, field: str, value: str, desired: int, allowed: int
) -> None:
    found = desired_healthy(budget(**{field: value}), expected)
    assert found == desired
    assert expected - desired == allowed


@given(st.integers(0, 500), st.integers(0, 100))
def test_rounding_never_demands_more_than_there_is_and_the_two_fields_mirror(expected: int, percent: int) -> None:
    least = desired_healthy(budget(min_available=f"{percent}%"), expected)
    most = desired_healthy(budget(max_unavailable=f"{percent}%"), expected)
    assert least is not None and most is not None
    assert 0 <= most <= expected and 0 <= least <= expected
    assert least >= expected * percent / 100 > least - 1 or least == 0
    assert expected - most >= expected * percent / 100


def test_a_percentage_of_an_unknown_count_is_unknown() -> None:
    assert desired_healthy(budget(min_available="50%"), None) is None
    assert desired_healthy(budget(max_unavailable="1"), None) is None
    assert desired_healthy(budget(min_available="2"), None) == 2
    assert desired_healthy(budget(), 3) is None


@given(st.integers(1, 100_000), st.integers(0, 100))
def test_the_bounds_enclose_the_ratio(total: int, promille: int) -> None:
    bad = total * promille // 1000
    assert lower_bound(bad, total) <= bad / total + 1e-12
    assert bad / total <= upper_bound(bad, total) + 1e-12 <= 1 + 1e-9


def test_six_hundred_good_requests_show_half_a_percent() -> None:
    assert upper_bound(0, 600) <= 0.005 < upper_bound(0, 590)
    assert math.isnan(upper_bound(0, 0))


def test_the_allowance_does_not_lose_one_to_floating_point() -> None:
    assert allowed_bad(6000, 0.995) == 30
    assert allowed_bad(5999, 0.995) == 29


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ([3, 6, 9], 0),
        ([3, 6, 6, 4, 6], 2),
        ([3], 0),
        ([9, 8, 9, 8], 0),
        ([1, 8, 7, 6, 5, 8], 2),
        ([1, 2, 4, 8, 7, 8], 0),
    ],
)
def test_changes_of_direction_are_counted_without_pauses_and_small_moves(row: list[int], changes: int) -> None:
    assert direction_changes(np.array(row, dtype=float), swing_min=2.0) == changes
