"""What the details of a stored event must look like, by its kind: an event that does not fit is damage, not a fact.

Judges and reports read details as `harness.model.timeline` describes them; they are spared every other form here. Only
what is there is checked: a key that an older version did not write yet is no damage. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from harness.model.facts import FACTS

Number = float | None
"""Null stands for what was not finite."""


class _Told(BaseModel):
    """Details that may hold more than is named here."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Phase(_Told):
    edge: str = ""


class _Gate(_Told):
    ok: bool | None = None
    reason: str = ""


class _Finding(_Told):
    code: str = ""
    message: str = ""
    remedy: str = ""
    concerns: list[str] = []


class _Message(_Told):
    message: str = ""
    remedy: str = ""
    reason: str = ""


class _Watch(_Told):
    state: str = ""
    gap_s: Number = None
    reason: str = ""


class _Load(_Told):
    t_s: Number = None
    stage: str = ""
    offered_rps: Number = None
    achieved_rps: Number = None
    requests: Number = None
    failures: Number = None
    inflight: Number = None
    dropped: Number = None
    workers: Number = None
    users: Number = None
    cpu_ratio: Number = None
    lag_s: Number = None
    loop_lag_s: Number = None
    turns_rps: Number = None


class _Victim(_Told):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    node: str = ""


class _Outcome(_Told):
    uid: str = ""
    status: str = ""


class _Fault(_Told):
    step: str = ""
    action: str = ""
    asked: int = 0
    victims: list[_Victim] = []
    effect: str = ""
    reason: str = ""
    loss: str = ""
    outcomes: list[_Outcome] = []
    drained: bool | None = None
    blocked_by: list[str] | None = None


class _Undo(_Told):
    step: str = ""
    record_id: str = ""
    operation: str = ""
    outcome: str = ""


class _Sample(_Told):
    value: Number = None


class _Residue(_Told):
    difference: str = ""
    ours: bool = False
    command: str = ""


_FORMS: Mapping[str, type[BaseModel]] = {
    "phase": _Phase,
    "gate": _Gate,
    "finding": _Finding,
    "refusal": _Message,
    "stop": _Message,
    "note": _Message,
    "watch": _Watch,
    "load": _Load,
    "load-edge": _Message,
    "fault": _Fault,
    "undo": _Undo,
    "sample": _Sample,
    "residue": _Residue,
}
"""Form of the details of each kind of event; those of cluster objects have the forms of their facts."""

_FACTS: Mapping[str, TypeAdapter[Any]] = {kind: TypeAdapter(fact) for kind, fact in FACTS.items()}


def fits(kind: str, detail: Mapping[str, Any]) -> bool:
    """Tell whether the details of an event have the form of its kind; unknown kinds have none."""
    try:
        if kind in _FACTS:
            _FACTS[kind].validate_python(detail)
        elif kind in _FORMS:
            _FORMS[kind].model_validate(detail)
    except ValidationError:
        return False
    return True
