"""How people, alerts and the undo did in a drill, from its journal and the run's record. Pure; judges nothing anew.

Times count from the proof of the fault's effect; where there is none from the deed, and that is said. What cannot be
told says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from harness.drill.debrief_sources import Sources
from harness.model.debrief import (
    Basis,
    FaultEffect,
    MarkOutcome,
    MarkScore,
    PageOutcome,
    PageScore,
    Reveal,
    SealOutcome,
    StepOutcome,
    StepScore,
    Told,
    UndoScore,
)
from harness.model.drill import MARKS, REHEARSAL, DrillState, Entry, Mark, seal_of
from harness.model.fault import Effect
from harness.model.record import Record
from harness.model.timeline import Event
from harness.model.verdict import Outcome, Verdict
from reports.rows import alerts

LEFT_ALONE = "left alone: "
_DEEDS = ("acted", "progress")
_OVER = frozenset({DrillState.ENDING, DrillState.OVER})


def reveal_of(sources: Sources) -> Reveal:
    """Return what was hidden, and whether it is what was sealed before the drill began."""
    found = next((entry.detail for entry in sources.drill.of("revealed")), None)
    if found is None:
        return Reveal()
    experiment, fault, title, answer = (str(found.get(k, "")) for k in ("experiment", "fault", "title", "answer"))
    seal, nonce = sources.drill.opened().get("seal"), str(found.get("nonce", ""))
    outcome = SealOutcome.NOT_TOLD
    if seal and nonce:
        holds = seal_of({"experiment": experiment, "fault": fault}, nonce) == seal
        outcome = SealOutcome.HOLDS if holds else SealOutcome.BROKEN
    return Reveal(experiment, fault, title, answer, outcome)


def effect_of(sources: Sources) -> FaultEffect:
    """Return from when on there was something to notice."""
    record = sources.record
    if record is None:
        return FaultEffect(reason=sources.record_problem)
    events = list(record.timeline.of("fault"))
    origin = record.timeline.origin.timestamp()
    spans = [(one.window.start_s + origin, one.window.end_s + origin) for one in record.timeline.injections()]
    window = spans[0] if spans else None
    proof = next((event for event in events if event.detail.get("effect") == Effect.CONFIRMED), None)
    if proof is not None:
        return FaultEffect(origin + proof.t_s, Basis.EFFECT, str(proof.detail.get("reason", "")), window)
    deed = next((event for event in events if event.detail.get("step") in _DEEDS), None)
    if deed is None:
        return FaultEffect(reason=f"no fault was carried out: {_why_none(record, events)}")
    return FaultEffect(origin + deed.t_s, Basis.DEED, _why_unproven(events), window)


def _why_none(record: Record, events: Sequence[Event]) -> str:
    told = (str(event.detail.get("reason", "")) for event in reversed(events) if event.detail.get("reason"))
    return next(told, "") or record.header.reason or "the run does not say why"


def _why_unproven(events: Sequence[Event]) -> str:
    last = next((event.detail for event in reversed(events) if event.detail.get("effect")), None)
    if last is None:
        return "no proof was recorded, so times count from the deed"
    return f"{last['effect']}: {last.get('reason') or 'no reason given'}; times count from the deed"


def mark_scores(sources: Sources, effect: FaultEffect) -> tuple[MarkScore, ...]:
    """Return every mark against its target."""
    made = sources.drill.marks
    wanted = sources.drill.opened().get("targets_s")
    targets = {mark: _number(wanted.get(mark.value)) if isinstance(wanted, dict) else None for mark in MARKS}
    return tuple(_mark_score(mark, made.get(mark), targets[mark], effect) for mark in MARKS)


def _mark_score(mark: Mark, entry: Entry | None, target_s: float | None, effect: FaultEffect) -> MarkScore:
    if entry is None:
        return MarkScore(mark, MarkOutcome.NOT_MARKED if target_s else MarkOutcome.NO_TARGET, target_s=target_s)
    implied = entry.detail.get("implied") is True
    if effect.at_unix_s is None:
        return MarkScore(mark, MarkOutcome.NOT_TOLD, None, target_s, entry.by, implied, effect.reason)
    took_s = round(entry.at_unix_s - effect.at_unix_s, 1)
    if target_s is None:
        return MarkScore(mark, MarkOutcome.NO_TARGET, took_s, None, entry.by, implied)
    met = MarkOutcome.MET if took_s <= target_s else MarkOutcome.MISSED
    return MarkScore(mark, met, took_s, target_s, entry.by, implied)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def steady_back(sources: Sources, effect: FaultEffect) -> Told:
    """Return how long after the effect the steady state was back for good."""
    if effect.at_unix_s is None:
        return Told(reason=effect.reason)
    since_s = effect.at_unix_s
    seen = [e for e in _until_the_end(sources) if e.kind == "steady" and isinstance(e.detail.get("ok"), bool)]
    at_first = [(since_s, entry.detail["ok"]) for entry in seen if entry.at_unix_s < since_s][-1:]
    known = at_first + [(entry.at_unix_s, entry.detail["ok"]) for entry in seen if entry.at_unix_s >= since_s]
    if not known:
        return Told(reason="the steady state was not looked at after the fault's effect")
    broken = [number for number, (_, held) in enumerate(known) if not held]
    if not broken:
        return Told(reason="it was never seen broken")
    if broken[-1] == len(known) - 1:
        return Told(reason="it was not back when the drill ended")
    return Told(round(known[broken[-1] + 1][0] - since_s, 1), "the steady state held from then on")


def _until_the_end(sources: Sources) -> Iterator[Entry]:
    """Yield the entries before everything was taken back: what holds afterwards is nobody's merit."""
    for entry in sources.drill.entries:
        if entry.kind == "state" and entry.detail["state"] in _OVER:
            return
        yield entry


def page_scores(sources: Sources, effect: FaultEffect) -> tuple[PageScore, ...]:
    """Return the expected alerts in the file's order, then every other that fired, once each."""
    fault, plan = sources.fault, sources.plan
    expected = fault.expect if fault else ()
    limit_s = fault.expect_within_s if fault else 0.0
    fired = [(entry.at_unix_s, str(entry.detail["alert"])) for entry in sources.drill.of("page")
             if entry.detail.get("state") == "firing"]  # fmt: skip
    times = {alert: [t for t, name in fired if name == alert] for alert in expected}
    scores = [_expected(sources, alert, times[alert], effect, limit_s) for alert in expected]
    for alert in dict.fromkeys(name for _, name in fired if name not in expected):
        after_s = _after_s(next(t for t, name in fired if name == alert), effect)
        scores.append(_other(alert, after_s, plan.allow if plan and fault else None))
    return tuple(scores)


def _after_s(at_unix_s: float, effect: FaultEffect) -> float | None:
    return None if effect.at_unix_s is None else round(at_unix_s - effect.at_unix_s, 1)


def _expected(sources: Sources, alert: str, fired: Sequence[float], effect: FaultEffect, limit_s: float) -> PageScore:
    if effect.at_unix_s is None:
        return PageScore(alert, PageOutcome.NOT_TOLD, reason=effect.reason)
    struck = effect.window_unix_s[0] if effect.window_unix_s else effect.at_unix_s
    at_unix_s = next((t for t in fired if t >= struck), None)
    if at_unix_s is None:
        return _not_fired(sources, alert, bool(fired), effect.at_unix_s, limit_s)
    after_s = round(at_unix_s - effect.at_unix_s, 1)
    if after_s <= limit_s:
        return PageScore(alert, PageOutcome.IN_TIME, after_s, f"wanted within {limit_s:g} s")
    return PageScore(alert, PageOutcome.LATE, after_s, f"it came after {after_s:.0f} s, wanted within {limit_s:g} s")


def _not_fired(sources: Sources, alert: str, before: bool, effect_unix_s: float, limit_s: float) -> PageScore:
    if sources.drill.opened().get("target") == REHEARSAL:
        return PageScore(alert, PageOutcome.NOT_TOLD, reason="a rehearsal pages nobody")
    over = (e.at_unix_s for e in sources.drill.of("state") if e.detail["state"] in _OVER)
    lasted_s = next(over, math.inf) - effect_unix_s
    if lasted_s < limit_s:
        reason = f"the drill was over after {lasted_s:.0f} s, before its {limit_s:g} s were up"
        return PageScore(alert, PageOutcome.NOT_TOLD, reason=reason)
    reason = "it fired before the fault, and not again" if before else f"it never fired, wanted within {limit_s:g} s"
    return PageScore(alert, PageOutcome.MISSING, reason=reason)


def _other(alert: str, after_s: float | None, allow: Sequence[str] | None) -> PageScore:
    if allow is None:
        return PageScore(alert, PageOutcome.NOT_TOLD, after_s, "what was expected is not known")
    if alert in allow:
        return PageScore(alert, PageOutcome.ALLOWED, after_s, "the experiment allows it")
    return PageScore(alert, PageOutcome.UNEXPECTED, after_s, "neither expected nor allowed")


def budget_of(sources: Sources) -> Told:
    """Return the share of the error budget that was spent, as the run's own verdict has it."""
    verdict, problem = _verdict(sources, "error_budget")
    if verdict is None:
        return Told(reason=problem)
    spent = verdict.figures.get("budget_spent_ratio", math.nan)
    if verdict.outcome is Outcome.INCONCLUSIVE or not math.isfinite(spent):
        seen = f" (seen was: {verdict.observed})" if verdict.observed else ""
        return Told(reason=(verdict.reason or "the verdict has no such figure") + seen)
    return Told(spent, verdict.observed)


def _verdict(sources: Sources, kind: str) -> tuple[Verdict | None, str]:
    if sources.record is None:
        return None, sources.record_problem
    if sources.verdicts is None:
        return None, "the run was never judged"
    found = next((one for one in sources.verdicts if one.kind == kind), None)
    return found, "" if found else f"the experiment asks for no {kind.replace('_', ' ')}"


def undo_of(sources: Sources) -> UndoScore:
    """Return what became of the changes of the drill, as the run's own verdict has it."""
    record = sources.record
    verdict, problem = _verdict(sources, "restored")
    left = tuple(alerts(record)) if record else ()
    alone = tuple(_left_alone(record)) if record else ()
    if verdict is None:
        return UndoScore(None, problem, left, alone)
    held = {Outcome.PASS: True, Outcome.FAIL: False}.get(verdict.outcome)
    return UndoScore(held, verdict.reason, left, alone)


def _left_alone(record: Record) -> Iterator[str]:
    """Yield what somebody else had changed meanwhile, so that the undo did not touch it (DESIGN U2)."""
    for undo in record.undo:
        where = "/".join(str(undo[key]) for key in ("namespace", "name") if undo.get(key))
        for part in str(undo.get("outcome", "")).split("; "):
            if part.startswith(LEFT_ALONE):
                yield f"{undo.get('kind', '')} {where}: {part.removeprefix(LEFT_ALONE)}".strip()


def step_scores(sources: Sources) -> tuple[StepScore, ...]:
    """Return the runbook's steps and what became of them; the last word on a step counts."""
    said = {str(entry.detail["step"]): entry for entry in sources.drill.of("step")}
    ran = {str(entry.detail.get("step", "")) for entry in sources.drill.of("command")} - {""}
    titles = {one.step: one.title for one in sources.steps}
    order = list(titles) + [step for step in (*said, *sorted(ran)) if step not in titles]
    late = _out_of_order(said, list(titles))
    return tuple(_step_score(step, titles.get(step, ""), said.get(step), step in late) for step in dict.fromkeys(order))


def _out_of_order(said: dict[str, Entry], order: Sequence[str]) -> set[str]:
    """Return the steps that were done after one that comes later in the runbook."""
    in_time = sorted(said.items(), key=lambda one: one[1].seq)
    done = [step for step, entry in in_time if entry.detail.get("done") is True]
    numbers = [order.index(step) for step in done if step in order]
    return {order[n] for place, n in enumerate(numbers) if any(before > n for before in numbers[:place])}


def _step_score(step: str, title: str, entry: Entry | None, late: bool) -> StepScore:
    if entry is None:
        return StepScore(step, title, StepOutcome.UNTOUCHED)
    done = StepOutcome.OUT_OF_ORDER if late else StepOutcome.DONE
    outcome = done if entry.detail.get("done") is True else StepOutcome.SKIPPED
    return StepScore(step, title, outcome, entry.at_unix_s, entry.by)
