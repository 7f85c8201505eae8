"""Which nodes a fault hits: named, or drawn by seed without replacement among those that work (CASES A05, A06, A14)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.faults.conditions import condition_is
from experiments.faults.targets import TargetError, asked_of
from harness.model.fault import ObjectRef, Permission
from harness.model.selector import parse_selector, selector_text
from harness.ports import ClusterActor

Json = Mapping[str, Any]

NODE_ARGUMENTS: Mapping[str, Any] = {
    "nodes": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "uniqueItems": True,
        "description": "names of nodes, hit one after the other",
    },
    "hosting": {
        "type": "string",
        "pattern": "^[^/]+/.+$",
        "description": "namespace/labels: the nodes on which these pods run when the fault is due",
    },
    "selector": {
        "type": "string",
        "format": "selector",
        "description": "labels of nodes, such as gameday.local/pool=general",
    },
    "count": {"type": "integer", "minimum": 1, "description": "how many nodes of the selector"},
    "share": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "share of the Ready nodes, rounded down",
    },
}
NODE_CHOICE: tuple[Mapping[str, Any], ...] = (
    {"required": ["nodes"]},
    {"required": ["hosting"]},
    {"required": ["selector", "count"]},
    {"required": ["selector", "share"]},
)
"""Always an explicit, bounded list: nothing named would mean every node (CASES A06)."""


def node_schema(**further: Any) -> Mapping[str, Any]:
    """Return the JSON schema of a fault on nodes.

    Args:
        **further: Schemas of its own arguments.
    """
    return {
        "type": "object",
        "description": "nodes, hosting, or selector with count or share",
        "properties": {**NODE_ARGUMENTS, **further},
        "additionalProperties": False,
        "oneOf": [dict(choice) for choice in NODE_CHOICE],
    }


def node_ref(name: str) -> ObjectRef:
    """Return a node's reference."""
    return ObjectRef("v1", "Node", name)


def node_ready(node: Json) -> bool:
    """Tell whether a node's condition Ready is True."""
    return condition_is(node, "Ready")


def cordoned(node: Json) -> bool:
    """Tell whether a node takes no new pods."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def choose_nodes(actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str) -> tuple[Json, ...]:
    """Choose the nodes to hit.

    Args:
        actor: Reads them.
        arguments: ``nodes``, ``hosting``, or ``selector`` with ``count`` or ``share``.
        seed_text: Seed of the draw.

    Raises:
        TargetError: One is not there or not Ready, or there are fewer than asked for.
    """
    if "nodes" in arguments:
        return tuple(_named(actor, str(name)) for name in dict.fromkeys(arguments["nodes"]))
    if "hosting" in arguments:
        return _hosting(actor, str(arguments["hosting"]))
    selector = selector_text(parse_selector(str(arguments["selector"])))
    every = sorted(actor.find("v1", "Node", selector=selector), key=lambda node: str(node["metadata"]["name"]))
    able = [node for node in every if node_ready(node) and not cordoned(node)]
    asked = asked_of(arguments, len(able))
    if asked > len(able):
        found = f"{len(able)} of {len(every)} nodes of {selector} are Ready and schedulable"
        raise TargetError(f"{asked} nodes were asked for, but {found}" if every else f"no node matches {selector}")
    return tuple(random.Random(seed_text).sample(able, asked))  # noqa: S311 - a draw that must repeat


def _hosting(actor: ClusterActor, text: str) -> tuple[Json, ...]:
    namespace, _, labels = text.partition("/")
    pods = actor.find("v1", "Pod", namespace, selector_text(parse_selector(labels)))
    alive = [pod for pod in pods if (pod.get("status") or {}).get("phase") in {"Pending", "Running"}]
    names = sorted({str(pod["spec"]["nodeName"]) for pod in alive if (pod.get("spec") or {}).get("nodeName")})
    if not names:
        raise TargetError(f"no pod of {labels} in {namespace} has a node")
    return tuple(_named(actor, name) for name in names)


def _named(actor: ClusterActor, name: str) -> Json:
    node = actor.get(node_ref(name))
    if node is None:
        raise TargetError(f"there is no node {name}")
    if not node_ready(node):
        raise TargetError(f"node {name} is not Ready already")
    return node


def pods_on(actor: ClusterActor, node: str) -> Sequence[Json]:
    """List every pod that is bound to a node, of every namespace."""
    return actor.find("v1", "Pod", field_selector=f"spec.nodeName={node}")


def node_undo_needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    """Return what taking a change of a node back needs to be allowed."""
    del arguments
    return (Permission("get", "nodes"), Permission("patch", "nodes"))
