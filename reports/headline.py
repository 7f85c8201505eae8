"""The run in one sentence: overall answer, exit status, order of the verdicts. Pure; every report leans on it.

Must not judge: it only counts what the judges answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.record import Ending, Record
from harness.model.verdict import Outcome, Verdict, combine

HELD, BROKEN, STOPPED, CRASHED, USAGE, INCONCLUSIVE = 0, 1, 2, 3, 4, 20

_MEANING = {
    HELD: "everything held",
    BROKEN: "something is broken",
    STOPPED: "stopped before its end, report written",
    CRASHED: "the run crashed or was killed",
    USAGE: "the target is not the one that was named",
    INCONCLUSIVE: "nothing proven broken, but something could not be told",
}
_ENDING_WORDS = {
    Ending.COMPLETED: "nothing was judged",
    Ending.STOPPED: "the run was stopped",
    Ending.REFUSED: "the run was refused",
    Ending.ABORTED: "the run ended early",
    Ending.CRASHED: "the run crashed",
    None: "the run never wrote how it ended",
}
_WORST_FIRST = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1, Outcome.PASS: 2}
WORD = {Outcome.PASS: "held", Outcome.FAIL: "broken", Outcome.INCONCLUSIVE: "cannot be told"}
"""What people read beside the outcome."""

HOLDS = {True: "holds", False: "does not hold", None: "cannot be told"}
"""What people read for an assumption."""


@dataclass(frozen=True, slots=True)
class Headline:
    """What a reader must know first.

    Attributes:
        outcome: Worst of all verdicts.
        sentence: What held or broke, by name.
        circumstance: How the run ended, where it did not complete; else empty.
        exit_status: Of the run (DESIGN §3).
        meaning: What that status says.
    """

    outcome: Outcome
    sentence: str
    circumstance: str
    exit_status: int
    meaning: str


def headline(record: Record, verdicts: Sequence[Verdict]) -> Headline:
    """Return the run in one sentence."""
    status = exit_status(record, verdicts)
    overall = combine(verdict.outcome for verdict in verdicts)
    return Headline(overall, _sentence(record, verdicts), _circumstance(record), status, _MEANING[status])


def exit_status(record: Record, verdicts: Sequence[Verdict]) -> int:
    """Return the exit status: the first of 3, 2, 1, 4, 20 that applies, else 0 (DESIGN §3)."""
    outcome = combine(verdict.outcome for verdict in verdicts)
    refused_identity = any(True for _ in record.timeline.of("refusal", "identity"))
    found = {
        CRASHED: record.header.ending in (Ending.CRASHED, None),
        STOPPED: record.header.ending is Ending.STOPPED,
        BROKEN: outcome is Outcome.FAIL,
        USAGE: refused_identity,
        INCONCLUSIVE: outcome is Outcome.INCONCLUSIVE or record.header.ending is not Ending.COMPLETED,
    }
    return next((status for status, applies in found.items() if applies), HELD)


def worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts with what broke first; otherwise in the order of the experiment."""
    return sorted(verdicts, key=lambda verdict: _WORST_FIRST[verdict.outcome])


def _sentence(record: Record, verdicts: Sequence[Verdict]) -> str:
    unfinished = record.header.ending is not Ending.COMPLETED
    if not verdicts or (unfinished and all(v.outcome is Outcome.INCONCLUSIVE for v in verdicts)):
        return f"Nothing can be told: {_ENDING_WORDS[record.header.ending]}."
    names = {outcome: [v.assertion for v in verdicts if v.outcome is outcome] for outcome in _WORST_FIRST}
    held = len(names[Outcome.PASS])
    if held == len(verdicts):
        return f"Everything held: {held} of {held}."
    openings = {Outcome.FAIL: "Broken", Outcome.INCONCLUSIVE: "Cannot be told"}
    told = [f"{word}: {', '.join(names[outcome])}." for outcome, word in openings.items() if names[outcome]]
    return " ".join([*told, f"Held: {held} of {len(verdicts)}."])


def _circumstance(record: Record) -> str:
    ending, reason = record.header.ending, record.header.reason
    if ending is Ending.COMPLETED:
        return ""
    words = _ENDING_WORDS[ending]
    return f"{words[0].upper()}{words[1:]}" + (f": {reason}" if reason else ".")
