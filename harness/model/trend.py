"""A figure over many runs of one experiment: where it used to lie, and whether the last run left that. No I/O.

What is usual is the median of the earlier runs, what is noise their median absolute deviation: one odd run among them
moves neither. Few runs tell no noise, so nothing is said on fewer than `EARLIER_MIN`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.model.comparison import Change
from harness.model.verdict import Outcome

EARLIER_MIN = 5
SPREADS = 3.0
NORMAL = 1.4826
"""Scales a median absolute deviation to a standard deviation, were the runs normally distributed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that is followed over runs.

    Attributes:
        name: With its unit last.
        title: For people.
        more_is_better: Whether a rise is good.
        relevant: Smallest difference that matters, whatever the figure was.
        relevant_ratio: The same, as a share of what is usual; the larger of the two counts.
    """

    name: str
    title: str
    more_is_better: bool
    relevant: float
    relevant_ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class RunRow:
    """A stored run as a row of the index.

    Attributes:
        run_id: Name of its folder.
        experiment: Name of the experiment, or empty where the folder cannot be read.
        target: Name of the target.
        kind: Kind of the target.
        started_at: ISO 8601, or empty.
        outcome: The worst verdict, or None where the folder cannot be read.
        control: Whether it is a control run.
        values: Figures by name; one that cannot be leaned on is missing.
        problem: Why the folder cannot be read, or why its figures do not count; else empty.
        report: Whether its page is there.
    """

    run_id: str
    experiment: str = ""
    target: str = ""
    kind: str = ""
    started_at: str = ""
    outcome: Outcome | None = None
    control: bool = False
    values: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""
    report: bool = False


@dataclass(frozen=True, slots=True)
class Trend:
    """One figure over the runs of an experiment on one kind of target.

    Attributes:
        figure: Which.
        runs: Ids of the runs, oldest first; the last is the one that is asked about.
        values: Of the figure, as many; NaN where a run has none.
        usual: Median of the earlier runs, or NaN.
        noise: How far from it a run may lie and still be usual, or NaN.
        change: What the last run is against the earlier ones.
        reason: Why, in one sentence.
    """

    figure: Figure
    runs: tuple[str, ...]
    values: tuple[float, ...]
    usual: float
    noise: float
    change: Change
    reason: str


@dataclass(frozen=True, slots=True)
class ExperimentTrend:
    """All figures of one experiment on one kind of target.

    Attributes:
        experiment: Its name.
        kind: Kind of the target.
        trends: One a figure that any of its runs has.
        left_out: Earlier runs that are not comparable with the last, such as ones with another load.
    """

    experiment: str
    kind: str
    trends: tuple[Trend, ...]
    left_out: int = 0


def trend_of(figure: Figure, runs: Sequence[str], values: Sequence[float]) -> Trend:
    """Judge the last run of a figure against the earlier ones.

    Args:
        figure: Which.
        runs: Ids, oldest first; at least one.
        values: Of the figure, as many; NaN where a run has none.
    """
    earlier = [value for value in values[:-1] if math.isfinite(value)]
    usual = noise = math.nan
    if len(earlier) >= EARLIER_MIN:
        usual = float(np.median(earlier))
        spread = SPREADS * NORMAL * float(np.median(np.abs(np.array(earlier) - usual)))
        noise = max(spread, figure.relevant, figure.relevant_ratio * abs(usual))
    change, reason = _last(figure, values[-1], len(earlier), usual, noise)
    return Trend(figure, tuple(runs), tuple(values), usual, noise, change, reason)


def _last(figure: Figure, last: float, earlier: int, usual: float, noise: float) -> tuple[Change, str]:
    if not math.isfinite(last):
        return Change.UNCLEAR, "the last run has no figure that counts"
    if not math.isfinite(noise):
        return Change.UNCLEAR, f"{earlier} earlier runs are too few to know the noise, {EARLIER_MIN} are needed"
    if abs(last - usual) <= noise:
        return Change.SAME, f"within the noise of {earlier} earlier runs"
    rose = last > usual
    word = Change.BETTER if rose == figure.more_is_better else Change.WORSE
    return word, f"{'above' if rose else 'below'} the noise of {earlier} earlier runs"
