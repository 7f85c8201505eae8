"""The order that every pod fault keeps: due, permit, choice, undo record, deed, evidence. Each step is an event.

The undo record is in the cluster before the deed (DESIGN U1); a denied permit, too few victims or a stop request ends
the fault before anything is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from experiments.faults.context import FaultContext, FaultError, Steps
from experiments.faults.evidence import Evidence, wait_for_pods
from experiments.faults.targets import choose, draw_seed, victims
from harness.model.errors import Stopped
from harness.model.facts import PodFact
from harness.model.fault import Effect, FaultPlan, UndoRecord
from harness.model.selector import parse_selector


@dataclass(frozen=True, slots=True)
class Deed:
    """What an action did.

    Attributes:
        hit: The pods that it hit, in order.
        problem: Why it did not hit all that it was to, or empty.
        detail: What else goes into the event ``acted``.
    """

    hit: tuple[PodFact, ...]
    problem: str = ""
    detail: tuple[tuple[str, Any], ...] = ()


Act: TypeAlias = Callable[[FaultContext, FaultPlan, Sequence[PodFact]], Steps[Deed]]
"""Hits the chosen pods; yields the waits in between."""


def carry_out(context: FaultContext, plan: FaultPlan, act: Act) -> Steps[dict[str, Any]]:
    """Carry out a fault on pods.

    Args:
        context: What it works with.
        plan: What the experiment asks for; its arguments have ``namespace``, ``selector``, ``count`` or ``share``.
        act: The deed.

    Returns:
        Victims, effect and reason, for Chaos Toolkit's journal.

    Raises:
        FaultError: It was denied, could not be carried out, or has no proof that it bit.
    """
    late_s = context.clock.now_s() - context.started_s - plan.at_s
    context.tell(plan, "due", at_s=plan.at_s, late_s=round(late_s, 3))
    _ask(context, plan)
    try:
        return (yield from _act_and_prove(context, plan, act))
    except FaultError:
        raise
    except Exception as error:  # whatever it was, the record must show that this fault failed; it is raised again
        effect = Effect.ABSENT if isinstance(error, _UntouchedError) else Effect.UNCLEAR
        told = str(error.__cause__ if isinstance(error, _UntouchedError) else error) or type(error).__name__
        context.tell(plan, "failed", effect=effect.value, reason=told)
        raise FaultError(plan.name, told) from error


class _UntouchedError(Exception):
    """Something went wrong before the deed."""


def _ask(context: FaultContext, plan: FaultPlan) -> None:
    stopping = context.stopping()
    permit = None if stopping else context.permit(plan.name)
    if permit is None or not permit.granted:
        reason = permit.reason if permit else stopping
        context.tell(plan, "denied", reason=reason)
        raise FaultError(plan.name, f"denied: {reason}")
    context.tell(plan, "permit")


def _act_and_prove(context: FaultContext, plan: FaultPlan, act: Act) -> Steps[dict[str, Any]]:
    namespace, selector = str(plan.arguments["namespace"]), parse_selector(str(plan.arguments["selector"]))
    before, chosen = _prepare(context, plan, namespace, selector)
    _refuse_if_stopping(context)
    deed = yield from act(context, plan, chosen)
    hit = victims(deed.hit)
    context.tell(plan, "acted", victims=hit, asked=len(chosen), **dict(deed.detail))
    evidence = yield from _prove(context, plan, (namespace, selector), deed, frozenset(pod.uid for pod in before))
    told = {"effect": evidence.effect.value, "reason": evidence.reason, "victims": hit, "asked": len(chosen)}
    context.tell(plan, "evidence", **told)
    if evidence.effect is not Effect.CONFIRMED:
        raise FaultError(plan.name, f"{evidence.effect.value}: {evidence.reason}")
    return told


def _prepare(
    context: FaultContext, plan: FaultPlan, namespace: str, selector: dict[str, str]
) -> tuple[Sequence[PodFact], tuple[PodFact, ...]]:
    """Choose the victims and write the undo down; nothing is touched when this fails."""
    try:
        before = context.actor.pods(namespace, selector)
        chosen = choose(before, plan.arguments, draw_seed(context.seed, plan.action, plan.arguments))
        for number, pod in enumerate(chosen, start=1):
            context.ledger.write(_record(context, plan, pod, number))
    except Exception as error:
        raise _UntouchedError from error
    context.tell(plan, "undo-recorded", victims=victims(chosen), asked=len(chosen), undo=plan.undo)
    return before, chosen


def _refuse_if_stopping(context: FaultContext) -> None:
    """Look once more right before the deed: a slow API server may have kept us since the permit was granted."""
    stopping = context.stopping()
    if stopping:
        raise _UntouchedError from Stopped(stopping)


def _record(context: FaultContext, plan: FaultPlan, pod: PodFact, number: int) -> UndoRecord:
    deadline_unix_s = context.clock.origin_unix_s + context.clock.now_s() + plan.max_hold_s
    return UndoRecord(
        record_id=f"{plan.name}-{number}",
        run_id=context.run_id,
        fault=plan.name,
        api_version="v1",
        kind="Pod",
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        operation=plan.undo,
        deadline_unix_s=deadline_unix_s,
        outcome=plan.undo_reason,
    )


def _prove(
    context: FaultContext,
    plan: FaultPlan,
    pods_of: tuple[str, dict[str, str]],
    deed: Deed,
    before_uids: frozenset[str],
) -> Steps[Evidence]:
    if not deed.hit:
        return Evidence(Effect.ABSENT, deed.problem or "nobody was hit")
    evidence = yield from wait_for_pods(context, pods_of, deed.hit, before_uids, plan.max_hold_s)
    if deed.problem:
        return Evidence(Effect.UNCLEAR, f"{deed.problem}; {evidence.reason}")
    return evidence
