"""GPU exhaustion behind one action: devices held by pods, devices unplugged, or their memory taken.

The proof is always a canary pod that stays Pending for exactly that reason; allocatable alone lies (CASES G02).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.faults.context import FaultError, Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.dependency import autoscaler_of, workload_ref
from experiments.faults.evidence import LOOK_EVERY_S, Evidence, wait_for
from experiments.faults.gpu_plan import device_count, free_devices, unschedulable_message
from experiments.faults.helper_pods import helper_name, helper_role, waiting_pod
from experiments.faults.nodes import node_ref, pods_on
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError
from harness.model.fault import Effect, Loss, ObjectRef, Permission
from harness.model.pointer import escape
from harness.model.selector import parse_selector, selector_text, selects
from harness.model.target import Target
from harness.ports import ClusterActor

DEFAULT_RESOURCE = "nvidia.com/gpu"
REAL_GPU_LABEL = "nvidia.com/gpu.memory"
"""Set by NVIDIA's feature discovery on nodes with a real driver; a mocked GPU has no memory to take."""

STEADY_S = 2.0
"""How long the canary must be refused: one look could come between two rounds of the scheduler."""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GpuNode:
    """A node with devices.

    Attributes:
        node: The node.
        free: How many of its devices are free.
        total: How many are allocatable.
    """

    node: Json
    free: int
    total: int

    @property
    def name(self) -> str:
        """Name of the node."""
        return str(self.node["metadata"]["name"])


class GpuExhaustion:
    """The conduct of `exhaust_gpus`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the nodes that offer the resource, and what is free on them."""
        del seed_text
        if target is None:
            raise TargetError("no target names the image of helper pods")
        resource = resource_of(arguments, target)
        found = _gpu_nodes(actor, arguments, resource)
        backend = str(arguments["backend"])
        if backend == "vram":
            _need_real_gpus(found, arguments)
        free = sum(one.free for one in found)
        if backend != "unplug" and not free:
            raise TargetError(f"no {resource} is free: there is nothing to hold")
        fewest = min(one.total for one in found)
        if backend == "unplug" and int(arguments.get("keep", 0)) >= fewest:
            raise TargetError(f"keep: {arguments['keep']} takes nothing from a node that offers {fewest} {resource}")
        undo = (
            tuple(f"Node {one.name}: {resource} back to {one.total}" for one in found)
            if backend == "unplug"
            else (f"{free} helper pods in {target.system_namespace} are deleted",)
        )
        wanting = _wanting(actor, arguments)
        notes = tuple(f"{one.name}: {one.free} of {one.total} {resource} are free" for one in found)
        victims = victims_of([*(one.node for one in found), *wanting])
        undo += tuple(f"{workload_ref(arguments['demand'])}: replicas back to {w['spec']['replicas']}" for w in wanting)
        return Selected(len(victims), victims, undo, notes, found)

    def act(self, work: Work) -> Steps[Deed]:
        """Take the devices, then ask for one more."""
        backend, held = str(work.arguments["backend"]), 0
        if backend == "unplug":
            _unplug(work)
        else:
            held = _hold(work, str(work.arguments.get("image", "")) if backend == "vram" else "")
        yield LOOK_EVERY_S
        detail = (("backend", backend), ("resource", _resource(work)), ("held", held))
        return Deed(work.selected.victims, "", detail, held)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until the holders run, then until a canary is refused for lack of the resource."""
        if deed.found:
            held = yield from wait_for(work.context, lambda: _bound(work, deed.found), work.evidence_limit_s)
            if held.effect is not Effect.CONFIRMED:
                return held
        if "demand" in work.arguments:
            demand = work.arguments["demand"]
            work.change(workload_ref(demand), {"/spec/replicas": int(demand["replicas"])})
        canary = work.create(
            waiting_pod(
                _name(work, "canary", 1), _role(work, "canary"), _target(work), resources={_resource(work): "1"}
            )
        )
        ref = _pod_ref(canary)
        evidence = yield from _refused(work, ref)
        work.context.actor.delete(ref, str(canary["metadata"]["uid"]), 0)  # else it would take the first free device
        if "demand" not in work.arguments or evidence.effect is not Effect.CONFIRMED:
            return evidence
        return (yield from wait_for(work.context, lambda: _demand_waits(work), work.evidence_limit_s))


def resource_of(arguments: Mapping[str, Any], target: Target) -> str:
    """Return what the devices are offered as: the experiment says it, else the target, else it is NVIDIA's name."""
    return str(arguments.get("resource") or target.gpu_resource or DEFAULT_RESOURCE)


def _target(work: Work) -> Target:
    if work.context.target is None:
        raise FaultError(work.plan.name, "no target names the image of helper pods")
    return work.context.target


def _resource(work: Work) -> str:
    return resource_of(work.arguments, _target(work))


def _name(work: Work, role: str, number: int) -> str:
    return helper_name(work.context.run_id, work.plan.name, role, number)


def _role(work: Work, role: str) -> str:
    return helper_role(work.context.run_id, role)


def _pod_ref(pod: Json) -> ObjectRef:
    return ObjectRef("v1", "Pod", str(pod["metadata"]["name"]), str(pod["metadata"]["namespace"]))


def _gpu_nodes(actor: ClusterActor, arguments: Mapping[str, Any], resource: str) -> tuple[GpuNode, ...]:
    selector = selector_text(parse_selector(str(arguments["nodes"]))) if "nodes" in arguments else ""
    nodes = sorted(actor.find("v1", "Node", selector=selector), key=lambda node: str(node["metadata"]["name"]))
    found = []
    for node in nodes:
        total = device_count((node.get("status") or {}).get("allocatable"), resource)
        if total > 0:
            free = free_devices(node, pods_on(actor, str(node["metadata"]["name"])), resource)
            found.append(GpuNode(node, free, total))
    if not found:
        raise TargetError(f"no node{' of ' + selector if selector else ''} offers {resource}; {_offered(nodes)}")
    return tuple(found)


def _offered(nodes: Sequence[Json]) -> str:
    """Name the extended resources that are there: their names depend on the MIG strategy (CASES G07)."""
    names = {n for node in nodes for n in (node.get("status") or {}).get("allocatable") or {} if "/" in n}
    return f"offered are {', '.join(sorted(names))}" if names else "no extended resource is offered at all"


def _need_real_gpus(found: Sequence[GpuNode], arguments: Mapping[str, Any]) -> None:
    mocked = [one.name for one in found if REAL_GPU_LABEL not in (one.node["metadata"].get("labels") or {})]
    if mocked:
        raise TargetError(f"backend vram needs real GPUs: {', '.join(mocked)} carries no label {REAL_GPU_LABEL}")
    if not arguments.get("image"):
        raise TargetError("backend vram needs image: a CUDA program that takes the memory and waits")


def _unplug(work: Work) -> None:
    """Set capacity and allocatable in one write: either alone would be undone by the kubelet (CASES G01)."""
    keep, resource = str(work.arguments.get("keep", 0)), escape(_resource(work))
    for one in work.selected.found:
        values = {f"/status/capacity/{resource}": keep, f"/status/allocatable/{resource}": keep}
        work.change(node_ref(one.name), values, "status")


def _hold(work: Work, image: str) -> int:
    """Make a pod for each free device, pinned to its node; returns how many."""
    number, resources = 0, {_resource(work): "1"}
    for one in work.selected.found:
        for _ in range(one.free):
            number += 1
            pod = waiting_pod(
                _name(work, "hold", number), _role(work, "hold"), _target(work), resources=resources, node=one.node,
                priority_class=str(work.arguments.get("priority_class", "")), image=image,
            )  # fmt: skip
            work.create(pod)
    return number


def _bound(work: Work, held: int) -> tuple[bool, str]:
    namespace = _target(work).system_namespace
    names = {_name(work, "hold", number) for number in range(1, held + 1)}
    pods = [p for p in work.context.actor.find("v1", "Pod", namespace) if p["metadata"]["name"] in names]
    running = sum((pod.get("status") or {}).get("phase") == "Running" for pod in pods)
    return running == held, f"{running} of {held} holding pods run"


def _wanting(actor: ClusterActor, arguments: Mapping[str, Any]) -> tuple[Json, ...]:
    """Return the workload that is to need more devices than there are, if the file names one."""
    if "demand" not in arguments:
        return ()
    ref, wanted = workload_ref(arguments["demand"]), int(arguments["demand"]["replicas"])
    found = actor.get(ref)
    if found is None:
        raise TargetError(f"demand: there is no {ref}")
    owner = autoscaler_of(actor, ref)
    if owner:
        raise TargetError(f"demand: {ref} is scaled by {owner}, which would undo it")
    if int(found["spec"].get("replicas", 1)) >= wanted:
        raise TargetError(f"demand: {ref} has {found['spec'].get('replicas', 1)} replicas already")
    return (found,)


def _demand_waits(work: Work) -> tuple[bool, str]:
    """Tell whether a pod of the workload that needs more is refused for lack of the resource."""
    demand = work.arguments["demand"]
    ref, wanted = workload_ref(demand), f"Insufficient {_resource(work)}"
    selector = ((work.context.actor.get(ref) or {}).get("spec") or {}).get("selector")
    pods = work.context.actor.find("v1", "Pod", ref.namespace)
    mine = [pod for pod in pods if selects(selector, pod["metadata"].get("labels") or {})]
    waiting = sum(wanted in unschedulable_message(pod) for pod in mine)
    return waiting > 0, f"{waiting} of {len(mine)} pods of {ref} stay Pending: {wanted}"


def _refused(work: Work, ref: ObjectRef) -> Steps[Evidence]:
    context, wanted = work.context, f"Insufficient {_resource(work)}"
    since_s: list[float] = []

    def look() -> tuple[bool, str]:
        pod = context.actor.get(ref)
        said = unschedulable_message(pod) if pod is not None else "the canary is gone"
        if wanted not in said:
            since_s.clear()
            bound = pod is not None and bool((pod.get("spec") or {}).get("nodeName"))
            return False, "the canary got a device" if bound else f"the canary waits: {said or 'not judged yet'}"
        since_s.append(context.clock.now_s())
        return since_s[-1] - since_s[0] >= STEADY_S, f"a canary stays Pending: {said}"

    return (yield from wait_for(context, look, work.evidence_limit_s))


def exhaust_gpus(**arguments: Any) -> dict[str, Any]:
    """Let no GPU be free.

    Args:
        **arguments: ``backend``: ``hold`` (pods take all free devices, at ``priority_class``), ``unplug`` (capacity and
            allocatable to ``keep``), ``vram`` (a CUDA program of ``image`` on each free device); ``resource``;
            ``nodes`` (labels); ``demand``: a workload (``namespace``, ``name``, ``replicas``) that then needs more.

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(EXHAUST_GPUS)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    system = "gameday-system"
    pods = tuple(Permission(verb, "pods", "", "", system) for verb in ("create", "get", "list", "delete"))
    nodes = (Permission("list", "nodes"), Permission("get", "nodes"), Permission("list", "pods"))
    status = (Permission("patch", "nodes", "", "status"),) if arguments.get("backend") == "unplug" else ()
    return (*nodes, *status, *pods, *_demand_needs(arguments, scalers=True))


def _demand_needs(arguments: Mapping[str, Any], *, scalers: bool) -> tuple[Permission, ...]:
    if "demand" not in arguments:
        return ()
    namespace = str(arguments["demand"]["namespace"])
    mine = tuple(Permission(verb, "deployments", "apps", "", namespace) for verb in ("get", "patch"))
    kinds = (("horizontalpodautoscalers", "autoscaling"), ("scaledobjects", "keda.sh"))
    looks = tuple(Permission("list", plural, group, "", namespace) for plural, group in kinds)
    return (*mine, *looks) if scalers else mine


def _undo_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    system = "gameday-system"
    pods = tuple(Permission(verb, "pods", "", "", system) for verb in ("get", "delete"))
    pods += _demand_needs(arguments, scalers=False)
    if arguments.get("backend") != "unplug":
        return pods
    return (*pods, Permission("get", "nodes"), Permission("patch", "nodes"), Permission("patch", "nodes", "", "status"))


EXHAUST_GPUS = Fault(
    name="exhaust_gpus",
    module=__name__,
    loss=Loss.CAPACITY,
    evidence="a canary pod stays Pending because the resource is insufficient",
    conduct=GpuExhaustion(),
    needs=_needs,
    undo_needs=_undo_needs,
    undo="patch",
    arguments_schema={
        "type": "object",
        "description": "backend, and what it needs",
        "properties": {
            "backend": {"enum": ["hold", "unplug", "vram"], "description": "how the devices are taken"},
            "resource": {
                "type": "string",
                "pattern": "^[^/]+/[^/]+$",
                "description": "such as nvidia.com/gpu; the target's gpu_resource by default",
            },
            "nodes": {"type": "string", "format": "selector", "description": "labels of the nodes; all that offer it"},
            "priority_class": {"type": "string", "minLength": 1, "description": "PriorityClass of the holding pods"},
            "keep": {"type": "integer", "minimum": 0, "description": "devices that stay (unplug; 0)"},
            "image": {"type": "string", "minLength": 1, "description": "CUDA program that takes the memory (vram)"},
            "demand": {
                "type": "object",
                "description": "a Deployment that is scaled up then, and must wait for a device",
                "properties": {
                    "namespace": {"type": "string", "minLength": 1, "description": "its namespace"},
                    "name": {"type": "string", "minLength": 1, "description": "its name"},
                    "replicas": {"type": "integer", "minimum": 1, "description": "how many it then asks for"},
                },
                "required": ["namespace", "name", "replicas"],
                "additionalProperties": False,
            },
        },
        "required": ["backend"],
        "additionalProperties": False,
    },
)
