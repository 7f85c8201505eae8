"""Differences of two runs: what is flagged is beyond noise and matters; what cannot be told says why."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.model.difference import Difference, Sample, quantile_difference, ratio_difference


def sample(values, seconds=100.0):
    return Sample(np.linspace(0, seconds, len(values), endpoint=False), np.asarray(values, dtype=float))


def good(bad: int, total: int, seed: int = 1, *, together: bool = False):
    """A run with bad requests scattered over it, or all of them in one moment."""
    values = np.ones(total)
    places = np.arange(bad) if together else np.random.default_rng(seed).choice(total, bad, replace=False)
    values[places] = 0
    return sample(values)


def times(scale: float, seed: int, total: int = 4000):
    return sample(np.random.default_rng(seed).lognormal(-4, 0.4, total) * scale)


def test_a_loss_that_is_spread_over_the_run_is_worse_and_the_way_back_is_better():
    lost = ratio_difference("success_ratio", good(3, 7000), good(140, 7000, 2), 0.001)
    assert lost.worse and not lost.better and lost.low < lost.value < lost.high < 0
    won = ratio_difference("success_ratio", good(140, 7000, 2), good(3, 7000), 0.001)
    assert won.better and not won.worse and (won.low, won.high) == pytest.approx((-lost.high, -lost.low))


def test_failures_of_one_moment_are_one_observation_so_the_interval_is_wide():
    scattered = ratio_difference("success_ratio", good(60, 7000), good(100, 7000, 2), 0.001)
    at_once = ratio_difference("success_ratio", good(60, 7000, together=True), good(100, 7000, together=True), 0.001)
    assert scattered.worse and not at_once.worse
    assert at_once.value == pytest.approx(scattered.value)
    assert at_once.high - at_once.low > 3 * (scattered.high - scattered.low)


def test_what_is_significant_and_does_not_matter_is_not_flagged():
    tiny = ratio_difference("success_ratio", good(0, 500_000), good(150, 500_000), 0.001)
    assert tiny.high < 0 and not tiny.worse and not tiny.better
    assert tiny.hidden == pytest.approx(-tiny.low)


def test_two_runs_of_the_same_platform_do_not_differ_and_a_slow_one_does():
    same = quantile_difference("latency_p95_s", times(1, 1), times(1, 2), 0.95, 0.002)
    assert same.low <= 0 <= same.high and not same.worse and not same.better
    slow = quantile_difference("latency_p95_s", times(1, 1), times(1.5, 2), 0.95, 0.002)
    assert slow.worse and 0 < slow.low < slow.value < slow.high
    assert quantile_difference("latency_p95_s", times(1.5, 2), times(1, 1), 0.95, 0.002).better


def test_the_same_two_runs_give_the_same_interval():
    first, second = (quantile_difference("p", times(1, 1), times(1.1, 2), 0.95, 0.002) for _ in range(2))
    assert first == second


def test_many_requests_are_looked_up_among_ranks_and_stay_exact_enough():
    found = quantile_difference("p", times(1, 1, 60_000), times(1.2, 2, 60_000), 0.95, 0.002)
    assert found.worse and found.low < found.value < found.high and found.high - found.low < 0.004


@pytest.mark.parametrize("share", [0.0, 0.02, 0.06, 1.0])
def test_requests_without_an_answer_count_as_infinitely_slow_and_never_crash(share):
    values = np.random.default_rng(3).lognormal(-4, 0.4, 4000)
    values[: int(share * 4000)] = math.inf
    values = np.random.default_rng(4).permutation(values)
    found = quantile_difference("p", times(1, 1), sample(values), 0.95, 0.002)
    assert bool(found.problem) is (share >= 0.05)
    assert not (found.problem and (found.worse or found.better))


@pytest.mark.parametrize("total", [0, 1, 199])
def test_too_few_requests_tell_nothing_and_name_the_run(total):
    for found in (
        ratio_difference("success_ratio", good(0, 7000), good(0, total), 0.001),
        quantile_difference("p", times(1, 1), times(1, 2, total), 0.95, 0.002),
    ):
        assert f"the second run: {total} requests are too few" in found.problem
        assert math.isnan(found.low) and not found.worse and not found.better


def test_a_load_of_a_few_seconds_tells_nothing():
    short = Sample(np.linspace(0, 12, 900), np.ones(900))
    assert "3 blocks of 5 s are too few" in ratio_difference("success_ratio", short, good(0, 7000), 0.001).problem


def test_a_figure_that_is_not_finite_is_neither_worse_nor_better():
    unknown = Difference("x_s", math.nan, 1.0, math.nan, math.nan, 0.1, more_is_better=False)
    assert not unknown.worse and not unknown.better
