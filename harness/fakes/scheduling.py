"""Where the twin's scheduler may put a pod: cordon, taints, node selector, devices, preemption. Pure; works on objects.

Nodes and pod specs are plain Kubernetes JSON. CPU and memory are not counted: the twin has enough of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

PRIORITIES: Mapping[str, int] = {"platform-critical": 100_000, "platform-standard": 10_000, "platform-batch": 100}
"""PriorityClasses of the sample platform."""

PODS, POD_MAX = "pods", 110
"""Resource by which a node says how many pods it takes, and the kubelet's own limit."""

_KEPT_OUT = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Placed:
    """A pod that holds what a node has: its key, its spec and its priority."""

    key: str
    spec: Json
    priority: int


def devices(spec: Json) -> Counter[str]:
    """Return the extended resources that a pod asks for."""
    wanted: Counter[str] = Counter()
    for container in spec.get("containers") or ():
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if "/" in name:
                wanted[name] += int(amount)
    return wanted


def tolerated(spec: Json, taint: Json) -> bool:
    """Tell whether a pod may go on a node in spite of a taint."""
    return any(_tolerates(toleration, taint) for toleration in spec.get("tolerations") or ())


def _tolerates(toleration: Json, taint: Json) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    same = toleration["key"] == taint["key"]
    return same and (toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", ""))


def closed(node: Json, spec: Json) -> str:
    """Return why a node takes no such pod whatever is free on it, or an empty string."""
    if (node.get("spec") or {}).get("unschedulable"):
        return "node(s) were unschedulable"
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint["effect"] in _KEPT_OUT and not tolerated(spec, taint):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def lacking(node: Json, spec: Json, there: Sequence[Placed]) -> str:
    """Return the device that a node has not enough of, ``pods`` where it takes no more, or an empty string."""
    used: Counter[str] = Counter()
    for placed in there:
        used.update(devices(placed.spec))
    offered = (node.get("status") or {}).get("allocatable") or {}
    if len(there) >= int(offered.get("pods", POD_MAX)):
        return PODS
    short = [name for name, n in devices(spec).items() if int(offered.get(name, 0)) - used[name] < n]
    return short[0] if short else ""


def victims_for(node: Json, spec: Json, priority: int, there: Sequence[Placed]) -> list[str]:
    """Return the keys of the pods of lower priority that would have to go; empty where that is no help."""
    kept, gone = list(there), []
    for placed in sorted((p for p in there if p.priority < priority), key=lambda p: (p.priority, p.key)):
        if not lacking(node, spec, kept):
            break
        kept.remove(placed)
        gone.append(placed.key)
    return [] if lacking(node, spec, kept) else gone


def shortage(lack: str) -> str:
    """Return the scheduler's words for what a node has not enough of."""
    return "Too many pods" if lack == PODS else f"Insufficient {lack}"


def told(problems: Sequence[str]) -> str:
    """Return the scheduler's message about a pod that finds no node."""
    counted = ", ".join(f"{n} {text}" for text, n in sorted(Counter(problems).items()))
    return f"0/{len(problems)} nodes are available: {counted}."
