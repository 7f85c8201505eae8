"""Load profiles as values: what they come to, and what may be asked of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.load import LoadProfile, Stage, whole_share

STAGES = (Stage("baseline", 40, 15, 15), Stage("ramp", 2, 15, 60), Stage("burst", 100, 60, 80))
PROFILE = LoadProfile("planner-burst", STAGES, {"PlannerUser": 1.0})


def test_a_profile_lasts_as_long_as_its_stages_and_peaks_at_either_end_of_one() -> None:
    assert PROFILE.duration_s == 142
    assert PROFILE.peak_rps == 80
    assert LoadProfile("down", (Stage("burst", 1, 9, 3),), {}).peak_rps == 9


def test_a_scale_multiplies_every_rate_and_leaves_lengths_and_a_few_users() -> None:
    half = PROFILE.scaled(0.5)
    assert [(s.name, s.duration_s, s.from_rps, s.to_rps) for s in half.stages] == [
        ("baseline", 40, 7.5, 7.5),
        ("ramp", 2, 7.5, 30),
        ("burst", 100, 30, 40),
    ]
    assert (half.users_max, PROFILE.scaled(2).users_max) == (100, 400)
    assert (PROFILE.scaled(0.01).users_max, LoadProfile("few", STAGES, {}, users_max=20).scaled(0.1).users_max) == (
        50,
        20,
    )
    assert PROFILE.scaled(1) == PROFILE


@pytest.mark.parametrize("scale", [0, -1, math.inf, math.nan])
def test_a_scale_that_is_no_positive_number_is_an_error(scale: float) -> None:
    with pytest.raises(ValueError) as caught:
        PROFILE.scaled(scale)
    assert str(caught.value) == f"scale {scale!r} is not a positive number"


def test_stages_are_given_other_lengths_by_name() -> None:
    longer = PROFILE.with_durations({"burst": 200, "ramp": 4})
    assert [(s.name, s.duration_s) for s in longer.stages] == [("baseline", 40), ("ramp", 4), ("burst", 200)]
    assert PROFILE.with_durations({}) == PROFILE


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"plateau": 1.0}, "profile planner-burst has no stage 'plateau'; it has baseline, burst, ramp"),
        ({"burst": 0.0}, "stage burst cannot last 0.0 s"),
        ({"burst": -1.0}, "stage burst cannot last -1.0 s"),
        ({"burst": math.inf}, "stage burst cannot last inf s"),
    ],
)
def test_a_length_that_cannot_be_is_an_error(asked: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        PROFILE.with_durations(asked)
    assert str(caught.value) == problem


@given(st.integers(0, 2000), st.floats(0.01, 4))
def test_shares_of_requests_are_whole_and_add_up(count: int, per_request: float) -> None:
    total = sum(whole_share(index, per_request) for index in range(count))
    assert abs(total - count * per_request) <= 1


def test_a_fifth_is_every_fifth_request() -> None:
    assert [whole_share(index, 0.2) for index in range(10)] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert [whole_share(index, 1.5) for index in range(4)] == [1, 2, 1, 2]
