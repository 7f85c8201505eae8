"""What people should talk about after a drill: questions that its own evidence raises. Pure; blames nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.model.debrief import Debrief, MarkOutcome, PageOutcome, PageScore, SealOutcome, StepOutcome
from harness.model.drill import Mark, Origin

MUCH_LATER_S = 30.0


def discuss(debrief: Debrief) -> tuple[str, ...]:
    """Return the questions, those about safety first."""
    parts = (_safety, _marks, _pages, _runbook, _help)
    return tuple(line for part in parts for line in part(debrief))


def _safety(debrief: Debrief) -> Iterator[str]:
    if debrief.reveal.seal is SealOutcome.BROKEN:
        yield "What was revealed is not what was sealed: who changed it, and does this drill count?"
    if debrief.undo.restored is False or debrief.undo.leftovers:
        yield "Something is still on the cluster. Who takes it back, and until when?"
    for text in debrief.undo.left_alone:
        yield f"The undo left to people what they had changed: {text}. Should it stay?"


def _marks(debrief: Debrief) -> Iterator[str]:
    marks = {one.mark: one for one in debrief.marks}
    for one in debrief.marks:
        if one.outcome is MarkOutcome.MISSED:
            yield f"What would have brought “{one.mark.value}” from {one.took_s:.0f} s below {one.target_s:.0f} s?"
        if one.outcome is MarkOutcome.NOT_MARKED:
            yield f"Nobody marked “{one.mark.value}”: did it not happen, or did nobody say so?"
    said, back = marks.get(Mark.MITIGATED), debrief.steady_back.value
    if said and said.took_s is not None and back is not None and back + MUCH_LATER_S < said.took_s:
        yield f"All was well {said.took_s - back:.0f} s before anybody said so: how do people see that it is over?"


def _pages(debrief: Debrief) -> Iterator[str]:
    named = {outcome: [one for one in debrief.pages if one.outcome is outcome] for outcome in PageOutcome}
    if named[PageOutcome.MISSING]:
        yield f"No page came of {_alerts(named[PageOutcome.MISSING])}: is the rule right, and is it routed?"
    if named[PageOutcome.LATE]:
        yield f"Late came {_alerts(named[PageOutcome.LATE])}: is its window too long?"
    if named[PageOutcome.UNEXPECTED]:
        yield f"Nobody expected {_alerts(named[PageOutcome.UNEXPECTED])}: noise, or a symptom of the drill's own?"
    first = min((one.after_s for one in debrief.pages if one.after_s is not None), default=None)
    seen = next((one.took_s for one in debrief.marks if one.mark is Mark.DETECTED), None)
    if first is not None and seen is not None and seen < first:
        yield f"People noticed {first - seen:.0f} s before the first page: what did they look at, and could an alert?"


def _alerts(pages: Sequence[PageScore]) -> str:
    return ", ".join(one.alert for one in pages)


def _runbook(debrief: Debrief) -> Iterator[str]:
    words = {
        StepOutcome.SKIPPED: "were skipped: are they needed",
        StepOutcome.OUT_OF_ORDER: "were done in another order: is the runbook's the right one",
        StepOutcome.UNTOUCHED: "were not touched: were they not needed, or not found",
    }
    for outcome, text in words.items():
        steps = [one.step for one in debrief.steps if one.outcome is outcome]
        if steps:
            yield f"Steps of the runbook ({', '.join(steps)}) {text}?"
    failed = [one.command for one in debrief.commands if one.outcome.startswith(("failed", "refused"))]
    if failed:
        yield f"These commands of the runbook did not work: {'; '.join(failed)}. What is wrong with them?"


def _help(debrief: Debrief) -> Iterator[str]:
    if debrief.hints:
        yield f"Hints were needed ({len(debrief.hints)}): what should the runbook, a dashboard or an alert have said?"
    by_hand = sum(one.origin == Origin.HUMAN for one in debrief.actions)
    if by_hand:
        yield f"Changes were made by hand ({by_hand}): which of them should be a tool, and which must not be needed?"
    if debrief.troubles:
        yield f"The drill itself had troubles ({len(debrief.troubles)}): mend them before the next one."
