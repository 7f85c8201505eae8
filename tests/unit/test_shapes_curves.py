"""Curves of a stage: exactly what their points say, wherever these lie, however long the stage is made."""

import json
import math
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assertions.windows import offered_requests
from harness.model.load import LoadPlan, LoadProfile, Stage
from loadprofiles import shapes
from loadprofiles.job import parse_job
from loadprofiles.profiles import PROFILES

_rates = st.floats(0, 300)
_times = st.lists(st.floats(0.1, 60), min_size=1, max_size=6, unique=True).map(sorted)


@given(_times, st.data())
def test_a_stage_through_points_asks_for_the_area_under_them(times_s: list[float], data: st.DataObject) -> None:
    points = [(t_s, data.draw(_rates)) for t_s in (0.0, *times_s)]
    stage = Stage.through("burst", points)
    area = sum((b - a) * (x + y) / 2 for (a, x), (b, y) in pairwise(points))
    assert shapes.arrivals_until((stage,), math.inf) == pytest.approx(area, rel=1e-9, abs=1e-9)
    assert offered_requests(stage, 0.0, stage.duration_s) == pytest.approx(area, rel=1e-9, abs=1e-9)
    assert stage.duration_s == times_s[-1]


def test_a_peak_between_two_distant_points_is_not_cut_off() -> None:
    stage = Stage.through("burst", ((0.0, 5.0), (7.0, 100.0), (10.0, 5.0)))
    assert shapes.rate_at((stage,), 7.0) == pytest.approx(100.0)
    assert shapes.arrivals_until((stage,), 10.0) == pytest.approx(525.0)


def test_a_step_is_a_step() -> None:
    stage = Stage.through("burst", ((0.0, 5.0), (10.0, 5.0), (10.0, 50.0), (11.0, 50.0), (11.0, 5.0), (20.0, 5.0)))
    assert [shapes.rate_at((stage,), t_s) for t_s in (9.999, 10.0, 10.999, 11.001)] == pytest.approx([5, 50, 50, 5])
    assert shapes.arrivals_until((stage,), 11.0) - shapes.arrivals_until((stage,), 10.0) == pytest.approx(50.0)


@pytest.mark.parametrize("curve", [((0.5, 1.0), (0.4, 1.0)), ((1.5, 1.0),), ((-0.5, 1.0),), ((math.nan, 1.0),)])
def test_points_that_have_no_place_are_refused(curve: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match="points of stage burst do not rise"):
        Stage("burst", 10.0, 1.0, 1.0, curve)


@given(st.floats(0.0, 1.0), st.floats(0.1, 1.0), st.integers(4, 96))
def test_a_sine_is_no_further_off_than_it_says(start: float, turns: float, pieces: int) -> None:
    points = shapes.sine(10.0, 1.0, duration_s=100.0, from_turn=start, to_turn=start + turns, pieces=pieces)
    stage, limit = Stage.through("burst", points), 10.0 * (math.pi * turns / pieces) ** 2 / 2
    for step in range(100):
        turn = start + turns * step / 100
        wave = 10.0 * (1 - math.cos(2 * math.pi * turn))
        assert abs(shapes.rate_at((stage,), float(step)) - wave) <= limit + 1e-9


def test_spikes_have_their_width_and_their_height() -> None:
    stage = Stage.through("burst", shapes.spike_train(2.0, 20.0, duration_s=65.0, every_s=20.0, width_s=5.0))
    assert shapes.arrivals_until((stage,), 65.0) == pytest.approx(2 * 65 + 3 * 5 * 18)
    assert [shapes.rate_at((stage,), t_s) for t_s in (14.9, 15.1, 19.9, 20.1)] == pytest.approx([2, 20, 20, 2])


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_survives_its_way_through_the_pipe(name: str) -> None:
    plan = LoadPlan(PROFILES[name], "http://127.0.0.1:8080", seed=3, rate_max_rps=2000.0)
    line = json.dumps({"plan": asdict(plan), "origin_unix_s": 0.0, "origin_monotonic_s": 0.0})
    assert parse_job(line).plan == plan


def test_a_longer_stage_keeps_its_form_and_the_name_of_every_instant() -> None:
    burst = Stage.through("burst", shapes.sine(10.0, 0.5, duration_s=60.0, from_turn=0.0, to_turn=1.0))
    profile = LoadProfile("day", (Stage("baseline", 10.0, 5.0, 5.0), burst), {"a": 1.0})
    longer = profile.with_durations({"burst": 600.0})
    assert longer.stages[1] == replace(burst, duration_s=600.0)
    for share in (0.1, 0.5, 0.9):
        rates = [shapes.rate_at(one.stages, 10.0 + share * one.stages[1].duration_s) for one in (profile, longer)]
        assert rates[0] == pytest.approx(rates[1])
        assert shapes.stage_name_at(longer.stages, 10.0 + share * 600.0) == "burst"
    whole = shapes.arrivals_until(profile.stages, math.inf) - 50.0
    assert shapes.arrivals_until(longer.stages, math.inf) - 50.0 == pytest.approx(10 * whole)
