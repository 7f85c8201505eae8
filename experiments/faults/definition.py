"""Entries of FAULTS: the general one, and the one for faults on pods. Values and previews; the deeds are elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from experiments.faults.context import FaultContext, Steps, current, drive
from experiments.faults.evidence import Evidence, wait_for_pods
from experiments.faults.sequence import Conduct, Deed, Selected, Work, carry_out
from experiments.faults.targets import TargetError, choose, draw_seed, victims
from harness.definitions import Preview
from harness.model.errors import PortError
from harness.model.facts import PodFact
from harness.model.fault import FaultPlan, Loss, ObjectRef, Permission
from harness.model.selector import parse_selector, selects
from harness.model.target import Target
from harness.ports import ClusterActor

Act: TypeAlias = Callable[[FaultContext, FaultPlan, Sequence[PodFact]], Steps["PodDeed"]]
"""Hits the chosen pods; yields the waits in between."""

Needs: TypeAlias = Callable[[Mapping[str, Any]], tuple[Permission, ...]]
"""What a fault with these arguments needs to be allowed."""

POD_ARGUMENTS: Mapping[str, Any] = {
    "type": "object",
    "description": "namespace, selector, and exactly one of count (pods) or share (of the Ready pods, rounded down)",
    "properties": {
        "namespace": {"type": "string", "minLength": 1, "description": "namespace of the pods"},
        "selector": {"type": "string", "format": "selector", "description": "labels, such as app=planner"},
        "count": {"type": "integer", "minimum": 1, "description": "how many pods"},
        "share": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "share of the Ready pods, above 0 and at most 1; rounded down, at least one pod",
        },
    },
    "required": ["namespace", "selector"],
    "additionalProperties": False,
    "oneOf": [{"required": ["count"]}, {"required": ["share"]}],
}


def preview_of(
    conduct: Conduct, name: str, actor: ClusterActor, arguments: Mapping[str, Any], seed: int, target: Target | None
) -> Preview:
    """Return whom a fault would hit and how each change would be taken back, by reading only."""
    try:
        selected = conduct.select(actor, arguments, draw_seed(seed, name, arguments), target)
    except (TargetError, PortError) as error:
        return Preview(0, (), str(error))
    return Preview(selected.asked, selected.victims, "", selected.undo, selected.notes)


def budget_notes(actor: ClusterActor, namespace: str, chosen: Sequence[PodFact]) -> tuple[str, ...]:
    """Say what budgets allow of pods that are taken without asking them: a deletion proves no budget (CASES F05)."""
    try:
        pdbs = actor.pdbs(namespace)
    except PortError as error:
        return (f"no budget is asked, and none could be read: {error}",)
    notes = []
    for pdb in pdbs:
        taken = sum(selects({"matchLabels": pdb.selector}, pod.labels) for pod in chosen)
        allowed = "an unknown number" if pdb.disruptions_allowed is None else pdb.disruptions_allowed
        if taken:
            notes.append(f"PDB {pdb.subject} allows {allowed} now and is not asked: {taken} of its pods are taken")
    return tuple(notes)


def no_permissions(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    """Return nothing: what it does needs no undo."""
    del arguments
    return ()


@dataclass(frozen=True)
class Fault:
    """A fault of any kind.

    Attributes:
        name: Name of the action's function.
        module: Module of the action's function.
        loss: Kind of loss.
        evidence: What proves that it bit.
        conduct: Choice, deed and proof.
        needs: What it needs to be allowed.
        undo_needs: What taking it back needs to be allowed.
        undo: How it is taken back: ``patch``, ``delete``, ``create``, ``command`` or ``none``.
        undo_reason: Why nothing has to be taken back, for ``none``.
        arguments_schema: JSON schema of its arguments.
    """

    name: str
    module: str
    loss: Loss
    evidence: str
    conduct: Conduct
    needs: Needs
    undo: str
    arguments_schema: Mapping[str, Any]
    undo_needs: Needs = no_permissions
    undo_reason: str = ""

    def permissions(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """Return what it needs to be allowed."""
        return self.needs(arguments)

    def undo_permissions(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """Return what taking it back needs to be allowed."""
        return self.undo_needs(arguments)

    def preview(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed: int, target: Target | None = None
    ) -> Preview:
        """Return whom it would hit, without touching anything."""
        return preview_of(self.conduct, self.name, actor, arguments, seed, target)

    def steps(self, context: FaultContext, plan: FaultPlan) -> Steps[dict[str, Any]]:
        """Carry it out, step by step; see `sequence.carry_out`."""
        return carry_out(context, plan, self.conduct)


def perform(fault: Fault | PodFault) -> dict[str, Any]:
    """Carry out the fault of the activity that is being run; what every action's function does.

    Returns:
        Victims, effect and reason.

    Raises:
        NotUnderGamedayError: There is no game day in this process.
    """
    context, plan = current(fault.name)
    return drive(fault.steps(context, plan), context.clock)


@dataclass(frozen=True, slots=True)
class PodDeed:
    """What a fault on pods did; see `sequence.Deed`."""

    hit: tuple[PodFact, ...]
    problem: str = ""
    detail: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class PodFault:
    """A fault on pods chosen by labels.

    Attributes:
        name: Name of the action's function.
        module: Module of the action's function.
        loss: Kind of loss.
        evidence: What proves that it bit.
        deed: The deed.
        verbs: ``(verb, resource, subresource)`` it needs in the namespace of its pods.
        undo: How it is taken back.
        undo_reason: Why nothing has to be taken back.
        arguments_schema: JSON schema of its arguments.
    """

    name: str
    module: str
    loss: Loss
    evidence: str
    deed: Act
    verbs: tuple[tuple[str, str, str], ...]
    undo: str = "none"
    undo_reason: str = "the controller of the pods makes new ones; a pod that is gone cannot be brought back"
    arguments_schema: Mapping[str, Any] = field(default_factory=lambda: POD_ARGUMENTS)

    def permissions(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """Return what it needs to be allowed."""
        namespace = str(arguments["namespace"])
        return tuple(Permission(v, resource, "", sub, namespace) for v, resource, sub in self.verbs)

    def undo_permissions(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """Return what taking it back needs to be allowed: to see whether the pod is gone."""
        return (Permission("get", "pods", "", "", str(arguments["namespace"])),)

    def preview(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed: int, target: Target | None = None
    ) -> Preview:
        """Return whom it would hit, without touching anything."""
        return preview_of(self, self.name, actor, arguments, seed, target)

    def steps(self, context: FaultContext, plan: FaultPlan) -> Steps[dict[str, Any]]:
        """Carry it out, step by step; see `sequence.carry_out`."""
        return carry_out(context, plan, self)

    # its conduct ----------------------------------------------------------------------------------------------------

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Choose among the pods that serve."""
        pods = actor.pods(str(arguments["namespace"]), parse_selector(str(arguments["selector"])))
        chosen = choose(pods, arguments, seed_text)
        reasons = tuple(f"Pod {pod.subject}: nothing: {self.undo_reason}" for pod in chosen)
        notes = () if self.loss is Loss.EVICTION else budget_notes(actor, str(arguments["namespace"]), chosen)
        return Selected(len(chosen), tuple(victims(chosen)), reasons, notes, (pods, chosen))

    def act(self, work: Work) -> Steps[Deed]:
        """Write down that nothing has to be taken back, then hit the pods."""
        _, chosen = work.selected.found
        for note in work.selected.notes:
            work.context.note(work.plan.name, note)
        for pod in chosen:
            ref = ObjectRef("v1", "Pod", pod.name, pod.namespace)
            work.record(ref, pod.uid, self.undo, outcome=self.undo_reason)
        work.recorded()
        work.touch()
        deed = yield from self.deed(work.context, work.plan, chosen)
        return Deed(tuple(victims(deed.hit)), deed.problem, deed.detail, deed.hit)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until every victim is gone and replaced."""
        pods, _ = work.selected.found
        pods_of = (str(work.arguments["namespace"]), parse_selector(str(work.arguments["selector"])))
        before = frozenset(pod.uid for pod in pods)
        return (yield from wait_for_pods(work.context, pods_of, deed.found, before, work.plan.max_hold_s))
