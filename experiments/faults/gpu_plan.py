"""How many devices are free, by the scheduler's own arithmetic (CASES G02, G07). Pure; works on plain objects.

Free = allocatable - requests of the pods that are bound to the node and have not ended. A pod's request of a resource
is the larger of the sum of its containers and of its largest init container, with its overhead on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def device_count(amounts: Json | None, resource: str) -> int:
    """Return a whole number of devices from capacity, allocatable or requests; 0 where the resource is not named.

    Raises:
        ValueError: The amount is no whole number: extended resources are never fractions.
    """
    return int((amounts or {}).get(resource, 0))


def requested(pod: Json, resource: str) -> int:
    """Return how many devices a pod asks for."""
    spec = pod.get("spec") or {}
    plain = sum(_container(c, resource) for c in spec.get("containers") or ())
    inits = spec.get("initContainers") or ()
    sidecars = sum(_container(c, resource) for c in inits if c.get("restartPolicy") == "Always")
    largest = max((_container(c, resource) for c in inits if c.get("restartPolicy") != "Always"), default=0)
    return max(plain + sidecars, largest) + device_count(spec.get("overhead"), resource)


def _container(container: Json, resource: str) -> int:
    resources = container.get("resources") or {}
    return max(device_count(resources.get("requests"), resource), device_count(resources.get("limits"), resource))


def ended(pod: Json) -> bool:
    """Tell whether a pod has ended for good; a terminating one still holds its devices."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def free_devices(node: Json, pods: Sequence[Json], resource: str) -> int:
    """Return how many devices of a node are free.

    Args:
        node: The node.
        pods: Pods that are bound to it.
        resource: Such as ``nvidia.com/gpu`` or ``nvidia.com/mig-1g.5gb``.
    """
    allocatable = device_count((node.get("status") or {}).get("allocatable"), resource)
    return max(0, allocatable - sum(requested(pod, resource) for pod in pods if not ended(pod)))


def unschedulable_message(pod: Json) -> str:
    """Return why the scheduler finds no place for a pod, or empty while it has not said, or has found one."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", "")) if condition.get("reason") == "Unschedulable" else ""
    return ""
