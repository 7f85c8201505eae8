"""Was a node back in time after a fault on it was taken back? Ready, schedulable, and with its devices.

Pure. A node is Ready before its device plugin has offered anything (CASES F18), so capacity has arrived only when
``allocatable`` of the resource is what it was before the fault, and above 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from assertions.definition import (
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    limit_s,
    params_object,
    unclear,
)
from assertions.fault_view import fault_view, unproven
from assertions.node_view import NodeView, amount, blocking_taints, node_view
from assertions.watching import NODES, blind_spots
from harness.model.experiment import AssertionSpec
from harness.model.facts import NodeFact
from harness.model.record import Record
from harness.model.time import PhaseName, Window
from harness.model.verdict import Verdict

KIND = "node_recovery"
SCHEMA = params_object(
    {
        "fault": {"type": "string", "minLength": 1, "description": "name of a fault on nodes"},
        "ready_within": duration("from the end of the undo until the node serves again", "60s"),
        "resource": {
            "type": "string",
            "minLength": 1,
            "description": "resource that must be offered as before; by default the devices that the fault took",
        },
    },
    required=["fault"],
)
SLOW = "see the node's conditions and taints, and whether its device plugin runs"


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge when each node of a fault served again after the undo."""
    name, limit = str(spec.params["fault"]), limit_s(spec, SCHEMA, "ready_within")
    problem, fault = unproven(record, name), fault_view(record, name)
    resource = spec.params.get("resource") or (fault.resource if fault else "")
    what = "Ready and schedulable" + (f", with its {resource}," if resource else "")
    expected = f"every node of fault {name} is {what} within {limit:g} s of its undo"
    if problem is not None or fault is None:
        return conclude(spec, [problem or unclear(f"fault {name} was never carried out")], expected)
    if not fault.nodes:
        return conclude(
            spec, [unclear(f"fault {name} names no node among its victims", "name a fault on nodes")], expected
        )
    if fault.undone_s is None:
        reason = f"nothing shows that fault {name} was taken back"
        return conclude(spec, [unclear(reason, "see the assertion restored, and run `gameday recover`")], expected)
    window = Window(fault.undone_s, max(fault.undone_s, _end_s(record)))
    returns = [_Return(node_view(record, node), fault.touched_s, resource, window) for node in fault.nodes]
    checks = [_check(record, node, limit) for node in returns]
    figures = {
        f"{node.view.name}_recovery_s": at_s - window.start_s for node in returns if (at_s := node.back_s()) is not None
    }
    return conclude(spec, checks, expected, window=window, figures=figures)


def _end_s(record: Record) -> float:
    harvest = record.timeline.phase(PhaseName.HARVEST)
    return record.timeline.end_s if harvest is None else harvest.window.start_s


@dataclass(frozen=True, slots=True)
class _Return:
    """A node that is to be as it was before a fault."""

    view: NodeView
    touched_s: float
    resource: str
    window: Window

    @property
    def before(self) -> NodeFact | None:
        return self.view.at(self.touched_s)

    def missing(self, fact: NodeFact | None) -> str:
        """Return what the node lacks compared with before the fault, or an empty text."""
        before = self.before
        if fact is None or fact.deleted or before is None:
            return "it is gone"
        lacks = [] if fact.ready else ["it is not Ready"]
        if fact.unschedulable and not before.unschedulable:
            lacks.append("it is cordoned")
        lacks += [f"it has the taint {taint}" for taint in sorted(blocking_taints(fact) - blocking_taints(before))]
        now, then = (amount(each, self.resource) for each in (fact, before))
        if self.resource and (now is None or then is None or now < then):
            offered = fact.allocatable.get(self.resource, "0")
            lacks.append(f"it offers {offered} of {before.allocatable.get(self.resource, '0')} {self.resource}")
        return ", ".join(lacks)

    def was_away(self) -> bool:
        seen = (fact for t, fact in self.view.states if self.touched_s < t < self.window.end_s)
        return any(self.missing(fact) for fact in seen)

    def back_s(self) -> float | None:
        """Return since when it has been as before, up to the end of the window; None where it is not."""
        since_s: float | None = None
        inside = [t for t, _ in self.view.states if self.window.start_s < t < self.window.end_s]
        for t_s in [self.window.start_s, *inside]:
            away = bool(self.missing(self.view.at(t_s)))
            since_s = None if away else t_s if since_s is None else since_s
        return since_s


def _check(record: Record, node: _Return, limit: float) -> Check:
    problem = _meaningless(node)
    if problem is not None:
        return problem
    at_s, start_s = node.back_s(), node.window.start_s
    if at_s is None:
        text = f"node {node.view.name} is not back: {node.missing(node.view.at(node.window.end_s))}"
    else:
        text = f"node {node.view.name} was back {at_s - start_s:.1f} s after the undo"
    blind = blind_spots(record, [NODES], "", Window(start_s, node.window.end_s if at_s is None else at_s + 1e-3))
    if at_s is not None and at_s - start_s <= limit:
        return held(text)
    if blind:
        return unclear(f"{text}, but {'; '.join(blind)}", "see why the API server could not be watched", text)
    if at_s is None and node.window.duration_s < limit:
        reason = f"{text}, {node.window.duration_s:.0f} s after the undo; {limit:g} s are allowed"
        return unclear(reason, "let the run settle longer", text)
    return broken(f"{text}, the limit is {limit:g} s", SLOW, text)


def _meaningless(node: _Return) -> Check | None:
    """Return why a node that serves after the undo would prove nothing."""
    name, before = node.view.name, node.before
    if before is None:
        return unclear(f"node {name} was not seen before the fault", "see that nodes are watched")
    if not before.ready:
        return unclear(f"node {name} was not Ready before the fault", "start with a cluster that is well")
    if node.resource and not (amount(before, node.resource) or 0) > 0:
        return unclear(f"node {name} offered no {node.resource} before the fault", "name a resource that it has")
    if not node.was_away():
        return unclear(f"node {name} was never seen to be away, so there was nothing to recover", SLOW)
    return None


DEFINITION = Definition(
    kind=KIND,
    question="Was the node back in time after the undo?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("faults_took_effect", "record_whole"),
    needs_for_fail=(),
)
