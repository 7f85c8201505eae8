"""Faults as values: what is planned, what was done, what it did. No I/O; actions live in ``experiments.faults``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.model.time import Window

RUN_LABEL = "gameday.local/run"
"""Every object that a run made carries it, with the run's id as `run_label` writes it."""

UNDO_LABEL = "gameday.local/undo"
"""On undo records: whether they are open or done."""

OWNER_ANNOTATION = "gameday.local/changed-by"
"""Begins the name of the annotation that travels in the same PATCH as a change (DESIGN U1)."""

PLAIN_ANNOTATION = "config.local/revision"
"""The same in a drill, whose people look at every object (`is_drill`)."""

OWNER_ANNOTATIONS = (OWNER_ANNOTATION, PLAIN_ANNOTATION)

DRILL_NAME = "drill"
"""What an experiment is called while it is drilled: its run's id stands on every object that the run makes."""

LABEL_CHARACTERS_MAX = 63


def run_label(run_id: str) -> str:
    """Return a run id as a label value (63 characters at most); a longer one is cut and made unique by its digest."""
    text = re.sub(r"[^A-Za-z0-9._-]", "-", run_id)
    if len(text) <= LABEL_CHARACTERS_MAX and text == run_id:
        return text
    return f"{text[:50].rstrip('-._')}-{hashlib.sha256(run_id.encode()).hexdigest()[:12]}"


def is_drill(run_id: str) -> bool:
    """Tell whether a run is a drill: then nothing that it writes to a cluster may say what was done to whom."""
    return re.fullmatch(rf"\d{{8}}-\d{{4}}-{DRILL_NAME}-[0-9a-f]+", run_id) is not None


def owner_annotation(run_id: str, record_id: str) -> str:
    """Return the name of the annotation by which a change of ours is known; one a record."""
    name = PLAIN_ANNOTATION if is_drill(run_id) else OWNER_ANNOTATION
    return f"{name}.{_digest(run_id, record_id)}"


def owner_mark(run_id: str, record_id: str) -> str:
    """Return the value of that annotation: the run and the record, and in a drill only their digest."""
    return _digest(run_id, record_id) if is_drill(run_id) else f"{run_id}/{record_id}"


def _digest(run_id: str, record_id: str) -> str:
    return hashlib.sha256(f"{run_id}/{record_id}".encode()).hexdigest()[:12]


class Effect(StrEnum):
    """Whether a fault bit."""

    CONFIRMED = "CONFIRMED"
    ABSENT = "ABSENT"
    UNCLEAR = "UNCLEAR"


class Loss(StrEnum):
    """Kind of loss a fault causes; PDBs hold voluntary losses only (Kubernetes, "Disruptions")."""

    ABRUPT = "abrupt kill"
    GRACEFUL = "graceful delete"
    EVICTION = "eviction"
    DRAIN = "node drain"
    NODE = "node loss"
    CRASH = "container crash"
    HANG = "hang"
    CAPACITY = "capacity taken"
    DEPENDENCY = "dependency fault"
    NONE = "none"

    @property
    def voluntary(self) -> bool:
        """Tell whether a disruption budget is asked before this loss."""
        return self in {Loss.EVICTION, Loss.DRAIN}


@dataclass(frozen=True, slots=True)
class Permission:
    """One verb that an experiment needs, in the words of a SelfSubjectAccessReview; ``name``: of one object alone."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """Return ``create pods/eviction in agents``."""
        what = self.resource + (f"/{self.subresource}" if self.subresource else "")
        what += f".{self.group}" if self.group else ""
        what += f" {self.name}" if self.name else ""
        return f"{self.verb} {what}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A fault as the experiment file asks for it.

    Attributes:
        name: Name of the activity in the file's method; unique there.
        action: Key in `FAULTS`.
        arguments: Arguments of the action, validated.
        at_s: Seconds after the burst gate at which it is due.
        max_hold_s: How long its effect may stay at most.
        loss: Kind of loss.
        undo: How it is taken back; ``none`` only with ``undo_reason``.
        undo_reason: Why nothing has to be taken back.
        hold_s: How long its effect is kept once it is proven; the conductor takes it back then, while the method goes
            on. None keeps it until the recovery phase.
    """

    name: str
    action: str
    arguments: Mapping[str, Any]
    at_s: float
    max_hold_s: float
    loss: Loss
    undo: str = "none"
    undo_reason: str = ""
    hold_s: float | None = None


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Names one object of a cluster. ``namespace`` is empty for cluster objects."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        """Return ``Kind namespace/name`` or ``Kind name``."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that was carried out.

    Attributes:
        fault: Name of the `FaultPlan`.
        action: Key in `FAULTS`.
        window: From its permit to its evidence (or its undo).
        loss: Kind of loss.
        asked: How many victims were asked for.
        victims: ``kind/namespace/name`` of each victim, with its uid.
        effect: Whether it bit.
        reason: Why, in one sentence.
    """

    fault: str
    action: str
    window: Window
    loss: Loss
    asked: int
    victims: tuple[Mapping[str, str], ...]
    effect: Effect
    reason: str = ""


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """How to take one change back, as self-contained data that needs no fault code (DESIGN U1, U4).

    Attributes:
        record_id: Unique within the run.
        run_id: The run that owns it.
        fault: Name of the `FaultPlan`.
        api_version: Of the object to restore.
        kind: Of the object to restore.
        namespace: Empty for cluster objects.
        name: Of the object.
        uid: Of the object; an undo on another uid is refused.
        operation: ``patch``, ``delete``, ``create``, ``command`` (a command of the target, named in ``applied``),
            ``silence`` (of alerts, while the run is on) or ``none`` (nothing to restore, a controller replaces it).
        prior: Values before, by JSON pointer.
        applied: Values that we set, by JSON pointer; an undo restores only what still has them.
        deadline_unix_s: When the reaper takes it back, whatever the run does.
        done: Whether it was taken back.
        outcome: What the undo found.
        subresource: Part of the object that is written, such as ``status``, or empty.
    """

    record_id: str
    run_id: str
    fault: str
    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    operation: str
    prior: Mapping[str, Any] = field(default_factory=dict)
    applied: Mapping[str, Any] = field(default_factory=dict)
    deadline_unix_s: float = 0.0
    done: bool = False
    outcome: str = ""
    subresource: str = ""
