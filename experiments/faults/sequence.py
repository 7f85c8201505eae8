"""The order that every fault keeps: due, choice, permit, undo record, deed, evidence. Each step is an event.

Choosing only reads. The undo record is in the cluster before the deed (DESIGN U1); a denied permit, too few victims or
a stop request ends the fault before anything is touched. What a fault does in between is its own `Conduct`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from experiments.faults.context import FaultContext, FaultError, Steps
from experiments.faults.evidence import Evidence
from experiments.faults.targets import draw_seed
from harness.model.errors import ChangedMeanwhileError, Stopped
from harness.model.fault import (
    RUN_LABEL,
    Effect,
    FaultPlan,
    ObjectRef,
    UndoRecord,
    owner_annotation,
    owner_mark,
    run_label,
)
from harness.model.pointer import escape, resolve
from harness.model.target import Target
from harness.ports import ClusterActor

CHANGE_ATTEMPTS = 5
"""A node's status is written every few seconds: a change that was made for an older state is made anew."""


@dataclass(frozen=True, slots=True)
class Selected:
    """Whom a fault would hit, found by reading only.

    Attributes:
        asked: How many victims the file asks for, resolved against what is there.
        victims: ``kind``, ``namespace``, ``name``, ``uid`` (and ``node``) of each.
        undo: What each undo would be, one line each.
        notes: What else a person should know.
        found: What the fault itself wants to remember (facts, objects).
    """

    asked: int
    victims: tuple[Mapping[str, str], ...]
    undo: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    found: Any = None


@dataclass(frozen=True, slots=True)
class Deed:
    """What a fault did.

    Attributes:
        hit: The victims that it hit, in order.
        problem: Why it did not do all that it was to, or empty.
        detail: What else goes into the event ``acted``.
        found: What the evidence needs.
    """

    hit: tuple[Mapping[str, str], ...]
    problem: str = ""
    detail: tuple[tuple[str, Any], ...] = ()
    found: Any = None


class Conduct(Protocol):
    """What is a fault's own."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Choose the victims; reads only.

        Raises:
            TargetError: There are not as many as asked for, or they cannot be hit.
        """
        ...

    def act(self, work: Work) -> Steps[Deed]:
        """Do it, by `Work`'s ``change``, ``create`` and ``record``, so that the undo is always written first."""
        ...

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait for the proof that it bit."""
        ...


@dataclass
class Work:
    """One fault being carried out; every change goes through it.

    Attributes:
        context: What the fault works with.
        plan: What the experiment asks for.
        selected: Its victims.
        touched: Whether anything may have been changed yet.
    """

    context: FaultContext
    plan: FaultPlan
    selected: Selected
    touched: bool = False
    _records: list[UndoRecord] = field(default_factory=list)
    _told: bool = False

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Arguments of the action."""
        return self.plan.arguments

    @property
    def evidence_limit_s(self) -> float:
        """How long the fault may take to prove itself: what its maximum hold leaves beside its hold."""
        return self.plan.max_hold_s - (self.plan.hold_s or 0.0)

    def touch(self) -> None:
        """Say that something is changed from here on.

        Raises:
            Stopped: A stop was asked for meanwhile: a slow API server may have kept us since the permit was granted.
        """
        stopping = self.context.stopping()
        if stopping:
            raise Stopped(stopping)
        self.recorded()
        self.touched = True

    def record(self, ref: ObjectRef, uid: str, operation: str, **fields: Any) -> tuple[UndoRecord, Mapping[str, Any]]:
        """Write an undo record; returns it with an ownerReference for helper objects in the ledger's namespace.

        Args:
            ref: The object to restore.
            uid: Its uid; empty for one that is still to be created.
            operation: See `UndoRecord`.
            **fields: Further fields of `UndoRecord`.

        Raises:
            PortError: It is not stored: the deed must not be done.
        """
        clock, plan = self.context.clock, self.plan
        record = UndoRecord(
            record_id=fields.pop("record_id", None) or self._next_id(),
            run_id=self.context.run_id,
            fault=plan.name,
            api_version=ref.api_version,
            kind=ref.kind,
            namespace=ref.namespace,
            name=ref.name,
            uid=uid,
            operation=operation,
            deadline_unix_s=clock.origin_unix_s + clock.now_s() + plan.max_hold_s,
            **fields,
        )
        owner = self.context.ledger.write(record)
        self._records.append(record)
        return record, owner

    def _next_id(self) -> str:
        return f"{self.plan.name}-{len(self._records) + 1}"

    def recorded(self) -> None:
        """Tell, once, that the undo of what is changed first is written down (step ``undo-recorded``)."""
        if self._told or not self._records:
            return
        self._told = True
        told = [{"kind": r.kind, "namespace": r.namespace, "name": r.name, "operation": r.operation}
                for r in self._records]  # fmt: skip
        hit, asked = list(self.selected.victims), self.selected.asked
        self.context.tell(self.plan, "undo-recorded", victims=hit, asked=asked, undo=self.plan.undo, records=told)

    def change(self, ref: ObjectRef, values: Mapping[str, Any], subresource: str = "") -> bool:
        """Set values of an object by pointer: the undo record first, then one PATCH with our mark in it (DESIGN U1).

        Args:
            ref: The object.
            values: New values by pointer (`harness.model.pointer`); None removes.
            subresource: Such as ``status``; the mark is then left out, since a status PATCH cannot write it.

        Returns:
            Whether anything was changed: values that are there already are not ours, and are never taken back (U2).

        Raises:
            ChangedMeanwhileError: Somebody else set one of the values after the record was written.
            PortError: It could not be written.
        """
        before: Mapping[str, Any] | None = None
        for attempt in range(1, CHANGE_ATTEMPTS + 1):
            seen = self._read(ref)
            found = {pointer: resolve(seen, pointer) for pointer in values} | {"uid": seen["metadata"]["uid"]}
            wanted = {pointer: value for pointer, value in values.items() if found[pointer] != value}
            if before is None and not wanted:
                return False
            if before is not None and found != before:
                raise ChangedMeanwhileError("kubernetes", f"change {ref}", "somebody else set it meanwhile")
            before = found
            try:
                self._recorded_patch(ref, seen, wanted, subresource)
            except ChangedMeanwhileError:
                if attempt == CHANGE_ATTEMPTS:
                    raise
            else:
                return True
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _recorded_patch(
        self, ref: ObjectRef, seen: Mapping[str, Any], wanted: Mapping[str, Any], subresource: str
    ) -> None:
        """Write a record, then the change under the very state that was seen.

        Each attempt has a record of its own: whoever took the last one back meanwhile, because this process was held up
        for too long, will find this one as well (DESIGN U1).
        """
        record_id = self._next_id()
        run_id = self.context.run_id
        mark = f"/metadata/annotations/{escape(owner_annotation(run_id, record_id))}"
        applied = wanted if subresource else {**wanted, mark: owner_mark(run_id, record_id)}
        prior = {pointer: resolve(seen, pointer) for pointer in applied}
        fields = {"prior": prior, "applied": applied, "subresource": subresource, "record_id": record_id}
        self.record(ref, seen["metadata"]["uid"], "patch", **fields)
        self.touch()
        self.context.actor.patch(ref, seen, applied, subresource)

    def _read(self, ref: ObjectRef) -> Mapping[str, Any]:
        seen = self.context.actor.get(ref)
        if seen is None:
            raise FaultError(self.plan.name, f"{ref} is not there any more")
        return seen

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a helper object, named and labelled as ours; the record that deletes it is written first.

        Args:
            manifest: With a ``metadata.name`` that nobody else has. In the target's system namespace it also gets an
                ownerReference to its undo record, so that one that is created late goes as well.

        Returns:
            The object as created.
        """
        meta = manifest["metadata"]
        ref = ObjectRef(manifest["apiVersion"], manifest["kind"], meta["name"], meta.get("namespace", ""))
        _, owner = self.record(ref, "", "delete")
        labels = {**meta.get("labels", {}), RUN_LABEL: run_label(self.context.run_id)}
        target = self.context.target
        ours = bool(owner) and target is not None and ref.namespace == target.system_namespace
        marked = {**meta, "labels": labels, **({"ownerReferences": [dict(owner)]} if ours else {})}
        self.touch()
        return self.context.actor.create({**manifest, "metadata": marked})


def carry_out(context: FaultContext, plan: FaultPlan, conduct: Conduct) -> Steps[dict[str, Any]]:
    """Carry out a fault.

    Args:
        context: What it works with.
        plan: What the experiment asks for.
        conduct: What is the fault's own.

    Returns:
        Victims, effect and reason, for Chaos Toolkit's journal.

    Raises:
        FaultError: It was denied, could not be carried out, or has no proof that it bit.
    """
    late_s = context.clock.now_s() - context.started_s - plan.at_s
    context.tell(plan, "due", at_s=plan.at_s, late_s=round(late_s, 3))
    _deny_if(context, plan, context.stopping())
    work = Work(context, plan, Selected(0, ()))
    try:
        seed_text = draw_seed(context.seed, plan.action, plan.arguments)
        work.selected = conduct.select(context.actor, plan.arguments, seed_text, context.target)
        _ask(context, plan, work.selected)
        return (yield from _act_and_prove(work, conduct))
    except FaultError:
        raise
    except Exception as error:  # whatever it was, the record must show that this fault failed; it is raised again
        effect = Effect.UNCLEAR if work.touched else Effect.ABSENT
        told = str(error) or type(error).__name__
        context.tell(plan, "failed", effect=effect.value, reason=told)
        raise FaultError(plan.name, told) from error


def _ask(context: FaultContext, plan: FaultPlan, selected: Selected) -> None:
    permit = context.permit(plan.name, selected.victims)
    _deny_if(context, plan, "" if permit.granted else permit.reason or "the conductor did not say why")
    context.tell(plan, "permit")


def _deny_if(context: FaultContext, plan: FaultPlan, reason: str) -> None:
    if reason:
        context.tell(plan, "denied", reason=reason)
        raise FaultError(plan.name, f"denied: {reason}")


def _act_and_prove(work: Work, conduct: Conduct) -> Steps[dict[str, Any]]:
    context, plan, asked = work.context, work.plan, work.selected.asked
    deed = yield from conduct.act(work)
    hit = [dict(victim) for victim in deed.hit]
    context.tell(plan, "acted", victims=hit, asked=asked, **dict(deed.detail))
    evidence = yield from _prove(work, conduct, deed)
    told = {"effect": evidence.effect.value, "reason": evidence.reason, "victims": hit, "asked": asked}
    context.tell(plan, "evidence", **told, **dict(evidence.detail))
    if evidence.effect is not Effect.CONFIRMED:
        raise FaultError(plan.name, f"{evidence.effect.value}: {evidence.reason}")
    return told


def _prove(work: Work, conduct: Conduct, deed: Deed) -> Steps[Evidence]:
    if not deed.hit:
        return Evidence(Effect.ABSENT, deed.problem or "nobody was hit")
    evidence = yield from conduct.prove(work, deed)
    if deed.problem:
        return Evidence(Effect.UNCLEAR, f"{deed.problem}; {evidence.reason}", evidence.detail)
    return evidence


def victims_of(objects: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, str], ...]:
    """Return plain objects as victims."""
    return tuple(
        {
            "kind": str(obj["kind"]),
            "namespace": str(obj["metadata"].get("namespace", "")),
            "name": str(obj["metadata"]["name"]),
            "uid": str(obj["metadata"]["uid"]),
        }
        for obj in objects
    )
