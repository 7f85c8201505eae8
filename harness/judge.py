"""From a record to verdicts: runs the judges, applies what each answer leans on, and gives the exit status.

Pure over the record; the registries are handed in. A judge that crashes is INCONCLUSIVE, never a crash of the run, and
no way leads from missing evidence to PASS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness import exits
from harness.definitions import AssertionDefinition, signals_of
from harness.model.experiment import AssertionSpec
from harness.model.record import Ending, Record
from harness.model.timeline import Event
from harness.model.verdict import Assumption, Outcome, Verdict, combine

Assume = Callable[[Record], Assumption]

RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Judgement:
    """All answers about one run.

    Attributes:
        verdicts: One an assertion, in the order of the experiment file.
        assumptions: What they lean on.
        outcome: The worst verdict; none at all is INCONCLUSIVE.
        exit_status: See `exit_status`.
    """

    verdicts: tuple[Verdict, ...]
    assumptions: tuple[Assumption, ...]
    outcome: Outcome
    exit_status: int


def judge(
    record: Record, definitions: Mapping[str, AssertionDefinition], assumptions: Mapping[str, Assume]
) -> Judgement:
    """Judge a record.

    Args:
        record: The run; also one that was refused, stopped or cut off.
        definitions: The registry `ASSERTIONS`.
        assumptions: The registry `ASSUMPTIONS`.

    Returns:
        Verdicts, assumptions, the worst outcome and the exit status. The same record gives the same judgement.
    """
    verdicts = tuple(_answer(record, spec, definitions, assumptions) for spec in record.experiment.assertions)
    assumed = tuple(_assume(record, name, assumptions) for name in assumptions)
    return Judgement(verdicts, assumed, combine(v.outcome for v in verdicts), exit_status(record, verdicts))


def exit_status(record: Record, verdicts: Sequence[Verdict]) -> int:
    """Return the exit status of a run (DESIGN §3): of several, the first of 3, 2, 1, 4, 20; else 0.

    3 the run crashed or was cut off · 2 stopped · 1 something is broken · 4 the identity was refused, or a setting ·
    20 nothing broken but something inconclusive, or any other refusal · 0 all held.
    """
    ending = record.header.ending
    refusals = {event.subject for event in record.timeline.of("refusal")}
    outcome = combine(verdict.outcome for verdict in verdicts)
    ranked = (
        (exits.CRASHED, ending in {None, Ending.CRASHED}),
        (exits.STOPPED, ending is Ending.STOPPED),
        (exits.BROKEN, outcome is Outcome.FAIL),
        (exits.USAGE, bool(refusals & {"identity", "usage"})),
        (exits.INCONCLUSIVE, outcome is Outcome.INCONCLUSIVE or ending is not Ending.COMPLETED),
    )
    return next((code for code, applies in ranked if applies), exits.HELD)


def _answer(
    record: Record,
    spec: AssertionSpec,
    definitions: Mapping[str, AssertionDefinition],
    assumptions: Mapping[str, Assume],
) -> Verdict:
    definition = definitions.get(spec.kind)
    if definition is None:
        return _inconclusive(spec, f"there is no judge of kind {spec.kind!r}", "use a kind that `gameday list` names")
    not_run = _not_run(record, spec)
    if not_run is not None:
        return not_run
    try:
        verdict = definition.check(record, spec)
    except Exception as error:  # a judge may never take the others with it (Jepsen's rule: a crash is "unknown")
        reason = f"the judge crashed: {type(error).__name__}: {error}"
        return _inconclusive(spec, reason, f"this is a fault of Gameday; keep runs/{record.header.run_id}")
    return _weigh(_narrowed(record, signals_of(definition, spec)), definition, verdict, assumptions)


# What was never run ---------------------------------------------------------------------------------------------------


def _not_run(record: Record, spec: AssertionSpec) -> Verdict | None:
    """Answer for a run that ended before it touched anything, or that never got to its load."""
    findings = list(record.timeline.of("finding"))
    if findings:
        return _by_findings(record, spec, findings)
    ending = record.header.ending
    if ending is Ending.REFUSED:
        return _inconclusive(spec, f"not run: {record.header.reason or 'refused'}", _refusal_remedy(record))
    if record.timeline.load_window() is None and not _touched(record):
        return _inconclusive(spec, f"not run: {record.header.reason or 'the run ended before its load'}", "run again")
    return None


def _by_findings(record: Record, spec: AssertionSpec, findings: Sequence[Event]) -> Verdict | None:
    mine = [event for event in findings if _concerns(record, spec, event)]
    if mine:
        messages = "; ".join(str(e.detail.get("message", e.subject)) for e in mine)
        return Verdict(
            assertion=spec.name,
            kind=spec.kind,
            outcome=Outcome.FAIL,
            expected=f"what {spec.kind} needs is there before the run",
            observed=messages,
            reason=f"found before the run, nothing was touched: {messages}",
            remedy="; ".join(str(e.detail.get("remedy", "")) for e in mine),
            evidence=tuple(f"event {e.seq} (+{e.t_s:.1f}s): finding about {e.subject}" for e in mine),
        )
    first = findings[0]
    reason = f"not run: {first.detail.get('message', first.subject)}"
    return _inconclusive(spec, reason, "mend the finding and run again")


def _concerns(record: Record, spec: AssertionSpec, finding: Event) -> bool:
    """Tell whether a finding answers an assertion: by kind, and by the object where several share the kind."""
    if spec.kind not in finding.detail.get("concerns", ()):
        return False
    rivals = [other for other in record.experiment.assertions if other.kind == spec.kind]
    subject = finding.subject.replace(" ", "/")
    named = [other for other in rivals if any(subject.endswith(str(value)) for value in other.params.values())]
    return spec in named if named else True


def _touched(record: Record) -> bool:
    return bool(record.undo) or any(
        e.detail.get("step") in {"undo-recorded", "acted"} for e in record.timeline.of("fault")
    )


def _refusal_remedy(record: Record) -> str:
    return next((str(e.detail.get("remedy", "")) for e in record.timeline.of("refusal")), "")


def _inconclusive(spec: AssertionSpec, reason: str, remedy: str) -> Verdict:
    return Verdict(
        assertion=spec.name,
        kind=spec.kind,
        outcome=Outcome.INCONCLUSIVE,
        expected=_expected(spec),
        observed="nothing",
        reason=reason,
        remedy=remedy,
    )


def _expected(spec: AssertionSpec) -> str:
    return ", ".join(f"{key} {value}" for key, value in spec.params.items()) or spec.kind


# What an answer leans on ----------------------------------------------------------------------------------------------


def _weigh(
    record: Record, definition: AssertionDefinition, verdict: Verdict, assumptions: Mapping[str, Assume]
) -> Verdict:
    """Turn an answer INCONCLUSIVE where something that it leans on is not so; the missed needs are named."""
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return verdict
    needs = definition.needs_for_pass if verdict.outcome is Outcome.PASS else definition.needs_for_fail
    if verdict.rests_on is not None:
        needs = verdict.rests_on
    missed = [a for a in (_assume(record, name, assumptions) for name in needs) if a.holds is not True]
    if not missed:
        return verdict
    what = _told(missed[0]) + (f"; nor {', '.join(a.name for a in missed[1:])}" if missed[1:] else "")
    remedies = (*(a.remedy for a in missed), verdict.remedy if verdict.outcome is Outcome.FAIL else "")
    return replace(
        verdict,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"{what}; else the answer would be {verdict.outcome.value}: {verdict.reason}",
        remedy=_join(remedies),
        evidence=(*verdict.evidence, *(_told(assumption) for assumption in missed)),
    )


def _told(assumption: Assumption) -> str:
    state = "does not hold" if assumption.holds is False else "cannot be told"
    return f"{assumption.name} {state} ({assumption.reason})"


def _narrowed(record: Record, signals: Sequence[str]) -> Record:
    """Return the record with the signals of one assertion only: it does not lean on the others."""
    mine = {name: harvest for name, harvest in record.harvest.signals.items() if name in signals}
    return replace(record, harvest=replace(record.harvest, signals=mine))


def _assume(record: Record, name: str, assumptions: Mapping[str, Assume]) -> Assumption:
    look = assumptions.get(name)
    if look is None:
        return Assumption(name, None, "there is no such assumption")
    try:
        return look(record)
    except Exception as error:  # as for judges: what cannot be told is not true
        return Assumption(name, None, f"could not be looked at: {type(error).__name__}: {error}")


def _join(parts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(part for part in parts if part))
