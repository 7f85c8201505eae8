"""Shapes: the cumulative count is the integral of the rate, and arrivals follow it."""

import itertools
import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.load import LoadProfile, Stage
from loadprofiles import shapes
from loadprofiles.arrivals import arrival_chunks
from loadprofiles.profiles import PROFILES, scaled
from tests.unit.scalar_arrivals import arrival_time_s

_rates = st.floats(0, 500, allow_nan=False)
_stage = st.builds(Stage, st.sampled_from(["baseline", "ramp", "burst"]), st.floats(0.5, 60), _rates, _rates)
_stages = st.lists(_stage, min_size=1, max_size=4)
_times = st.floats(-10, 300)


def _due(stages: Sequence[Stage], seed: int) -> Iterator[float]:
    profile = LoadProfile("drawn", tuple(stages), {"a": 1.0})
    return (float(due_s) for chunk in arrival_chunks(profile, seed) for due_s in chunk)


@given(_stages, _times, _times)
def test_the_cumulative_count_never_falls(stages: list[Stage], one_s: float, other_s: float) -> None:
    early_s, late_s = sorted((one_s, other_s))
    assert shapes.arrivals_until(stages, early_s) <= shapes.arrivals_until(stages, late_s) + 1e-9


@given(_stages, st.floats(0, 1))
def test_an_arrival_time_is_the_inverse_of_the_cumulative_count(stages: list[Stage], share: float) -> None:
    whole = shapes.arrivals_until(stages, shapes.duration_s(stages))
    count = share * whole * 0.999
    due_s = arrival_time_s(stages, count)
    if count < whole:
        assert shapes.arrivals_until(stages, due_s) == pytest.approx(count, abs=1e-3, rel=1e-6)


@given(_stages, _times)
def test_the_rate_is_within_the_stages_rates_and_zero_outside(stages: list[Stage], t_s: float) -> None:
    rate = shapes.rate_at(stages, t_s)
    outside = t_s < 0 or t_s >= shapes.duration_s(stages)
    assert rate == 0.0 if outside else 0 <= rate <= max(max(s.from_rps, s.to_rps) for s in stages) + 1e-9


@given(_stages, st.integers(0, 2**32))
def test_arrivals_of_any_second_differ_from_the_profile_by_less_than_one(stages: list[Stage], seed: int) -> None:
    due = list(itertools.islice(_due(stages, seed), 2000))
    assert due == sorted(due)
    for t_s in (1.0, 2.5, shapes.duration_s(stages) / 2):
        if due and t_s < due[-1]:
            assert abs(sum(d < t_s for d in due) - shapes.arrivals_until(stages, t_s)) < 1 + 1e-6


def test_the_same_seed_gives_the_same_arrivals() -> None:
    stages = PROFILES["smoke"].stages
    assert list(_due(stages, 7)) == list(_due(stages, 7))
    assert list(_due(stages, 7)) != list(_due(stages, 8))


def test_a_count_that_is_never_reached_has_no_time() -> None:
    assert arrival_time_s((Stage("baseline", 10, 1, 1),), 11) == math.inf


def test_stages_are_named_by_time() -> None:
    stages = PROFILES["planner-burst"].stages
    named = [shapes.stage_name_at(stages, t_s) for t_s in (-1, 0, 39.9, 40, 42, 141.9, 142, 151.9, 152)]
    assert named == ["idle", "baseline", "baseline", "ramp", "burst", "burst", "cooldown", "cooldown", "ended"]


def test_the_planner_burst_offers_six_thousand_requests_in_its_burst() -> None:
    stages = PROFILES["planner-burst"].stages
    assert shapes.arrivals_until(stages, 142) - shapes.arrivals_until(stages, 42) == pytest.approx(6000)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_profile_has_the_stages_that_the_conductor_knows(profile: LoadProfile) -> None:
    assert [stage.name for stage in profile.stages] == ["baseline", "ramp", "burst", "cooldown"]
    assert profile.users_max >= profile.peak_rps * profile.request_timeout_s


def test_scaling_multiplies_rates_and_never_takes_users_away() -> None:
    double, half = scaled(PROFILES["smoke"], 2.0), scaled(PROFILES["smoke"], 0.5)
    assert (double.peak_rps, half.peak_rps) == (20.0, 5.0)
    assert (double.users_max, half.users_max) == (100, 50)  # a few stay


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_that_is_no_positive_number_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        scaled(PROFILES["smoke"], scale)


def test_durations_of_named_stages_can_be_overruled() -> None:
    longer = PROFILES["smoke"].with_durations({"burst": 60.0})
    assert [stage.duration_s for stage in longer.stages] == [4.0, 1.0, 60.0, 1.0]
    with pytest.raises(ValueError, match="no stage 'bust'"):
        longer.with_durations({"bust": 1.0})
    with pytest.raises(ValueError, match="cannot last"):
        longer.with_durations({"burst": 0.0})
