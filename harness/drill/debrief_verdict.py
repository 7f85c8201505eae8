"""What a drill comes to: its exit status and why. Pure; a drill that nothing is known of is never a good one."""

from __future__ import annotations

from collections.abc import Iterator

from harness import exits
from harness.model.debrief import Basis, Debrief, DebriefVerdict, MarkOutcome, PageOutcome
from harness.model.drill import DrillEnd

_BROKEN_PAGES = {PageOutcome.LATE, PageOutcome.MISSING, PageOutcome.UNEXPECTED}
_SENTENCES = {
    exits.HELD: "Mitigated, and every target was met",
    exits.BROKEN: "Not as it should be",
    exits.STOPPED: "Ended by the safety stop",
    exits.INCONCLUSIVE: "Nothing can be told of how people did",
}


def drill_exit_status(debrief: Debrief) -> int:
    """Return the exit status: 2 safety stop, 1 broken, 20 inconclusive, else 0; see `drill_verdict`."""
    return drill_verdict(debrief).exit_status


def drill_verdict(debrief: Debrief) -> DebriefVerdict:
    """Return what a drill comes to, and every reason.

    Broken is what people, alerts or the undo missed: not mitigated, a target missed, an expected alert that was late or
    did not come, one that nobody expected, something left on the cluster. Inconclusive is what cannot be told: the
    fault's effect was not proven, or the run beneath the drill ended by itself.
    """
    undo, unclear, broken = (list(found(debrief)) for found in (_undo, _unclear, _broken))
    if debrief.end == DrillEnd.SAFETY_STOP:
        status, reasons = exits.STOPPED, [debrief.end_reason or "no reason given", *undo, *unclear]
    elif undo:
        status, reasons = exits.BROKEN, [*undo, *unclear, *([] if unclear else broken)]
    elif unclear:
        status, reasons = exits.INCONCLUSIVE, unclear
    else:
        status, reasons = (exits.BROKEN, broken) if broken else (exits.HELD, [])
    return DebriefVerdict(status, _SENTENCES[status], tuple(reasons))


def _undo(debrief: Debrief) -> Iterator[str]:
    if debrief.undo.restored is False:
        yield f"not everything was taken back: {debrief.undo.reason}"


def _unclear(debrief: Debrief) -> Iterator[str]:
    """Yield what keeps the drill from telling how people did."""
    if not debrief.end:
        yield "the drill never said how it ended"
    if debrief.end == DrillEnd.RUN_ENDED:
        yield debrief.end_reason or "the run beneath it ended by itself, and does not say why"
    if debrief.effect.basis is not Basis.EFFECT:
        yield f"the fault's effect was not proven: {debrief.effect.reason}"
    if debrief.undo.restored is None:
        yield f"whether everything was taken back is not known: {debrief.undo.reason}"


def _broken(debrief: Debrief) -> Iterator[str]:
    if debrief.end == DrillEnd.TIME_LIMIT:
        yield "not mitigated within the time limit"
    for mark in debrief.marks:
        if mark.outcome is MarkOutcome.MISSED:
            yield f"{mark.mark.value} after {mark.took_s:.0f} s, wanted within {mark.target_s:.0f} s"
        if mark.outcome is MarkOutcome.NOT_MARKED:
            yield f"{mark.mark.value}: nobody marked it"
        if mark.outcome is MarkOutcome.NOT_TOLD:
            yield f"{mark.mark.value}: cannot be told: {mark.reason}"
    yield from (f"alert {one.alert} {one.outcome.value}: {one.reason}" for one in debrief.pages
                if one.outcome in _BROKEN_PAGES)  # fmt: skip
