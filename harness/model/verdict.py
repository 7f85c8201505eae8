"""Three-valued verdicts and their algebra. No I/O; nothing here decides what is judged.

Worst wins for the exit status, with FAIL worst: a proven breach is not undone by what could not be told elsewhere.
Nothing judged is INCONCLUSIVE: never a silent green.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.time import Window


class Outcome(StrEnum):
    """The three answers."""

    PASS = "PASS"  # noqa: S105 - an answer, not a password
    INCONCLUSIVE = "INCONCLUSIVE"
    FAIL = "FAIL"


_RANK = {Outcome.PASS: 0, Outcome.INCONCLUSIVE: 1, Outcome.FAIL: 2}


def combine(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst outcome; none at all is INCONCLUSIVE."""
    return max(outcomes, key=_RANK.__getitem__, default=Outcome.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much evidence a figure rests on.

    Attributes:
        samples: How many there were.
        expected: How many there should have been; 0 where no number can be named.
        gap_max_s: Largest hole between two samples.
    """

    samples: int
    expected: int
    gap_max_s: float = 0.0

    def __str__(self) -> str:
        """Return ``48 of 50 samples, largest gap 4.0 s``."""
        of = f"{self.samples} of {self.expected}" if self.expected else f"{self.samples}"
        return f"{of} samples, largest gap {self.gap_max_s:.1f} s"


@dataclass(frozen=True, slots=True)
class Assumption:
    """Something that must be true for a verdict to mean anything.

    Attributes:
        name: Key in `ASSUMPTIONS`.
        holds: True, False, or None where it cannot be told.
        reason: What was seen.
        remedy: What to do where it does not hold.
    """

    name: str
    holds: bool | None
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one assertion.

    Attributes:
        assertion: Name of the assertion in the experiment file.
        kind: Key in `ASSERTIONS`.
        outcome: PASS, FAIL or INCONCLUSIVE.
        expected: What had to hold, in one line with its limits.
        observed: What was seen, in one line with its figures.
        reason: Why this outcome.
        remedy: What to do, for FAIL and INCONCLUSIVE.
        window: The span that was judged.
        coverage: What the figures rest on.
        evidence: Lines that lead to the facts: event numbers, object names, queries.
        figures: Figures by name (unit last in the name), for the summary and for comparison.
        rests_on: Assumptions that this very outcome rests on, where they differ from those of its kind; None otherwise.
    """

    assertion: str
    kind: str
    outcome: Outcome
    expected: str
    observed: str
    reason: str
    remedy: str = ""
    window: Window | None = None
    coverage: Coverage | None = None
    evidence: tuple[str, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    rests_on: tuple[str, ...] | None = None


def at_most(value: float, limit: float) -> bool | None:
    """Compare ``value <= limit``; None where either is not finite (NaN passes and fails nothing: CASES C02)."""
    return value <= limit if math.isfinite(value) and math.isfinite(limit) else None


def at_least(value: float, limit: float) -> bool | None:
    """Compare ``value >= limit``; None where either is not finite."""
    return value >= limit if math.isfinite(value) and math.isfinite(limit) else None
