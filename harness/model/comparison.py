"""Two runs side by side, as values: what became of each answer, what the figures do, and what that comes to. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.difference import Difference
from harness.model.verdict import Outcome

EFFECT_FACT = "effect_of_faults"
"""Key in a header's facts of the `Effect` that reports show; made when a run is judged, never stored in the record."""

CONTROL_FACT = "control"
"""Key in a header's facts: true for a run of an experiment without its faults."""

CONTROL_RUN_FACT = "control_run"
"""Key in a header's facts: id of the control run that was made right before this run."""


class Change(StrEnum):
    """What became of an answer."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """One assertion in two runs.

    Attributes:
        assertion: Its name.
        before: The answer in the first run, or None where it was not asked.
        after: The answer in the second run, or None where it was not asked.
        change: What became of it.
        note: Why, where the two answers alone do not say so.
        figures: Figures by name, ``(before, after)``; NaN where one run has none.
    """

    assertion: str
    before: Outcome | None
    after: Outcome | None
    change: Change
    note: str = ""
    figures: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs of one experiment.

    Attributes:
        before: Id of the first run.
        after: Id of the second run.
        problems: Why they cannot be compared; then there is nothing below.
        notes: What a reader should know.
        differences: Figures with an interval.
        changes: Answers, in the order of the second run's experiment.
    """

    before: str
    after: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    changes: tuple[VerdictChange, ...] = ()

    @property
    def change(self) -> Change:
        """Return what it all comes to: worse where anything is, unclear where anything cannot be told."""
        found = {one.change for one in self.changes}
        found |= {_change_of(difference) for difference in self.differences}
        if self.problems or not found:
            return Change.UNCLEAR
        return next(c for c in (Change.WORSE, Change.UNCLEAR, Change.BETTER, Change.SAME) if c in found)


def _change_of(difference: Difference) -> Change:
    if difference.problem:
        return Change.UNCLEAR
    return Change.WORSE if difference.worse else Change.BETTER if difference.better else Change.SAME


@dataclass(frozen=True, slots=True)
class Effect:
    """What the faults of a run did, against its control run.

    Attributes:
        control_run: Id of the control run.
        differences: From the control run to the run.
        problem: Why nothing can be told, or empty.
    """

    control_run: str
    differences: tuple[Difference, ...] = ()
    problem: str = ""


def change_of(before: Outcome | None, after: Outcome | None) -> Change:
    """Return what became of an answer.

    Worse is what is broken now and was not known to be; what cannot be told now is unclear, whatever it was: that is
    no silent green. An assertion that is gone is unclear too, and a new one only where it does not hold.
    """
    if after is None or after is Outcome.INCONCLUSIVE:
        return Change.UNCLEAR
    if before is after:
        return Change.SAME
    if after is Outcome.FAIL:
        return Change.WORSE
    return Change.SAME if before is None else Change.BETTER
