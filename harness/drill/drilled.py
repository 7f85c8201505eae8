"""An experiment as a drill runs it: one fault, due at a moment nobody knows, held until people are done. Pure.

Nothing of what it returns may tell a cluster or a terminal which experiment or which fault it is: the run's id, its
announcements, its undo records and the names of its helpers all come from what is made neutral here.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from experiments.faults.helper_pods import PLAIN_ROLE, ROLE_LABEL
from harness.client import Job
from harness.load_trace import BURST
from harness.model.errors import SpecError
from harness.model.experiment import AssertionSpec, Experiment
from harness.model.fault import DRILL_NAME, FaultPlan
from harness.model.load import LoadProfile

NEUTRAL_FAULT = "change"
TITLE = "A drill for the people on call"
DRILL_FACT = "drill"
"""Fact of a run's header: the drill's id, and which experiment and fault it was."""

EARLIEST_S, LATEST_S = 5.0, 50.0
"""From the burst gate to the fault."""

HOLD_MARGIN_S = 30.0
"""The drill ends before its fault does: its limit counts from the deed, the hold from the proof."""

EVIDENCE_MIN_S = 30.0
ABOUT_FAULTS = ("fault", "after", "during")
"""Parameters of assertions that name a fault."""


def drilled(experiment: Experiment, fault: str, seed: int, limit_s: float) -> Experiment:
    """Return the experiment as a drill runs it.

    Args:
        experiment: As its file has it.
        fault: Name of the one fault that stays.
        seed: Draws the moment at which it is due.
        limit_s: Longest time from the fault to the end of the drill.

    Raises:
        SpecError: The experiment has no such fault.
    """
    plan = next((one for one in experiment.faults if one.name == fault), None)
    if plan is None:
        known = ", ".join(one.name for one in experiment.faults)
        raise SpecError(experiment.path, "", f"the method has no action {fault!r}", f"there are: {known}")
    held = _held(plan, due_s(seed, limit_s), limit_s)
    load = _long_enough(experiment.load, held.at_s + held.max_hold_s)
    longer_s = load.duration_s - experiment.load.duration_s
    return replace(
        experiment,
        name=DRILL_NAME,
        title=TITLE,
        load=load,
        faults=(held,),
        assertions=tuple(_about(spec) for spec in experiment.assertions if _stays(spec, fault)),
        timeout_s=experiment.timeout_s + longer_s,
        text=_text(experiment.text, fault),
        path="",
        drilled=True,
    )


def due_s(seed: int, limit_s: float) -> float:
    """Return when the fault is due, in seconds from the burst gate; a short drill does not wait long for it."""
    latest_s = max(EARLIEST_S, min(LATEST_S, limit_s / 6))
    return round(random.Random(f"{seed}/due").uniform(EARLIEST_S, latest_s), 1)  # noqa: S311 - repeatable


def _held(plan: FaultPlan, at_s: float, limit_s: float) -> FaultPlan:
    """Hold it longer than the drill lasts; its proof may take as long as the file allows, and no longer."""
    evidence_s = max(plan.max_hold_s - (plan.hold_s or 0.0), EVIDENCE_MIN_S)
    hold_s = limit_s + HOLD_MARGIN_S
    return replace(plan, name=NEUTRAL_FAULT, at_s=at_s, hold_s=hold_s, max_hold_s=hold_s + evidence_s)


def _long_enough(load: LoadProfile, burst_s: float) -> LoadProfile:
    longest_s = max(burst_s, *(stage.duration_s for stage in load.stages if stage.name == BURST))
    return load.with_durations({BURST: longest_s})


def _stays(spec: AssertionSpec, fault: str) -> bool:
    return all(spec.params.get(key, fault) == fault for key in ABOUT_FAULTS)


def _about(spec: AssertionSpec) -> AssertionSpec:
    """Name fault and helpers in an assertion as the drill names them."""
    params = {key: NEUTRAL_FAULT if key in ABOUT_FAULTS else _plain(value) for key, value in spec.params.items()}
    return replace(spec, params=params)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    names_role = isinstance(value, str) and value.startswith(f"{ROLE_LABEL}=")
    return f"{ROLE_LABEL}={PLAIN_ROLE}" if names_role else value


def _text(text: str, fault: str) -> str:
    """Return the file for Chaos Toolkit: the one action under its neutral name, and none of the words about it."""
    document = yaml.safe_load(text)
    activity = next(one for one in document["method"] if one["name"] == fault)
    told = {"title": TITLE, "description": TITLE, "tags": [], "method": [{**activity, "name": NEUTRAL_FAULT}]}
    return yaml.safe_dump({**document, **told, "extensions": []}, sort_keys=False)


def drill_facts(job: Job, experiment: Experiment) -> dict[str, Any]:
    """Return what a run's header says of its drill; nothing for a game day."""
    if not job.fault:
        return {}
    return {DRILL_FACT: {"drill_id": job.drill_id, "experiment": experiment.name, "fault": job.fault}}
