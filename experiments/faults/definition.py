"""An entry of FAULTS for faults on pods. Values and previews; the deeds are in `pod`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.faults.context import FaultContext, Steps
from experiments.faults.sequence import Act, carry_out
from experiments.faults.targets import TargetError, choose, draw_seed, victims
from harness.definitions import Preview
from harness.model.errors import PortError
from harness.model.fault import FaultPlan, Loss, Permission
from harness.model.selector import parse_selector
from harness.ports import ClusterActor

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


@dataclass(frozen=True)
class PodFault:
    """A fault on pods chosen by labels.

    Attributes:
        name: Name of the action's function.
        module: Module of the action's function.
        loss: Kind of loss.
        evidence: What proves that it bit.
        act: The deed.
        verbs: ``(verb, resource, subresource)`` it needs in the namespace of its pods.
        undo: How it is taken back.
        undo_reason: Why nothing has to be taken back.
        arguments_schema: JSON schema of its arguments.
    """

    name: str
    module: str
    loss: Loss
    evidence: str
    act: Act
    verbs: tuple[tuple[str, str, str], ...]
    undo: str = "none"
    undo_reason: str = "the controller of the pods makes new ones; a pod that is gone cannot be brought back"
    arguments_schema: Mapping[str, Any] = field(default_factory=lambda: POD_ARGUMENTS)

    def permissions(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """Return what it needs to be allowed."""
        namespace = str(arguments["namespace"])
        return tuple(Permission(v, resource, "", sub, namespace) for v, resource, sub in self.verbs)

    def preview(self, actor: ClusterActor, arguments: Mapping[str, Any], seed: int) -> Preview:
        """Return whom it would hit, without touching anything."""
        try:
            pods = actor.pods(str(arguments["namespace"]), parse_selector(str(arguments["selector"])))
            chosen = choose(pods, arguments, draw_seed(seed, self.name, arguments))
        except (TargetError, PortError) as error:
            return Preview(0, (), str(error))
        return Preview(len(chosen), tuple(victims(chosen)))

    def steps(self, context: FaultContext, plan: FaultPlan) -> Steps[dict[str, Any]]:
        """Carry it out, step by step; see `sequence.carry_out`."""
        return carry_out(context, plan, self.act)
