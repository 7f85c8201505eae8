"""One view of a fault: when it touched, acted, was proven and was taken back, and whom it hit. Pure.

It judges no limit. A fault that is not proven to have bitten is told by `unproven` (CASES A02): what leans on it cannot
be told then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assertions.definition import Check, unclear
from harness.model.fault import Effect, Loss
from harness.model.record import Record
from harness.model.time import PhaseName, Window
from harness.model.timeline import Event

LEFT_STATUSES = frozenset({"evicted", "gone"})
"""What becomes of a pod that a drain took off its node (outcomes of a drain)."""

POD_LOSSES = frozenset({Loss.ABRUPT, Loss.GRACEFUL, Loss.EVICTION, Loss.DRAIN})
"""Losses after which the uids of the pods that were hit must be gone."""

LOOK = "see the fault's events in events.jsonl and logs/chaos.log"


@dataclass(frozen=True, slots=True)
class FaultView:
    """A fault that was permitted.

    Attributes:
        name: Name of its `FaultPlan`.
        loss: Kind of loss.
        effect: Whether it bit.
        reason: Why it is thought so.
        touched_s: Its first change: the undo record was written, or else the permit was granted.
        acted_s: The deed was done; None where it was not.
        proven_s: The evidence was in; None where none came.
        undo_start_s: The undo began; None where it did not.
        undone_s: The last change was taken back; None where that is not known, or there was nothing to take back.
        victims: As in its events.
        outcomes: The last word about each pod of a drain, in order.
        drained: What a drain says of itself, or None.
        blocked_by: Budgets that blocked a drain.
        resource: What its devices are offered as, of a fault on devices; empty otherwise.
    """

    name: str
    loss: Loss
    effect: Effect
    reason: str
    touched_s: float
    acted_s: float | None
    proven_s: float | None
    undo_start_s: float | None
    undone_s: float | None
    victims: Sequence[Mapping[str, str]]
    outcomes: Sequence[Mapping[str, Any]]
    drained: bool | None
    blocked_by: Sequence[str]
    resource: str

    @property
    def pod_uids(self) -> frozenset[str]:
        """The uids of the pods among its victims, and of those that a drain took off its nodes."""
        hit = {str(v.get("uid")) for v in self.victims if str(v.get("kind", "Pod")).lower() == "pod"}
        spared = {str(o.get("uid")) for o in self.outcomes if o.get("status") not in LEFT_STATUSES}
        left = {str(o.get("uid")) for o in self.outcomes if o.get("status") in LEFT_STATUSES}
        return frozenset((hit - spared) | left)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes among its victims; of their nodes where there is none."""
        named = [str(v.get("name")) for v in self.victims if str(v.get("kind")).lower() == "node"]
        return tuple(dict.fromkeys(named or [str(v["node"]) for v in self.victims if v.get("node")]))

    def held(self, record: Record) -> Window:
        """Return the span over which it held: from its first change until its undo was done, or the recovery ended."""
        end_s = self.undone_s
        if end_s is None:
            recovery = record.timeline.phase(PhaseName.RECOVER)
            end_s = record.timeline.end_s if recovery is None else recovery.window.end_s
        return Window(self.touched_s, max(self.touched_s, end_s))


def fault_views(record: Record) -> list[FaultView]:
    """Return every fault that was permitted, in order."""
    return [view for i in record.timeline.injections() if (view := fault_view(record, i.fault)) is not None]


def fault_view(record: Record, name: str) -> FaultView | None:
    """Look at a fault; None where it was never permitted."""
    injection = next((i for i in record.timeline.injections() if i.fault == name), None)
    if injection is None:
        return None
    events = list(record.timeline.of("fault", name))
    undo = list(record.timeline.of("undo", name))
    started = [e.t_s for e in undo if e.detail.get("step") == "start"]
    done = [e.t_s for e in undo if e.detail.get("step") == "done" and e.detail.get("operation") != "none"]
    failed = any(e.detail.get("step") == "failed" for e in undo)
    outcomes = {str(o.get("uid")): o for event in events for o in event.detail.get("outcomes", ())}
    drained = _last(events, "drained")
    return FaultView(
        name, injection.loss, injection.effect, injection.reason,
        touched_s=next((t for step in ("undo-recorded", "permit") for t in _times(events, step)), 0.0),
        acted_s=next(_times(events, "acted"), None),
        proven_s=next(_times(events, "evidence"), None),
        undo_start_s=min([*started, *done], default=None),
        undone_s=None if failed and not done else max(done, default=None),
        victims=injection.victims, outcomes=tuple(outcomes.values()),
        drained=drained if isinstance(drained, bool) else None,
        blocked_by=tuple(str(budget) for budget in _last(events, "blocked_by") or ()),
        resource=str(_last(events, "resource") or ""),
    )  # fmt: skip


def _times(events: Sequence[Event], step: str) -> Iterator[float]:
    return (e.t_s for e in events if e.detail.get("step") == step)


def _last(events: Sequence[Event], key: str) -> Any:
    return next((e.detail[key] for e in reversed(events) if key in e.detail), None)


def unproven(record: Record, name: str) -> Check | None:
    """Return why nothing can lean on a fault, or None where its effect is confirmed (CASES A01, A02)."""
    if name not in {plan.name for plan in record.experiment.faults}:
        known = ", ".join(plan.name for plan in record.experiment.faults) or "none"
        return unclear(f"the experiment has no fault {name} (it has: {known})", "name a fault of the method")
    view = fault_view(record, name)
    if view is None or view.acted_s is None:
        return unclear(f"fault {name} was never carried out", LOOK)
    if view.effect is not Effect.CONFIRMED:
        return unclear(f"fault {name}: effect {view.effect.value} ({view.reason or 'no reason given'})", LOOK)
    return None
