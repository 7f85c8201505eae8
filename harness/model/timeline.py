"""The timeline: what happened, in the order in which the conductor numbered it. Append-only values, no I/O.

Event kinds (actor in brackets) and their details:

    phase      [harness] subject=phase name, detail={"edge": "start"|"end"}
    gate       [harness] subject=gate name, detail={"ok": bool|None, "reason": str, "probes": [...]}
    finding    [harness] subject=object, detail={"code", "message", "remedy", "concerns": [assertion kinds]}
    refusal    [harness] subject=code, detail={"message", "remedy"}
    stop       [harness] subject=who asked, detail={"reason"}
    pod, node, workload, hpa, scaledobject, pdb, job, nodeautoscaler, nodeautoscalerflags
               [cluster] subject=namespace/name, detail=Fact.detail()
    watch      [cluster] subject=resource, detail={"state": "open"|"hole"|"lost"|"closed", "gap_s", "reason"}
    k8s-event  [cluster] subject=namespace/name, detail={"reason", "message", "type", "involved"}
    load       [load]    subject=stage, detail=LoadSnapshot fields
    load-edge  [load]    subject="first-request"|"last-answer"|"lost"|"started"|"ended"|"worker-lost"|"worker-back",
                          detail={...}
    fault      [chaos]   subject=fault name, detail={"step": "due"|"permit"|"denied"|"undo-recorded"|"acted"|
                          "progress"|"evidence"|"failed", "action", "victims": [{"kind", "namespace", "name", "uid"}],
                          "asked": int, "effect", "reason", "loss"}
    undo       [harness] subject=fault name, detail={"step": "start"|"done"|"failed", "record_id", "operation",
                          "outcome"}
    sample     [metrics] subject=signal, detail={"value": float, "labels": {...}}: the live view, never judged;
               [harness] subject="steady_state", detail={"value": 1.0|0.0|None, "reason"}: in a drill
    residue    [harness] subject=object, detail={"difference", "ours": bool, "command": str}
    note       [any]     subject=free, detail={"message"}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from harness.model.facts import Fact
from harness.model.fault import Effect, Injection, Loss
from harness.model.time import Phase, PhaseName, Window

F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        seq: Number given by the conductor, from 1, without holes.
        t_s: Seconds since the run's origin.
        actor: ``harness``, ``load``, ``chaos``, ``cluster`` or ``metrics``.
        kind: See the module's table.
        subject: Whom or what it is about.
        detail: Plain JSON.
    """

    seq: int
    t_s: float
    actor: str
    kind: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timeline:
    """All events of a run.

    Attributes:
        origin: Wall clock (UTC) of second 0.
        events: By rising ``seq``.
    """

    origin: datetime
    events: tuple[Event, ...]

    def of(self, kind: str, subject: str | None = None) -> Iterator[Event]:
        """Yield events of a kind, in order."""
        return (e for e in self.events if e.kind == kind and (subject is None or e.subject == subject))

    def facts(self, fact: type[F], keep: Callable[[F], bool] | None = None) -> list[tuple[float, F]]:
        """Return ``(t_s, fact)`` of every state change of a kind of object."""
        found = ((e.t_s, fact.from_detail(e.detail)) for e in self.of(fact.kind))
        return [(t_s, value) for t_s, value in found if keep is None or keep(value)]

    def phase(self, name: PhaseName) -> Phase | None:
        """Return a phase that began; one that never ended lasts to the last event."""
        edges = [(e.t_s, e.detail.get("edge")) for e in self.of("phase", name.value)]
        start_s = next((t for t, edge in edges if edge == "start"), None)
        if start_s is None:
            return None
        end_s = next((t for t, edge in edges if edge == "end"), self.end_s)
        return Phase(name, Window(start_s, max(start_s, end_s)))

    @property
    def end_s(self) -> float:
        """Time of the last event."""
        return max((e.t_s for e in self.events), default=0.0)

    def load_window(self) -> Window | None:
        """Return the span from the start of load to its end, or None where no load was started."""
        start_s = next((e.t_s for e in self.of("load-edge", "started")), None)
        end_s = next((e.t_s for e in self.of("load-edge", "ended")), None)
        if start_s is None:
            return None
        return Window(start_s, max(start_s, end_s if end_s is not None else self.end_s))

    def injections(self) -> tuple[Injection, ...]:
        """Fold fault events into what was carried out, in order of their permits."""
        by_fault: dict[str, list[Event]] = {}
        for event in self.of("fault"):
            by_fault.setdefault(event.subject, []).append(event)
        acted = (events for events in by_fault.values() if any(e.detail.get("step") == "permit" for e in events))
        return tuple(_fold(events, self._taken_back_s(events[0].subject)) for events in acted)

    def _taken_back_s(self, fault: str) -> float:
        """Return when the last change of a fault was taken back; minus infinity where nothing had to be."""
        undone = (e for e in self.of("undo", fault) if e.detail.get("step") == "done")
        return max((e.t_s for e in undone if e.detail.get("operation", "none") != "none"), default=-math.inf)


def _fold(events: list[Event], taken_back_s: float) -> Injection:
    merged: dict[str, Any] = {}
    for event in events:
        merged.update(event.detail)
    permit_s = next(e.t_s for e in events if e.detail.get("step") == "permit")
    loss, effect = str(merged.get("loss", Loss.NONE)), str(merged.get("effect", Effect.UNCLEAR))
    known = loss in set(Loss) and effect in set(Effect)  # a record of another version, or a damaged one
    return Injection(
        fault=events[0].subject,
        action=str(merged.get("action", "")),
        window=Window(permit_s, max(permit_s, events[-1].t_s, taken_back_s)),
        loss=Loss(loss) if known else Loss.NONE,
        asked=int(merged.get("asked", 0)),
        victims=tuple(merged.get("victims", ())),
        effect=Effect(effect) if known else Effect.UNCLEAR,
        reason=str(merged.get("reason", "")) if known else f"not readable: loss {loss!r}, effect {effect!r}",
    )
