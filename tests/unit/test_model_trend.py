"""The trend of a figure and the comparison of two runs, as values."""

from __future__ import annotations

import math

import pytest

from harness.model.comparison import Change, Comparison, VerdictChange, change_of
from harness.model.difference import Difference
from harness.model.trend import Figure, Trend, trend_of
from harness.model.verdict import Outcome

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
LATENCY = Figure("p95_ms", "p95", more_is_better=False, relevant=1.0)
GOOD = Figure("good_ratio", "good", more_is_better=True, relevant=0.01)
RUNS = tuple("abcdefgh")
NOISY = (10.0, 12.0, 14.0, 16.0, 18.0)
"""Median 14, median absolute deviation 2."""


def trend(figure: Figure, *values: float) -> Trend:
    return trend_of(figure, RUNS[: len(values)], values)


def test_what_is_usual_is_the_median_and_what_is_noise_three_spreads() -> None:
    found = trend(LATENCY, *NOISY, 20.0)
    assert found.usual == 14.0
    assert found.noise == pytest.approx(3 * 1.4826 * 2)
    assert (found.figure, found.runs, found.values) == (LATENCY, tuple("abcdef"), (*NOISY, 20.0))
    assert (found.change, found.reason) == (Change.SAME, "within the noise of 5 earlier runs")


@pytest.mark.parametrize(
    ("figure", "last", "change", "side"),
    [
        (LATENCY, 30.0, Change.WORSE, "above"),
        (LATENCY, 1.0, Change.BETTER, "below"),
        (GOOD, 30.0, Change.BETTER, "above"),
        (GOOD, 1.0, Change.WORSE, "below"),
    ],
)
def test_beyond_the_noise_the_side_and_the_figure_say_what_it_is(
    figure: Figure, last: float, change: Change, side: str
) -> None:
    found = trend(figure, *NOISY, last)
    assert (found.change, found.reason) == (change, f"{side} the noise of 5 earlier runs")


def test_a_difference_that_does_not_matter_is_within_the_noise_however_still_the_runs_were() -> None:
    assert trend(LATENCY, *([10.0] * 5), 11.0).change is Change.SAME
    assert trend(LATENCY, *([10.0] * 5), 11.01).change is Change.WORSE
    share = Figure("p95_ms", "p95", more_is_better=False, relevant=0.1, relevant_ratio=0.2)
    assert trend(share, *([-10.0] * 5), -12.0).noise == pytest.approx(2.0)
    assert trend(share, *([10.0] * 5), 12.01).change is Change.WORSE


def test_few_runs_tell_no_noise_and_runs_without_the_figure_do_not_count() -> None:
    few = trend(LATENCY, 10.0, math.nan, 10.0, 10.0, 10.0, 99.0)
    assert math.isnan(few.usual) and math.isnan(few.noise)
    reason = "4 earlier runs are too few to know the noise, 5 are needed"
    assert (few.change, few.reason) == (Change.UNCLEAR, reason)
    gone = trend(LATENCY, *NOISY, math.nan)
    assert (gone.change, gone.reason) == (Change.UNCLEAR, "the last run has no figure that counts")


# Two runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (PASS, PASS, Change.SAME),
        (FAIL, FAIL, Change.SAME),
        (None, PASS, Change.SAME),
        (FAIL, PASS, Change.BETTER),
        (OPEN, PASS, Change.BETTER),
        (PASS, FAIL, Change.WORSE),
        (OPEN, FAIL, Change.WORSE),
        (None, FAIL, Change.WORSE),
        (PASS, OPEN, Change.UNCLEAR),
        (OPEN, OPEN, Change.UNCLEAR),
        (PASS, None, Change.UNCLEAR),
        (None, None, Change.UNCLEAR),
    ],
)
def test_what_became_of_an_answer(before: Outcome | None, after: Outcome | None, change: Change) -> None:
    assert change_of(before, after) is change


def compared(*changes: Change, problems: tuple[str, ...] = (), differences: tuple[Difference, ...] = ()) -> Change:
    answers = tuple(VerdictChange(str(n), None, None, change) for n, change in enumerate(changes))
    return Comparison("a", "b", problems=problems, differences=differences, changes=answers).change


def test_two_runs_come_to_the_worst_of_their_answers_and_nothing_compared_is_unclear() -> None:
    assert compared(Change.SAME, Change.BETTER, Change.UNCLEAR, Change.WORSE) is Change.WORSE
    assert compared(Change.SAME, Change.BETTER, Change.UNCLEAR) is Change.UNCLEAR
    assert compared(Change.SAME, Change.BETTER) is Change.BETTER
    assert compared(Change.SAME) is Change.SAME
    assert compared() is Change.UNCLEAR
    assert compared(Change.SAME, problems=("other experiments",)) is Change.UNCLEAR


def difference(after: float, low: float, high: float, *, more_is_better: bool = False, problem: str = "") -> Difference:
    return Difference("p95_ms", 10.0, after, low, high, 1.0, more_is_better, problem)


def test_figures_count_beside_the_answers() -> None:
    worse, better = difference(13.0, 2.0, 4.0), difference(7.0, -4.0, -2.0)
    noise, unknown = difference(13.0, -1.0, 7.0), difference(13.0, 2.0, 4.0, problem="too few")
    assert compared(Change.BETTER, differences=(better, worse)) is Change.WORSE
    assert compared(Change.SAME, differences=(better,)) is Change.BETTER
    assert compared(differences=(noise,)) is Change.SAME
    assert compared(Change.BETTER, differences=(unknown,)) is Change.UNCLEAR
    assert compared(differences=(difference(13.0, 2.0, 4.0, more_is_better=True),)) is Change.BETTER
