"""What is not ready yet, told from API objects. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def nodes_not_ready(wanted: Sequence[str], nodes: Mapping[str, Any] | None) -> list[str]:
    """Return which of `wanted` are not Ready or still carry a not-ready taint, from a NodeList (None: unreadable)."""
    found = {node["metadata"]["name"]: node for node in (nodes or {}).get("items", [])}
    return [name for name in wanted if name not in found or not _node_ready(found[name])]


def _node_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    tainted = any(taint["key"].startswith("node.kubernetes.io/") for taint in node["spec"].get("taints", []))
    return ready and not tainted


def workloads_not_ready(lists: Iterable[Mapping[str, Any] | None]) -> list[str]:
    """Return `namespace/name: n of m available` for every Deployment that is not complete, from DeploymentLists."""
    missing = []
    for deployments in lists:
        if deployments is None:
            missing.append("Deployments cannot be read")
            continue
        missing += [text for item in deployments["items"] if (text := _deployment_missing(item))]
    return missing


def _deployment_missing(deployment: Mapping[str, Any]) -> str | None:
    metadata, status = deployment["metadata"], deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    available = status.get("availableReplicas", 0)
    if status.get("observedGeneration", 0) >= metadata["generation"] and available >= wanted:
        return None
    return f"{metadata['namespace']}/{metadata['name']}: {available} of {wanted} available"
