"""A drill's debrief as values: what was hidden, how people and alerts did, what the platform would have done alone.

No I/O, no clock, no judgement of what is good: `harness.drill.debrief` makes it, reports show it. What is not known is
None with its reason beside it, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.model.drill import Mark


class Basis(StrEnum):
    """What the times of a debrief count from."""

    EFFECT = "effect"
    """The proof that the fault bit."""
    DEED = "deed"
    """The deed itself: its effect was never proven."""
    NONE = "none"
    """No fault was carried out, or nothing is known of it."""


class MarkOutcome(StrEnum):
    """How a mark did against its target."""

    MET = "met"
    MISSED = "missed"
    NOT_MARKED = "not marked"
    NO_TARGET = "no target"
    NOT_TOLD = "not told"


class PageOutcome(StrEnum):
    """What a page was to the drill."""

    IN_TIME = "in time"
    LATE = "late"
    MISSING = "missing"
    ALLOWED = "allowed"
    UNEXPECTED = "unexpected"
    NOT_TOLD = "not told"


class StepOutcome(StrEnum):
    """What became of a step of the runbook."""

    DONE = "done"
    OUT_OF_ORDER = "out of order"
    SKIPPED = "skipped"
    UNTOUCHED = "untouched"


class SealOutcome(StrEnum):
    """Whether what was revealed is what was sealed before the drill began."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_TOLD = "not told"


@dataclass(frozen=True, slots=True)
class Told:
    """A figure, or the reason why there is none.

    Attributes:
        value: The figure, or None.
        reason: Where it comes from, or why it is not known.
    """

    value: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reveal:
    """What the drill had hidden; empty texts where it was never revealed."""

    experiment: str = ""
    fault: str = ""
    title: str = ""
    answer: str = ""
    seal: SealOutcome = SealOutcome.NOT_TOLD


@dataclass(frozen=True, slots=True)
class FaultEffect:
    """From when on there was something to notice.

    Attributes:
        at_unix_s: From when times count, or None.
        basis: What that is.
        reason: What was seen, or why nothing is known.
        window_unix_s: From the fault's permit to its undo, or None.
    """

    at_unix_s: float | None = None
    basis: Basis = Basis.NONE
    reason: str = ""
    window_unix_s: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class MarkScore:
    """One mark against its target.

    Attributes:
        mark: Which.
        outcome: How it did.
        took_s: Since the fault's effect; negative before its proof, None where it is not known.
        target_s: By when it was wanted, or None.
        by: Who said so.
        implied: Whether a later mark implied it.
        reason: Why it is not told.
    """

    mark: Mark
    outcome: MarkOutcome
    took_s: float | None = None
    target_s: float | None = None
    by: str = ""
    implied: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PageScore:
    """One alert.

    Attributes:
        alert: Its alertname.
        outcome: What it was to the drill.
        after_s: When it first fired, since the fault's effect; None where it did not, or that is not known.
        reason: Why this outcome.
    """

    alert: str
    outcome: PageOutcome
    after_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepScore:
    """One step of the runbook; ``at_unix_s`` is when it was ticked, or said to be skipped."""

    step: str
    title: str
    outcome: StepOutcome
    at_unix_s: float | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class UndoScore:
    """What became of the changes of the drill.

    Attributes:
        restored: Whether everything was taken back, or None where that is not known.
        reason: What the judge of it said.
        leftovers: What is still on the cluster.
        left_alone: What people had changed meanwhile, so that the undo left it to them.
    """

    restored: bool | None = None
    reason: str = ""
    leftovers: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EarlierDrill:
    """A drill of the same fault before this one; ``took_s`` by mark, where it is known."""

    drill_id: str
    began_at: str
    end: str
    exit_status: int | None
    took_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unattended:
    """What the platform did alone: the last run of the experiment with nobody on call.

    Attributes:
        run_id: Which run, or empty.
        recovery: How long until all was well again.
    """

    run_id: str = ""
    recovery: Told = Told()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the debrief's timeline.

    Attributes:
        at_unix_s: When.
        after_s: The same since the fault's effect, or None.
        kind: Such as ``mark``, ``page`` or ``fault``.
        by: Who.
        text: What.
    """

    at_unix_s: float
    after_s: float | None
    kind: str
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class CommandRun:
    """A command of the runbook that was run or refused."""

    at_unix_s: float
    step: str
    command: str
    by: str
    outcome: str


@dataclass(frozen=True, slots=True)
class PersonAction:
    """A change in the cluster, by whom; ``origin`` as in `harness.model.drill.Origin`."""

    at_unix_s: float
    object: str
    what: str
    manager: str
    origin: str


@dataclass(frozen=True, slots=True)
class Debrief:
    """All that a debrief tells.

    Attributes:
        drill_id: Which drill.
        target: Where.
        began_unix_s: Its first entry, or None where there is none.
        ended_unix_s: Its last entry, or None.
        end: A `harness.model.drill.DrillEnd`, or empty where it never said how it ended.
        end_reason: Why.
        limit_s: Longest time it could take, or None.
        reveal: What it had hidden.
        effect: From when on there was something to notice.
        marks: One each, in order.
        steady_back: How long after the effect the steady state was back for good.
        pages: Expected ones first.
        budget: Share of the error budget that was spent; above 1 it is overspent.
        undo: What became of the changes.
        hints: Those that were given away, in order.
        hints_left: How many more there were, or None.
        runbook: Its path, or empty.
        steps: In the runbook's order, or in the journal's where it cannot be read.
        commands: In order.
        actions: Changes by people and controllers, in order.
        notes: How many lines the scribe wrote.
        troubles: What of the drill itself did not work.
        earlier: Drills of the same fault before this one, newest first.
        alone: What the platform did alone.
        run_id: The run beneath it, or empty.
        record_problem: Why the run's record tells nothing, or empty.
        journal_problem: What of the journal cannot be read, or empty.
        rows: The timeline.
        discuss: What people should talk about.
    """

    drill_id: str
    target: str = ""
    began_unix_s: float | None = None
    ended_unix_s: float | None = None
    end: str = ""
    end_reason: str = ""
    limit_s: float | None = None
    reveal: Reveal = Reveal()
    effect: FaultEffect = FaultEffect()
    marks: tuple[MarkScore, ...] = ()
    steady_back: Told = Told()
    pages: tuple[PageScore, ...] = ()
    budget: Told = Told()
    undo: UndoScore = UndoScore()
    hints: tuple[str, ...] = ()
    hints_left: int | None = None
    runbook: str = ""
    steps: tuple[StepScore, ...] = ()
    commands: tuple[CommandRun, ...] = ()
    actions: tuple[PersonAction, ...] = ()
    notes: int = 0
    troubles: tuple[str, ...] = ()
    earlier: tuple[EarlierDrill, ...] = ()
    alone: Unattended = Unattended()
    run_id: str = ""
    record_problem: str = ""
    journal_problem: str = ""
    rows: tuple[Row, ...] = ()
    discuss: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DebriefVerdict:
    """What a drill comes to.

    Attributes:
        exit_status: See `harness.exits`.
        sentence: The same in words.
        reasons: Why it is not 0, worst first.
    """

    exit_status: int
    sentence: str
    reasons: tuple[str, ...] = ()
