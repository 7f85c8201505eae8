"""Chaos Mesh and LitmusChaos as back ends: we write their object, wait until they have injected, and take it away.

Their own clean-up is theirs: our undo deletes the object and proves that it is gone; a finalizer that holds it is told.
Where their CRDs are not installed the fault is refused before anything is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.helper_pods import helper_name
from experiments.faults.sequence import Deed, Selected, Work
from experiments.faults.targets import TargetError, eligible, victims
from harness.model.fault import Loss, ObjectRef, Permission
from harness.model.selector import parse_selector
from harness.model.target import Target
from harness.ports import ClusterActor

MESH_API, LITMUS_API = "chaos-mesh.org/v1alpha1", "litmuschaos.io/v1alpha1"
WIDER = frozenset({"selector", "target", "externalTargets", "duration", "schedule", "gracePeriod"})
"""Keys of a spec that would widen whom it hits, or how long."""

RESERVED_ENV = frozenset({"TOTAL_CHAOS_DURATION", "TARGET_PODS", "NODE_LABEL", "TARGET_NODE", "RAMP_TIME"})
"""Settings of an experiment of Litmus that would do the same."""

MESH_PLURALS = {"PodChaos": "podchaos", "NetworkChaos": "networkchaos", "StressChaos": "stresschaos"}

Json = Mapping[str, Any]


def _pods(actor: ClusterActor, arguments: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    """Return whom the back end may hit, for the guard: it chooses among them by itself.

    Raises:
        TargetError: Nobody.
    """
    namespace, selector = str(arguments["namespace"]), str(arguments["selector"])
    found = eligible(actor.pods(namespace, parse_selector(selector)))
    if not found:
        raise TargetError(f"no Ready pod matches {selector} in {namespace}")
    return tuple(victims(found))


class MeshChaos:
    """The conduct of `mesh_chaos`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the CRD and the pods that it may hit."""
        del seed_text, target
        kind = str(arguments["kind"])
        wider = sorted(WIDER & set(arguments.get("spec", {})))
        if wider:
            raise TargetError(f"spec.{wider[0]} would hit what no guard has seen; namespace and selector say whom")
        if not actor.serves(MESH_API, kind):
            raise TargetError(f"Chaos Mesh is not installed: the cluster serves no {kind} of {MESH_API}")
        found = _pods(actor, arguments)
        return Selected(len(found), found, (f"{kind} in {arguments['namespace']} is deleted",))

    def act(self, work: Work) -> Steps[Deed]:
        """Write the object; it ends by itself at the latest when the fault must."""
        yield from ()
        namespace, name = str(work.arguments["namespace"]), helper_name(work.context.run_id, work.plan.name, "mesh", 1)
        selector = {"namespaces": [namespace], "labelSelectors": parse_selector(str(work.arguments["selector"]))}
        spec = {"mode": "all", **work.arguments.get("spec", {}), "selector": selector}
        spec["duration"] = f"{int(work.plan.max_hold_s)}s"
        meta = {"name": name, "namespace": namespace}
        kind = str(work.arguments["kind"])
        work.create({"apiVersion": MESH_API, "kind": kind, "metadata": meta, "spec": spec})
        return Deed(work.selected.victims, "", (("object", f"{kind} {namespace}/{name}"),), name)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until its controller says that everything is injected."""
        ref = ObjectRef(MESH_API, str(work.arguments["kind"]), str(deed.found), str(work.arguments["namespace"]))

        def look() -> tuple[bool, str]:
            conditions = ((work.context.actor.get(ref) or {}).get("status") or {}).get("conditions") or ()
            told = {str(c["type"]): str(c["status"]) for c in conditions}
            return told.get("AllInjected") == "True", f"{ref}: {told or 'its controller has said nothing'}"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


class LitmusChaos:
    """The conduct of `litmus_chaos`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the CRD and the pods that it may hit."""
        del seed_text, target
        if not actor.serves(LITMUS_API, "ChaosEngine"):
            raise TargetError(f"LitmusChaos is not installed: the cluster serves no ChaosEngine of {LITMUS_API}")
        reserved = sorted(RESERVED_ENV & {str(one.get("name")) for one in arguments.get("env", ())})
        if reserved:
            raise TargetError(f"env {reserved[0]} is not the experiment's: selector and max_hold say whom and how long")
        found = _pods(actor, arguments)
        return Selected(len(found), found, (f"ChaosEngine in {arguments['namespace']} is deleted",))

    def act(self, work: Work) -> Steps[Deed]:
        """Write the engine."""
        yield from ()
        arguments, name = work.arguments, helper_name(work.context.run_id, work.plan.name, "litmus", 1)
        namespace = str(arguments["namespace"])
        duration = {"name": "TOTAL_CHAOS_DURATION", "value": str(int(work.plan.max_hold_s))}
        components = {"env": [duration, *arguments.get("env", ())]}
        info = {"appns": namespace, "applabel": str(arguments["selector"]), "appkind": "deployment"}
        spec = {
            "engineState": "active",
            "appinfo": info,
            "chaosServiceAccount": str(arguments["service_account"]),
            "experiments": [{"name": str(arguments["experiment"]), "spec": {"components": components}}],
        }
        meta = {"name": name, "namespace": namespace}
        work.create({"apiVersion": LITMUS_API, "kind": "ChaosEngine", "metadata": meta, "spec": spec})
        return Deed(work.selected.victims, "", (("object", f"ChaosEngine {namespace}/{name}"),), name)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until its operator says that the experiment runs: injecting, not only planned."""
        ref = ObjectRef(LITMUS_API, "ChaosEngine", str(deed.found), str(work.arguments["namespace"]))

        def look() -> tuple[bool, str]:
            status = (work.context.actor.get(ref) or {}).get("status") or {}
            told = [str(one.get("status", "")) for one in status.get("experiments") or ()]
            return "Running" in told, f"{ref}: {', '.join(told) or status.get('engineStatus') or 'nothing said'}"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def mesh_chaos(**arguments: Any) -> dict[str, Any]:
    """Let Chaos Mesh do it: kill pods, disturb their network, stress them.

    Args:
        **arguments: ``kind`` (``PodChaos``, ``NetworkChaos``, ``StressChaos``), ``namespace``, ``selector``, and
            ``spec``: the rest of the object's spec.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(MESH_CHAOS)


def litmus_chaos(**arguments: Any) -> dict[str, Any]:
    """Let LitmusChaos do it, by a ChaosEngine of one experiment.

    Args:
        **arguments: ``experiment``, ``namespace``, ``selector``, ``service_account``, ``env``.

    Returns:
        Victims, effect and reason.
    """
    del arguments
    return perform(LITMUS_CHAOS)


def _mesh_permissions(arguments: Mapping[str, Any], verbs: tuple[str, ...]) -> tuple[Permission, ...]:
    plural, namespace = MESH_PLURALS[str(arguments["kind"])], str(arguments["namespace"])
    return tuple(Permission(verb, plural, "chaos-mesh.org", "", namespace) for verb in verbs)


def _litmus_permissions(arguments: Mapping[str, Any], verbs: tuple[str, ...]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(verb, "chaosengines", "litmuschaos.io", "", namespace) for verb in verbs)


def _list_pods(arguments: Mapping[str, Any]) -> Permission:
    return Permission("list", "pods", "", "", str(arguments["namespace"]))


_TEXT = {"type": "string", "minLength": 1}
_WHOM = {
    "namespace": {**_TEXT, "description": "namespace of the pods, and of the object"},
    "selector": {"type": "string", "format": "selector", "description": "labels of the pods"},
}

MESH_CHAOS = Fault(
    name="mesh_chaos",
    module=__name__,
    loss=Loss.ABRUPT,
    evidence="the object's condition AllInjected is True",
    conduct=MeshChaos(),
    needs=lambda arguments: (_list_pods(arguments), *_mesh_permissions(arguments, ("create", "get"))),
    undo_needs=lambda arguments: _mesh_permissions(arguments, ("get", "delete")),
    undo="delete",
    arguments_schema={
        "type": "object",
        "description": "kind, namespace, selector, and the rest of the object's spec",
        "properties": {
            **_WHOM,
            "kind": {"enum": sorted(MESH_PLURALS), "description": "what Chaos Mesh does"},
            "spec": {"type": "object", "description": "such as {action: delay, delay: {latency: 200ms}}"},
        },
        "required": ["kind", "namespace", "selector"],
        "additionalProperties": False,
    },
)

LITMUS_CHAOS = Fault(
    name="litmus_chaos",
    module=__name__,
    loss=Loss.ABRUPT,
    evidence="the engine's experiment is Running",
    conduct=LitmusChaos(),
    needs=lambda arguments: (_list_pods(arguments), *_litmus_permissions(arguments, ("create", "get"))),
    undo_needs=lambda arguments: _litmus_permissions(arguments, ("get", "delete")),
    undo="delete",
    arguments_schema={
        "type": "object",
        "description": "experiment, namespace, selector, service_account",
        "properties": {
            **_WHOM,
            "experiment": {**_TEXT, "description": "name of the ChaosExperiment, such as pod-network-latency"},
            "service_account": {**_TEXT, "description": "ServiceAccount of the chaos runner"},
            "env": {
                "type": "array",
                "items": {"type": "object"},
                "description": "further environment of the experiment",
            },
        },
        "required": ["experiment", "namespace", "selector", "service_account"],
        "additionalProperties": False,
    },
)
