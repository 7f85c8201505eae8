"""The ``drill`` block of an experiment: what makes it an exercise for people, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.model.drill import MARKS, DrillFault, DrillPlan, Mark
from harness.model.fault import FaultPlan
from harness.model.load import Arrivals, LoadProfile
from harness.model.time import parse_duration_s
from harness.spec_document import KeyPath, Problem, suggestion

EXPECT_WITHIN_S = 60.0


def drill_plan(written: Mapping[str, Any]) -> DrillPlan:
    """Return the plan of a block that is valid by its schema."""
    return DrillPlan(
        limit_s=parse_duration_s(written["limit"]),
        targets_s=_targets_s(written),
        faults=tuple(_fault(name, fault) for name, fault in written["faults"].items()),
        allow=tuple(written.get("allow", ())),
    )


def _targets_s(written: Mapping[str, Any]) -> dict[Mark, float]:
    return {mark: parse_duration_s(written["targets"][mark]) for mark in MARKS if mark in written["targets"]}


def _fault(name: str, written: Mapping[str, Any]) -> DrillFault:
    return DrillFault(
        fault=name,
        answer=written["answer"],
        expect=tuple(written.get("expect", ())),
        expect_within_s=parse_duration_s(written.get("expect_within", EXPECT_WITHIN_S)),
        hints=tuple(written.get("hints", ())),
    )


def drill_problems(
    place: KeyPath,
    written: Mapping[str, Any],
    names: Sequence[str],
    faults: Sequence[FaultPlan],
    load: LoadProfile | None,
) -> Iterator[Problem]:
    """Yield what is wrong with a block that is valid by its schema.

    Args:
        place: Where it stands.
        written: The block.
        names: Of the method's actions.
        faults: Those of them that could be read.
        load: What is offered; None where that is wrong already.
    """
    yield from _target_problems(place, written)
    yield from _fault_problems((*place, "faults"), written["faults"], names, faults)
    if load is not None and load.arrivals == Arrivals.TRACE:
        problem = "a recording ends when it ends, and a drill when its people are done"
        yield place, problem, "play rates (t_s,rps), or name a profile"


def _target_problems(place: KeyPath, written: Mapping[str, Any]) -> Iterator[Problem]:
    limit_s, before_s, before = parse_duration_s(written["limit"]), 0.0, "0 s"
    for mark, target_s in _targets_s(written).items():
        if target_s <= before_s:
            yield (*place, "targets", mark.value), f"{target_s:g} s is not later than {before}", "targets rise"
        before_s, before = max(before_s, target_s), f"{mark}, {target_s:g} s"
    if limit_s < before_s:
        problem = f"{limit_s:g} s is over before the last target, {before_s:g} s"
        yield (*place, "limit"), problem, "raise it; it counts from the fault, which takes some seconds to bite"


def _fault_problems(
    place: KeyPath, written: Mapping[str, Any], names: Sequence[str], faults: Sequence[FaultPlan]
) -> Iterator[Problem]:
    plans = {plan.name: plan for plan in faults}
    for name in written:
        if name not in names:
            yield (*place, name), f"the method has no action {name!r}", suggestion(name, names)
        elif name in plans and plans[name].undo == "none":
            problem = f"{plans[name].action} is over at once: nothing stays for people to find and to mend"
            yield (*place, name), problem, "choose a fault that is held until it is taken back"
