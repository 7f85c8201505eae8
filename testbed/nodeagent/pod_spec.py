"""Reads pod specs: containers with their roles, ports, probes, grace. Pure; the API server has validated the object."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from testbed.nodeagent.objects import Obj
from testbed.nodeagent.quantities import parse_quantity

Role = Literal["init", "sidecar", "main"]
DEFAULT_GRACE_S = 30.0


@dataclass(frozen=True)
class ContainerSpec:
    """One container of a pod spec.

    Attributes:
        name: its name, unique in the pod.
        role: `init` runs to its end before the next starts; `sidecar` is an init container with restartPolicy Always.
        raw: the container as the API gives it.
    """

    name: str
    role: Role
    raw: Obj

    @property
    def image(self) -> str:
        """The image; nothing is run from it, but one that cannot be had keeps the container from starting."""
        return str(self.raw.get("image", ""))

    def limit(self, resource: str) -> float | None:
        """Return the limit of `cpu` (cores) or `memory` (bytes), None without one."""
        text = self.raw.get("resources", {}).get("limits", {}).get(resource)
        return None if text is None else float(parse_quantity(text))

    def probe(self, kind: str) -> Obj | None:
        """Return the `readiness`, `liveness` or `startup` probe."""
        found: Obj | None = self.raw.get(f"{kind}Probe")
        return found

    def hook(self, name: str) -> Obj | None:
        """Return the lifecycle hook `preStop` or `postStart`."""
        found: Obj | None = (self.raw.get("lifecycle") or {}).get(name)
        return found

    def port(self, port: int | str) -> int:
        """Return the number of a port given by number or name.

        Raises:
            ValueError: no container port has that name.
        """
        if isinstance(port, int):
            return port
        if port.isdigit():
            return int(port)
        for candidate in self.raw.get("ports", []):
            if candidate.get("name") == port:
                return int(candidate["containerPort"])
        raise ValueError(f"container {self.name} has no port named {port!r}")


def containers(spec: Obj) -> list[ContainerSpec]:
    """Return every container of a pod spec, init containers first, in the order in which they start."""
    return list(_containers(spec))


def _containers(spec: Obj) -> Iterator[ContainerSpec]:
    for raw in spec.get("initContainers", []):
        yield ContainerSpec(raw["name"], "sidecar" if raw.get("restartPolicy") == "Always" else "init", raw)
    for raw in spec["containers"]:
        yield ContainerSpec(raw["name"], "main", raw)


def restart_policy(spec: Obj, role: Role) -> str:
    """Return Always, OnFailure or Never: what counts for a container of that role.

    An init container that ended well never runs again, and a failed one is not retried only under Never.
    """
    policy = str(spec.get("restartPolicy", "Always"))
    if role == "sidecar":
        return "Always"
    return "OnFailure" if role == "init" and policy == "Always" else policy


def restarts(policy: str, exit_code: int) -> bool:
    """Tell whether a container that ended with `exit_code` is started again under `policy`."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def deletion_grace_s(obj: Obj) -> float | None:
    """Return the grace of a pod that is being deleted; None when it is not."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta:
        return None
    return float(meta.get("deletionGracePeriodSeconds", spec_grace_s(obj["spec"])))


def spec_grace_s(spec: Obj) -> float:
    """Return the grace that the pod spec asks for, in seconds."""
    return float(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S))
