"""Arrivals: as many as the profile asks for, the same for the same seed, whoever asks and in whatever pieces."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assertions.windows import offered_requests
from harness.load_trace import read_trace, with_trace
from harness.model.errors import SpecError
from harness.model.load import Arrivals, LoadProfile, Stage
from loadprofiles import shapes
from loadprofiles.arrivals import BLOCK, CumulativeCount, arrival_chunks, class_choices
from loadprofiles.profiles import PROFILES
from loadprofiles.reference import MEAN_RPS, REQUESTS_PER_MONTH, day_stages
from tests.unit.scalar_arrivals import arrival_time_s

rates = st.floats(0, 300, allow_nan=False)
curves = st.lists(st.tuples(st.floats(0, 1), rates), max_size=6).map(sorted).map(tuple)
stage = st.one_of(
    st.builds(Stage, st.sampled_from(["baseline", "burst"]), st.floats(0.5, 30), rates, rates),
    st.builds(Stage, st.just("burst"), st.floats(0.5, 30), rates, rates, curves),
)
stages = st.lists(stage, min_size=1, max_size=3).map(tuple)


def profile_of(stages: tuple[Stage, ...], arrivals: Arrivals = Arrivals.EVEN) -> LoadProfile:
    return LoadProfile("drawn", stages, {"a": 1.0, "b": 3.0}, arrivals=arrivals.value)


def due(profile: LoadProfile, seed: int, count: int = 20_000) -> np.ndarray:
    return np.fromiter(islice(chain.from_iterable(arrival_chunks(profile, seed)), count), dtype=float)


@given(stages, st.integers(0, 2**40))
def test_even_arrivals_are_never_one_off_the_integral_of_the_rate(drawn: tuple[Stage, ...], seed: int) -> None:
    found = due(profile_of(drawn), seed)
    assert np.all(np.diff(found) >= 0)
    for t_s in np.linspace(0, shapes.duration_s(drawn), 7):
        if len(found) < 20_000 or t_s < found[-1]:
            assert abs(np.searchsorted(found, t_s) - shapes.arrivals_until(drawn, float(t_s))) < 1 + 1e-6


@given(stages)
def test_the_vectorised_inverse_is_the_scalar_one(drawn: tuple[Stage, ...]) -> None:
    counts = np.linspace(0, shapes.arrivals_until(drawn, math.inf) * 1.1, 9)
    for count, found in zip(counts, CumulativeCount(drawn).time_of(counts), strict=True):
        scalar = arrival_time_s(drawn, float(count))
        assert found == scalar or shapes.arrivals_until(drawn, found) == pytest.approx(float(count), abs=1e-3, rel=1e-6)


@given(stages)
def test_offered_requests_of_a_stage_are_the_integral_of_its_rate(drawn: tuple[Stage, ...]) -> None:
    for one in drawn:
        whole = shapes.arrivals_until((one,), one.duration_s)
        assert offered_requests(one, 0.0, one.duration_s) == pytest.approx(whole, rel=1e-9, abs=1e-9)
        half_s = one.duration_s / 2
        halves = offered_requests(one, 0.0, half_s) + offered_requests(one, half_s, one.duration_s)
        assert halves == pytest.approx(whole, rel=1e-9, abs=1e-6)


def test_poisson_arrivals_have_the_profiles_mean_and_a_publics_variance() -> None:
    flat = (Stage("burst", 1000.0, 50.0, 50.0),)
    found = due(profile_of(flat, Arrivals.POISSON), 11, 100_000)
    per_second, _ = np.histogram(found, bins=np.arange(1001))
    assert per_second.mean() == pytest.approx(50, rel=0.02)
    assert per_second.var() == pytest.approx(50, rel=0.15)
    even, _ = np.histogram(due(profile_of(flat), 11, 100_000), bins=np.arange(1001))
    assert even.var() < 1


@pytest.mark.parametrize("arrivals", [Arrivals.EVEN, Arrivals.POISSON])
def test_the_same_seed_gives_the_same_arrivals(arrivals: Arrivals) -> None:
    profile = profile_of((Stage("burst", 100.0, 50.0, 80.0),), arrivals)
    assert due(profile, 7).tolist() == due(profile, 7).tolist()
    assert due(profile, 7).tolist() != due(profile, 8).tolist()


@given(st.integers(0, 5 * BLOCK), st.integers(1, 2 * BLOCK), st.integers(0, 2**40))
def test_the_class_of_an_arrival_depends_on_its_number_alone(first: int, count: int, seed: int) -> None:
    profile = profile_of(())
    whole = class_choices(profile, seed, 0, first + count)
    assert class_choices(profile, seed, first, count).tolist() == whole[first:].tolist()


def test_classes_are_chosen_by_weight() -> None:
    chosen = class_choices(profile_of(()), 3, 0, 40_000)
    assert np.mean(chosen == 1) == pytest.approx(0.75, abs=0.01)


# Profiles ------------------------------------------------------------------------------------------------------------


def test_the_reference_day_is_ten_million_requests_a_month() -> None:
    whole_day = day_stages(day_s=86_400)
    assert shapes.arrivals_until(whole_day, 86_400) * 30 == pytest.approx(REQUESTS_PER_MONTH, rel=1e-3)
    shorter = PROFILES["reference-day"].stages
    assert shapes.arrivals_until(shorter, 1e9) / shapes.duration_s(shorter) == pytest.approx(MEAN_RPS, rel=1e-3)
    assert [one.name for one in shorter] == ["baseline", "ramp", "burst", "cooldown"]


def test_the_peaks_are_those_of_the_platform() -> None:
    assert PROFILES["reference-peak"].peak_rps == 1200
    assert PROFILES["reference-peak-plus-40"].peak_rps == 1680
    fitted = PROFILES["reference-peak"].scaled(0.05)
    assert (fitted.peak_rps, fitted.users_max) == (60, 330)


def test_spikes_are_as_many_and_as_high_as_they_are_said_to_be() -> None:
    burst = next(one for one in PROFILES["voice-spikes"].stages if one.name == "burst")
    per_second = np.diff([shapes.arrivals_until((burst,), float(t_s)) for t_s in range(121)])
    high = per_second > 39
    assert np.count_nonzero(np.diff(high.astype(int)) == 1) == 6
    assert per_second[:15].max() == pytest.approx(4)
    assert PROFILES["voice-spikes"].peak_rps == 40


def test_a_curve_is_stretched_and_scaled_as_a_whole() -> None:
    profile = PROFILES["evaluation-replay"]
    burst = next(one for one in profile.stages if one.name == "burst")
    longer = next(one for one in profile.with_durations({"burst": 240.0}).scaled(2.0).stages if one.name == "burst")
    assert longer.duration_s == 2 * burst.duration_s
    assert shapes.arrivals_until((longer,), 240) == pytest.approx(4 * shapes.arrivals_until((burst,), 120))
    assert longer.points == tuple((share, 2 * rps) for share, rps in burst.points)


# Traces --------------------------------------------------------------------------------------------------------------


def trace_file(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


BASE = LoadProfile("replay", shapes.burst_stages(5, 5, baseline_s=4, burst_s=10, cooldown_s=2), {"a": 1.0})


def test_recorded_instants_are_played_as_they_were(tmp_path: Path) -> None:
    instants = [0.0, 0.5, 1.25, 3.0, 7.0, 7.5, 11.0, 19.5]
    profile = with_trace(BASE, trace_file(tmp_path, "t_s\n" + "\n".join(map(str, instants))))
    assert due(profile, 1).tolist() == instants
    assert [one.duration_s for one in profile.stages] == [4, 2, 12, 2]
    assert sum(shapes.arrivals_until((one,), one.duration_s) for one in profile.stages) == pytest.approx(len(instants))
    assert profile.peak_rps == 2.0


@given(st.floats(0.1, 4.0), st.integers(0, 1000))
def test_a_scaled_recording_has_as_many_more_arrivals_at_the_same_times(scale: float, seed: int) -> None:
    instants = np.arange(2000) / 100
    profile = replace(BASE, arrivals=Arrivals.TRACE.value, trace_file="given")
    with pytest.MonkeyPatch.context() as patch:
        from loadprofiles import arrivals  # noqa: PLC0415 - patched

        patch.setattr(arrivals, "read_trace", lambda path: type("T", (), {"due_s": instants}))
        found = due(profile.scaled(scale), seed)
    assert np.all(np.diff(found) >= 0)
    assert len(found) == pytest.approx(2000 * scale, abs=6 * math.sqrt(2000 * 0.25) + 1)
    assert found.max() <= instants[-1]


def test_a_rate_curve_becomes_the_burst(tmp_path: Path) -> None:
    profile = with_trace(BASE, trace_file(tmp_path, "t_s,rps\n0,2\n10,12\n20,2\n"))
    burst = next(one for one in profile.stages if one.name == "burst")
    assert (burst.duration_s, burst.rates_rps, profile.peak_rps) == (20.0, (2.0, 12.0, 2.0), 12.0)
    assert profile.arrivals == Arrivals.EVEN
    assert shapes.arrivals_until((burst,), 20) == pytest.approx(140)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "columns are none"),
        ("time,rate\n1,2\n", 1, "columns are time,rate"),
        ("t_s\n", 1, "empty"),
        ("t_s\n1\nsoon\n", 3, "'soon' is not 1 numbers"),
        ("t_s\n1\n-2\n", 3, "'-2' is not"),
        ("t_s\n1\nnan\n", 3, "'nan' is not"),
        ("t_s\n1\ninf\n", 3, "'inf' is not"),
        ("t_s\n5\n4\n", 3, "4 s comes after 5 s"),
        ("t_s,rps\n0,1\n", 2, "needs two instants"),
        ("t_s,rps\n0,1\n1\n", 3, "is not 2 numbers"),
    ],
)
def test_a_bad_trace_is_one_clear_error_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    path = trace_file(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        read_trace(str(path))
    assert (caught.value.where, caught.value.key) == (str(path), f"line {line}")
    assert what in caught.value.problem
    assert caught.value.remedy


def test_a_trace_that_is_too_short_or_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="leave nothing for the burst"):
        with_trace(BASE, trace_file(tmp_path, "t_s\n1\n2\n"))
    with pytest.raises(SpecError, match="cannot be read"):
        read_trace(str(tmp_path / "nowhere.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        read_trace(str(tmp_path / "binary.csv"))


def test_the_stages_of_a_recording_last_as_long_as_they_lasted(tmp_path: Path) -> None:
    profile = with_trace(BASE, trace_file(tmp_path, "t_s\n1\n19\n"))
    with pytest.raises(ValueError, match="recording"):
        profile.with_durations({"burst": 5.0})
