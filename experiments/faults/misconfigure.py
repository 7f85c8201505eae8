"""A setting that somebody got wrong: an autoscaler that may not grow. One patch, taken back where it is still ours.

Written is not bitten: the autoscaler itself must say that it wants more than it may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError, existing
from harness.model.fault import Loss, ObjectRef, Permission
from harness.model.target import Target
from harness.ports import ClusterActor

API = "autoscaling/v2"
LIMITED, TOO_MANY = "ScalingLimited", "TooManyReplicas"
"""The condition, and its reason, by which an autoscaler says that it wants more pods than it may have."""

Json = Mapping[str, Any]


class PinAutoscaler:
    """The conduct of `pin_autoscaler`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the autoscaler; one that KEDA made would be put right at once."""
        del seed_text, target
        ref = _ref(arguments)
        found = existing(actor, ref)
        owners = [owner["kind"] for owner in found["metadata"].get("ownerReferences") or ()]
        if "ScaledObject" in owners:
            raise TargetError(f"{ref} belongs to a ScaledObject, which would put it right at once")
        most, least, wanted = _most(found), _least(found), _wanted(found, arguments)
        if not least <= wanted < most:
            raise TargetError(f"{ref} cannot be pinned to {wanted}: it may have {least} to {most} pods")
        return Selected(1, victims_of([found]), (f"{ref}: maxReplicas back to {most}",), (), wanted)

    def act(self, work: Work) -> Steps[Deed]:
        """Lower its upper bound."""
        yield from ()
        wanted = int(work.selected.found)
        work.change(_ref(work.arguments), {"/spec/maxReplicas": wanted})
        return Deed(work.selected.victims, "", (("max_replicas", wanted),))

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the autoscaler says that it wants more than it may."""
        del deed
        ref, wanted = _ref(work.arguments), int(work.selected.found)

        def look() -> tuple[bool, str]:
            found = work.context.actor.get(ref)
            if found is None or _most(found) != wanted:
                return False, f"{ref} may have {'nothing, it is gone' if found is None else _most(found)}"
            limited = _is_limited(found)
            return (
                limited,
                f"{ref} {'wants' if limited else 'does not want'} more than the {wanted} pods that it may have",
            )

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def _ref(arguments: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef(API, "HorizontalPodAutoscaler", str(arguments["name"]), str(arguments["namespace"]))


def _most(found: Json) -> int:
    return int(found["spec"]["maxReplicas"])


def _least(found: Json) -> int:
    return int(found["spec"].get("minReplicas", 1))


def _wanted(found: Json, arguments: Mapping[str, Any]) -> int:
    """Return the bound to set: the one that is asked for, else the present number of pods."""
    present = (found.get("status") or {}).get("currentReplicas") or _least(found)
    return int(arguments.get("max_replicas", present))


def _is_limited(found: Json) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any((c["type"], c["status"], c.get("reason")) == (LIMITED, "True", TOO_MANY) for c in conditions)


def pin_autoscaler(**arguments: Any) -> dict[str, Any]:
    """Let an autoscaler have no more pods than there are, however busy they get.

    Args:
        **arguments: ``namespace`` and ``name`` of the HorizontalPodAutoscaler; ``max_replicas`` (what there is now).

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(PIN_AUTOSCALER)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(v, "horizontalpodautoscalers", "autoscaling", "", namespace) for v in ("get", "patch"))


PIN_AUTOSCALER = Fault(
    name="pin_autoscaler",
    module=__name__,
    loss=Loss.CAPACITY,
    evidence="the autoscaler says that it wants more pods than it may have",
    conduct=PinAutoscaler(),
    needs=_needs,
    undo_needs=_needs,
    undo="patch",
    arguments_schema={
        "type": "object",
        "description": "namespace and name of the HorizontalPodAutoscaler",
        "properties": {
            "namespace": {"type": "string", "minLength": 1, "description": "its namespace"},
            "name": {"type": "string", "minLength": 1, "description": "its name"},
            "max_replicas": {"type": "integer", "minimum": 1, "description": "its upper bound (what there is now)"},
        },
        "required": ["namespace", "name"],
        "additionalProperties": False,
    },
)
