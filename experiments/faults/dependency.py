"""Faults of what the platform leans on: a dependency scaled away, the metrics API gone, the API server refusing a user.

Each is a change of one API object, so that it is the same everywhere and is taken back by data alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.faults.conditions import condition_is
from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError, existing
from harness.model.fault import Loss, ObjectRef, Permission
from harness.model.selector import selects
from harness.model.target import Target
from harness.ports import ClusterActor

METRICS_API = "v1beta1.metrics.k8s.io"
NOWHERE = "gameday-metrics-blackout"
"""Name of a Service that does not exist: the API server then has nobody to ask."""

Json = Mapping[str, Any]


class Scale:
    """The conduct of `scale_dependency`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the workload; one that an autoscaler owns would be scaled back at once."""
        del seed_text, target
        ref = workload_ref(arguments)
        found = existing(actor, ref)
        owner = autoscaler_of(actor, ref)
        if owner:
            raise TargetError(f"{ref} is scaled by {owner}, which would undo the fault")
        replicas, wanted = found["spec"].get("replicas", 1), int(arguments.get("replicas", 0))
        if replicas == wanted:
            raise TargetError(f"{ref} has {replicas} replicas already")
        return Selected(1, victims_of([found]), (f"{ref}: replicas back to {replicas}",), (), found)

    def act(self, work: Work) -> Steps[Deed]:
        """Scale it."""
        yield from ()
        wanted = int(work.arguments.get("replicas", 0))
        work.change(workload_ref(work.arguments), {"/spec/replicas": wanted})
        return Deed(work.selected.victims, "", (("replicas", wanted),))

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until exactly as many pods of it are Ready as asked for, or fewer where it was scaled down."""
        del deed
        ref, wanted = workload_ref(work.arguments), int(work.arguments.get("replicas", 0))
        spec = work.selected.found["spec"]
        selector, up = spec.get("selector"), wanted > int(spec.get("replicas", 1))

        def look() -> tuple[bool, str]:
            pods = [
                pod
                for pod in work.context.actor.find("v1", "Pod", ref.namespace)
                if selects(selector, pod["metadata"].get("labels") or {}) and _ready(pod)
            ]
            there = len(pods) == wanted or (len(pods) < wanted and not up)
            return there, f"{ref} has {len(pods)} Ready pods of {wanted} asked for"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def workload_ref(arguments: Mapping[str, Any]) -> ObjectRef:
    """Return the workload that arguments name by ``namespace``, ``name`` and, unless it is a Deployment, ``kind``."""
    return ObjectRef(
        "apps/v1", str(arguments.get("kind", "Deployment")), str(arguments["name"]), str(arguments["namespace"])
    )


def autoscaler_of(actor: ClusterActor, ref: ObjectRef) -> str:
    """Return the autoscaler that owns a workload's replicas, or nothing."""
    kinds = [("autoscaling/v2", "HorizontalPodAutoscaler")]
    if actor.serves("keda.sh/v1alpha1", "ScaledObject"):
        kinds.append(("keda.sh/v1alpha1", "ScaledObject"))
    for api_version, kind in kinds:
        for found in actor.find(api_version, kind, ref.namespace):
            aim = (found.get("spec") or {}).get("scaleTargetRef") or {}
            if (aim.get("kind", "Deployment"), aim.get("name")) == (ref.kind, ref.name):
                return f"{kind} {found['metadata']['name']}"
    return ""


def _ready(pod: Json) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and condition_is(pod, "Ready")


class MetricsBlackout:
    """The conduct of `metrics_blackout`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the APIService, which must be served by somebody and be well."""
        del seed_text, target
        ref = _api_service_ref(arguments)
        found = existing(actor, ref, "no metrics API is registered")
        service = (found.get("spec") or {}).get("service")
        if not service:
            raise TargetError(f"{ref} is served by the API server itself and cannot be taken away")
        if not condition_is(found, "Available"):
            raise TargetError(f"{ref} is not Available already")
        return Selected(1, victims_of([found]), (f"{ref}: service back to {service['name']}",))

    def act(self, work: Work) -> Steps[Deed]:
        """Point it at nobody."""
        yield from ()
        work.change(_api_service_ref(work.arguments), {"/spec/service/name": NOWHERE})
        return Deed(work.selected.victims)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the API server says that it is not available."""
        del deed
        ref = _api_service_ref(work.arguments)

        def look() -> tuple[bool, str]:
            found = work.context.actor.get(ref) or {}
            gone = condition_is(found, "Available", "False")
            return gone, f"{ref} is {'not available' if gone else 'still available'}"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def _api_service_ref(arguments: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef("apiregistration.k8s.io/v1", "APIService", str(arguments.get("api", METRICS_API)))


def scale_dependency(**arguments: Any) -> dict[str, Any]:
    """Scale a workload that others lean on: a broker or a metrics store to zero, or a consumer of devices up.

    Args:
        **arguments: ``namespace``, ``name``, ``kind`` (``Deployment`` or ``StatefulSet``), ``replicas`` (0).

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(SCALE_DEPENDENCY)


def metrics_blackout(**arguments: Any) -> dict[str, Any]:
    """Take a metrics API away: autoscalers must hold what they have.

    Args:
        **arguments: ``api``: name of the APIService (``v1beta1.metrics.k8s.io``).

    Returns:
        Victims, effect and reason.
    """
    del arguments
    return perform(METRICS_BLACKOUT)


def _scale_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace, plural = str(arguments["namespace"]), f"{str(arguments.get('kind', 'Deployment')).lower()}s"
    return (
        Permission("get", plural, "apps", "", namespace),
        Permission("patch", plural, "apps", "", namespace),
        Permission("list", "pods", "", "", namespace),
        Permission("list", "horizontalpodautoscalers", "autoscaling", "", namespace),
        Permission("list", "scaledobjects", "keda.sh", "", namespace),
    )


def _scale_undo_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    return _scale_needs(arguments)[:2]


def _blackout_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    del arguments
    return tuple(Permission(verb, "apiservices", "apiregistration.k8s.io") for verb in ("get", "patch"))


SCALE_DEPENDENCY = Fault(
    name="scale_dependency",
    module=__name__,
    loss=Loss.DEPENDENCY,
    evidence="as many pods of the workload are Ready as asked for",
    conduct=Scale(),
    needs=_scale_needs,
    undo_needs=_scale_undo_needs,
    undo="patch",
    arguments_schema={
        "type": "object",
        "description": "namespace, name, and how many replicas are left",
        "properties": {
            "namespace": {"type": "string", "minLength": 1, "description": "namespace of the workload"},
            "name": {"type": "string", "minLength": 1, "description": "name of the workload"},
            "kind": {"enum": ["Deployment", "StatefulSet"], "description": "Deployment unless said otherwise"},
            "replicas": {"type": "integer", "minimum": 0, "description": "how many are left (0)"},
        },
        "required": ["namespace", "name"],
        "additionalProperties": False,
    },
)

METRICS_BLACKOUT = Fault(
    name="metrics_blackout",
    module=__name__,
    loss=Loss.DEPENDENCY,
    evidence="the API server says that the APIService is not Available",
    conduct=MetricsBlackout(),
    needs=_blackout_needs,
    undo_needs=_blackout_needs,
    undo="patch",
    arguments_schema={
        "type": "object",
        "description": "which metrics API",
        "properties": {"api": {"type": "string", "minLength": 1, "description": f"APIService ({METRICS_API})"}},
        "additionalProperties": False,
    },
)
