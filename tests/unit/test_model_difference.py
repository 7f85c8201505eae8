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


# Word for word and figure for figure ---------------------------------------------------------------------------------


def rounded(found: Difference) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in (found.before, found.after, found.low, found.high))


def test_the_interval_of_a_ratio_is_newcombes_of_requests_as_good_as_independent():
    even = ratio_difference("success_ratio", good(0, 7000), good(140, 7000, 2), 0.001)
    assert rounded(even) == (1.0, 0.98, -0.023606, -0.016887)
    clustered = ratio_difference("success_ratio", good(0, 7000), good(140, 7000, together=True), 0.001)
    assert rounded(clustered) == (1.0, 0.98, -0.106301, -0.00348)


def test_the_interval_of_a_quantile_is_the_middle_of_what_blocks_give_drawn_with_replacement():
    found = quantile_difference("p", times(1, 1), times(1.2, 2), 0.95, 0.002)
    assert rounded(found) == (0.03556, 0.041945, 0.005225, 0.008042)
    assert (found.name, found.relevant, found.more_is_better, found.problem) == ("p", 0.002, False, "")


def test_what_cannot_be_told_says_why():
    lost = np.where(np.arange(4000) % 10 == 0, math.inf, 0.01)
    found = quantile_difference("p", times(1, 1), sample(lost), 0.95, 0.002)
    assert found.problem == "more than 5% of the requests of one run got no answer"
    late = np.where(np.arange(4000) < 36, math.inf, 0.01)
    few = quantile_difference("p", sample(late), sample(late), 0.99, 0.002)
    assert few.problem == "too many requests got no answer"
    both = ratio_difference("success_ratio", good(0, 10), good(0, 20), 0.001)
    told = [
        f"the {run} run: {total} requests are too few, 200 are needed" for run, total in (("first", 10), ("second", 20))
    ]
    assert both.problem == "; ".join(told)
    short = Sample(np.linspace(0, 12, 900), np.ones(900))
    found = ratio_difference("success_ratio", short, good(0, 7000), 0.001)
    assert found.problem == "the first run: 3 blocks of 5 s are too few, 8 are needed"


def test_enough_is_enough_to_the_last_request_and_block():
    assert ratio_difference("r", good(0, 200), good(0, 200), 0.001).problem == ""
    blocks = [Sample(np.linspace(0, seconds, 900, endpoint=False), np.ones(900)) for seconds in (40.0, 35.0)]
    assert ratio_difference("r", blocks[0], blocks[0], 0.001).problem == ""
    assert "7 blocks" in ratio_difference("r", blocks[1], blocks[0], 0.001).problem


@pytest.mark.parametrize(
    ("low", "high", "more_is_better", "hidden"),
    [(-0.2, 0.3, True, 0.2), (-0.2, 0.3, False, 0.3), (0.1, 0.3, True, 0.0), (-0.3, -0.1, False, 0.0)],
)
def test_what_an_interval_hides_is_its_worst_end(low, high, more_is_better, hidden):
    assert Difference("x", 1.0, 1.1, low, high, 0.01, more_is_better).hidden == hidden


def test_a_move_counts_from_the_smallest_that_matters_and_beyond_zero():
    assert Difference("x", 1.0, 1.5, 0.1, 0.9, 0.5, more_is_better=False).worse
    assert not Difference("x", 1.0, 1.5, 0.0, 0.9, 0.5, more_is_better=False).worse
    assert Difference("x", 1.0, 0.5, -0.9, -0.1, 0.5, more_is_better=False).better
    assert Difference("x", 1.0, 0.5, -0.9, -0.1, 0.5, more_is_better=True).worse
    assert not Difference("x", 1.0, 1.5, 0.1, 0.9, 0.5, more_is_better=False, problem="too few").worse
