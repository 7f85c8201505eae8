"""Arrivals: their counts, their chance, their owners and their classes, whoever asks and in whatever pieces."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.model.load import LoadProfile, Stage
from loadprofiles import shapes
from loadprofiles.arrivals import BLOCK, arrival_chunks, class_choices
from loadprofiles.shares import Share, owned

_rates = st.floats(0, 300, allow_nan=False)
_curve = st.lists(st.tuples(st.floats(0, 1), _rates), max_size=6).map(sorted).map(tuple)
_stage = st.builds(Stage, st.sampled_from(["baseline", "ramp", "burst"]), st.floats(0.5, 20), _rates, _rates, _curve)
_stages = st.lists(_stage, min_size=1, max_size=4).map(tuple)
_seeds = st.integers(-(2**70), 2**70)
FLAT = LoadProfile("flat", (Stage("burst", 100.0, 50.0, 50.0),), {"a": 3.0, "b": 1.0})


def _dues(profile: LoadProfile, seed: int) -> npt.NDArray[np.float64]:
    return np.concatenate([np.empty(0), *arrival_chunks(profile, seed)])


def _profile(stages: tuple[Stage, ...], arrivals: str = "even") -> LoadProfile:
    return LoadProfile("drawn", stages, {"a": 1.0}, arrivals=arrivals)


@settings(deadline=None)
@given(_stages, _seeds)
def test_even_arrivals_are_nowhere_one_off_the_integral(stages: tuple[Stage, ...], seed: int) -> None:
    due_s = _dues(_profile(stages), seed)
    for t_s in np.linspace(0.0, shapes.duration_s(stages), 41):
        assert abs(np.searchsorted(due_s, t_s) - shapes.arrivals_until(stages, float(t_s))) < 1 + 1e-6


@settings(deadline=None)
@given(_stages, _seeds, st.sampled_from(["even", "poisson"]))
def test_arrivals_never_step_back_and_stay_within_the_stages(
    stages: tuple[Stage, ...], seed: int, arrivals: str
) -> None:
    due_s = _dues(_profile(stages, arrivals), seed)
    assert (np.diff(due_s) >= 0).all()
    assert ((due_s >= 0) & (due_s <= shapes.duration_s(stages))).all()


@given(_stages, _seeds, st.sampled_from(["even", "poisson"]))
def test_no_arrival_falls_where_the_rate_is_zero(stages: tuple[Stage, ...], seed: int, arrivals: str) -> None:
    silent = Stage("ramp", 10.0, 0.0, 0.0)
    due_s = _dues(_profile((silent, *stages), arrivals), seed)
    assert (due_s >= silent.duration_s).all()


@pytest.mark.parametrize("arrivals", ["even", "poisson"])
def test_the_same_seed_gives_the_same_arrivals_and_another_gives_others(arrivals: str) -> None:
    profile = replace(FLAT, arrivals=arrivals)
    assert (_dues(profile, 7) == _dues(profile, 7)).all()
    assert not np.array_equal(_dues(profile, 7), _dues(profile, 8))


def test_poisson_counts_have_the_variance_of_their_mean() -> None:
    profile = replace(FLAT, arrivals="poisson")
    per_second = np.concatenate([np.histogram(_dues(profile, seed), bins=np.arange(101))[0] for seed in range(40)])
    mean, spread = per_second.mean(), per_second.var()
    assert mean == pytest.approx(50.0, abs=4 * math.sqrt(50 / 4000))
    assert spread / mean == pytest.approx(1.0, abs=4 * math.sqrt(2 / 4000))


def test_poisson_gaps_are_exponential() -> None:
    gaps_s = np.diff(_dues(replace(FLAT, stages=(Stage("burst", 400.0, 50.0, 50.0),), arrivals="poisson"), 3)) * 50.0
    grid = np.sort(gaps_s)
    distance = np.abs(1 - np.exp(-grid) - np.arange(1, len(grid) + 1) / len(grid)).max()
    assert distance < 1.63 / math.sqrt(len(grid))  # Kolmogorov-Smirnov, one in a hundred; the seed is fixed


def test_a_poisson_ramp_follows_its_rate() -> None:
    profile = replace(FLAT, stages=(Stage("ramp", 100.0, 0.0, 100.0),), arrivals="poisson")
    counts = sum(np.histogram(_dues(profile, seed), bins=np.linspace(0, 100, 11))[0] for seed in range(50))
    expected = 50 * (np.arange(10) * 100.0 + 50.0)
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected)).all()


@given(_seeds, st.integers(0, 5 * BLOCK), st.lists(st.integers(1, 2 * BLOCK), min_size=1, max_size=5))
def test_classes_depend_on_the_arrivals_number_alone(seed: int, first: int, sizes: list[int]) -> None:
    whole = class_choices(FLAT, seed, first, sum(sizes))
    parts, at = [], first
    for size in sizes:
        parts.append(class_choices(FLAT, seed, at, size))
        at += size
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_classes_are_chosen_by_weight() -> None:
    chosen = class_choices(FLAT, 5, 0, 40_000)
    assert set(chosen.tolist()) == {0, 1}
    assert np.mean(chosen == 0) == pytest.approx(0.75, abs=4 * math.sqrt(0.75 * 0.25 / 40_000))


def test_classes_and_times_do_not_know_of_each_other() -> None:
    place = _dues(FLAT, 11) * 50.0 % 1.0
    chosen = class_choices(FLAT, 11, 0, len(place))
    assert abs(np.corrcoef(place, chosen)[0, 1]) < 4 / math.sqrt(len(place))


@settings(deadline=None)
@given(_seeds, st.lists(st.tuples(st.floats(0.1, 90.0), st.sets(st.integers(0, 4), min_size=1)), max_size=3))
def test_every_arrival_has_one_owner_also_when_the_workers_change(
    seed: int, later: list[tuple[float, set[int]]]
) -> None:
    changes = [Share(from_s, tuple(sorted(members))) for from_s, members in sorted(later, key=lambda one: one[0])]
    shares, first = [Share(0.0, (0, 1, 2)), *changes], 0
    for due_s in arrival_chunks(FLAT, seed):
        owners = np.sum([owned(worker, first, due_s, shares) for worker in range(5)], axis=0)
        assert (owners == 1).all()
        first += len(due_s)
