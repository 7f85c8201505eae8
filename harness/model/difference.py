"""What differs between two runs, with an interval: a ratio of good requests, a quantile of times. No I/O, no clock.

Requests of the same seconds share their fate (one killed pod costs many at once), so they are no independent draws.
Both intervals therefore count blocks of time, not requests: the ratio by its design effect, the quantile by drawing
whole blocks again. Draws come from a fixed seed: the same two runs give the same interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.model.proportion import newcombe_interval
from harness.model.signal import Floats

RATIO_BLOCK_S = 5.0
"""About as long as one loss is felt: failures within it count as one event."""

QUANTILE_BLOCK_S = 1.0
"""Shorter: a stall that is on schedule in both runs would, in few long blocks, count as chance and swamp the rest."""

BLOCKS_MIN = 8
REQUESTS_MIN = 200
DRAWS = 2000
SEED = 20_260_101
RANKS = 4000
"""Ranks of the pooled times that a quantile is looked up among; a rank is 0.025 % of the requests."""

Blocks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure in two runs, and how far apart they are.

    Attributes:
        name: Of the figure, unit last.
        before: In the first run.
        after: In the second run.
        low: Lower end of the 95 % interval of ``after - before``; NaN where ``problem`` says why there is none.
        high: Upper end.
        relevant: Smaller differences do not matter to anybody.
        more_is_better: Whether a rise is good.
        problem: Why the difference cannot be told, or empty.
    """

    name: str
    before: float
    after: float
    low: float
    high: float
    relevant: float
    more_is_better: bool
    problem: str = ""

    @property
    def value(self) -> float:
        """Return how much it rose."""
        return self.after - self.before

    @property
    def worse(self) -> bool:
        """Tell whether it got worse, beyond noise and by an amount that matters."""
        return self._moved(-1 if self.more_is_better else 1)

    @property
    def better(self) -> bool:
        """Tell whether it got better, beyond noise and by an amount that matters."""
        return self._moved(1 if self.more_is_better else -1)

    def _moved(self, sign: int) -> bool:
        """Tell whether interval and value lie on one side; comparisons with NaN are false, so nothing is made up."""
        nearer = self.low if sign > 0 else -self.high
        return not self.problem and nearer > 0 and sign * self.value >= self.relevant

    @property
    def hidden(self) -> float:
        """Return the worst change for the worse that the interval does not rule out; at least 0."""
        return max(0.0, -self.low if self.more_is_better else self.high)


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests of one run.

    Attributes:
        at_s: When each was due.
        values: What is looked at: 1.0 good and 0.0 bad, or seconds (infinite where no answer came).
    """

    at_s: Floats
    values: Floats

    def blocks(self, length_s: float) -> Blocks:
        """Return the number of each request's block, from 0 without holes."""
        found = np.floor(self.at_s / length_s).astype(np.int64)
        return np.unique(found, return_inverse=True)[1].reshape(-1)

    def problem(self, length_s: float) -> str:
        """Return why nothing can be told from it, or an empty string."""
        if len(self.values) < REQUESTS_MIN:
            return f"{len(self.values)} requests are too few, {REQUESTS_MIN} are needed"
        blocks = int(self.blocks(length_s).max()) + 1
        return f"{blocks} blocks of {length_s:g} s are too few, {BLOCKS_MIN} are needed" if blocks < BLOCKS_MIN else ""


def ratio_difference(name: str, before: Sample, after: Sample, relevant: float) -> Difference:
    """Compare the share of good requests of two runs.

    Args:
        name: Of the figure.
        before: Of the first run; values are 1.0 for good and 0.0 for bad.
        after: Of the second run.
        relevant: Smallest difference that matters.
    """
    problem = _problem(before, after, RATIO_BLOCK_S)
    shares = [float(one.values.mean()) if len(one.values) else math.nan for one in (before, after)]
    low = high = math.nan
    if not problem:
        down, up = newcombe_interval(_worth(before), _worth(after))  # of the bad ones, hence turned round
        low, high = -up, -down
    return Difference(name, shares[0], shares[1], low, high, relevant, more_is_better=True, problem=problem)


def _worth(sample: Sample) -> tuple[float, float]:
    """Return how many independent requests, bad and in all, those of a sample are worth (Kish's design effect)."""
    blocks, bad = sample.blocks(RATIO_BLOCK_S), 1.0 - sample.values
    totals, bads = np.bincount(blocks).astype(float), np.bincount(blocks, weights=bad)
    total, share = totals.sum(), bads.sum() / totals.sum()
    independent = share * (1 - share) / total
    if not independent:
        return float(bads.sum()), float(total)
    clustered = len(totals) / (len(totals) - 1) * float(((bads - share * totals) ** 2).sum()) / total**2
    effect = max(1.0, float(clustered / independent))
    return float(bads.sum()) / effect, float(total) / effect


def quantile_difference(name: str, before: Sample, after: Sample, quantile: float, relevant: float) -> Difference:
    """Compare a quantile of the times of two runs, by a bootstrap of whole blocks.

    Args:
        name: Of the figure.
        before: Of the first run; values are seconds, infinite where no answer came.
        after: Of the second run.
        quantile: Which, such as 0.95.
        relevant: Smallest difference that matters.
    """
    problem = _problem(before, after, QUANTILE_BLOCK_S)
    found = [_quantile(one.values, quantile) for one in (before, after)]
    low = high = math.nan
    if not problem and not all(math.isfinite(value) for value in found):
        problem = f"more than {1 - quantile:.0%} of the requests of one run got no answer"
    if not problem:
        grid = _grid(before, after)
        generator = np.random.default_rng(SEED)
        drawn = [_drawn(one, quantile, grid, generator) for one in (before, after)]
        with np.errstate(invalid="ignore"):  # infinite less infinite is not a number, which `_middle` looks for
            low, high = _middle(drawn[1] - drawn[0])
        problem = "" if math.isfinite(low) and math.isfinite(high) else "too many requests got no answer"
    return Difference(name, found[0], found[1], low, high, relevant, more_is_better=False, problem=problem)


def _problem(before: Sample, after: Sample, length_s: float) -> str:
    found = {"first": before.problem(length_s), "second": after.problem(length_s)}
    return "; ".join(f"the {which} run: {problem}" for which, problem in found.items() if problem)


def _quantile(values: Floats, quantile: float) -> float:
    return float(np.quantile(values, quantile, method="higher")) if len(values) else math.nan


def _grid(before: Sample, after: Sample) -> Floats:
    """Return the values among which quantiles are looked up: all of them, or as many as there are ranks."""
    pooled = np.unique(np.concatenate((before.values, after.values)))
    if len(pooled) <= RANKS:
        return pooled
    every = np.concatenate((before.values, after.values))
    return np.unique(np.quantile(every, np.linspace(0, 1, RANKS + 1), method="higher"))


def _drawn(sample: Sample, quantile: float, grid: Floats, generator: np.random.Generator) -> Floats:
    """Return the quantile of each of `DRAWS` samples made of whole blocks, drawn with replacement."""
    blocks, ranks = sample.blocks(QUANTILE_BLOCK_S), np.searchsorted(grid, sample.values)
    count = int(blocks.max()) + 1
    table = np.bincount(blocks * len(grid) + ranks, minlength=count * len(grid)).reshape(count, len(grid))
    picks = generator.multinomial(count, np.full(count, 1 / count), size=DRAWS)
    below = np.cumsum(picks.astype(float) @ table.astype(float), axis=1)
    wanted = np.ceil(quantile * below[:, -1:])
    return np.asarray(grid[np.argmax(below >= wanted, axis=1)], dtype=np.float64)


def _middle(differences: Floats) -> tuple[float, float]:
    """Return the ends of the middle 95 %; NaN where a difference of two infinities is among them."""
    if np.isnan(differences).any():
        return math.nan, math.nan
    low, high = np.quantile(differences, [0.025, 0.975], method="nearest")
    return float(low), float(high)
