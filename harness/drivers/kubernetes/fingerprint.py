"""What faults can touch in a cluster, as plain JSON by ``Kind/namespace/name`` (``Kind/name``; DESIGN U6). Reads only.

Pods, statuses and what controllers change by themselves are left out: replicas under an autoscaler, taints of the node
controller, HPAs that KEDA made. Two fingerprints of an untouched cluster are equal, however long lies between them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from harness.drivers.kubernetes.connection import Connection, Json
from harness.drivers.kubernetes.facts import PAUSED_ANNOTATIONS, taint_text
from harness.drivers.kubernetes.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HPAS,
    NETWORK_POLICIES,
    NODES,
    PDBS,
    PODS,
    RESOURCE_QUOTAS,
    SCALED_OBJECTS,
    STATEFUL_SETS,
    Resource,
    list_all,
)
from harness.model.fault import RUN_LABEL, UNDO_LABEL
from harness.model.restoration import SWITCH_CONFIG_MAP, TRACE_ANNOTATION

_CONTROLLER_TAINTS = "node.kubernetes.io/"
_OUR_ANNOTATIONS = ("gameday.local/", "testbed.gameday.local/")
_PLAIN_CAPACITY = ("cpu", "pods")

HELPER_KINDS: tuple[Resource, ...] = (PODS, CONFIG_MAPS, DEPLOYMENTS)
SPEC_KINDS: tuple[Resource, ...] = (DEPLOYMENTS, STATEFUL_SETS, HPAS, PDBS, RESOURCE_QUOTAS, NETWORK_POLICIES)


def read_fingerprint(connection: Connection, namespaces: Iterable[str], keda: bool) -> dict[str, Any]:
    """Read the fingerprint of the nodes and of some namespaces.

    Args:
        connection: The cluster.
        namespaces: Which namespaces.
        keda: Whether ScaledObjects are served.

    Raises:
        PortError: Something could not be read; half a fingerprint proves nothing.
    """
    found = {_key(NODES, node): node_print(node) for node in list_all(connection, NODES)[0]}
    for namespace in namespaces:
        kinds = (*SPEC_KINDS, SCALED_OBJECTS) if keda else SPEC_KINDS
        objects = {kind.kind: list_all(connection, kind, namespace)[0] for kind in kinds}
        scaled = scaled_targets(objects)
        for kind in kinds:
            for obj in objects[kind.kind]:
                spec = object_print(kind.kind, obj, scaled)
                if spec is not None:
                    found[_key(kind, obj)] = spec
        found |= _helpers(connection, namespace) | _switch(connection, namespace)
    return dict(sorted(found.items()))


def _helpers(connection: Connection, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in HELPER_KINDS:
        # An undo record carries the label too; whether one is left is the ledger's matter, and told by itself.
        for obj in list_all(connection, kind, namespace, {"labelSelector": f"{RUN_LABEL},!{UNDO_LABEL}"})[0]:
            found[f"helper:{_key(kind, obj)}"] = {RUN_LABEL: obj["metadata"]["labels"][RUN_LABEL]}
    return found


def _switch(connection: Connection, namespace: str) -> dict[str, Any]:
    query = {"fieldSelector": f"metadata.name={SWITCH_CONFIG_MAP}"}  # a list: the right to list them is there already
    found = list_all(connection, CONFIG_MAPS, namespace, query)[0]
    return {
        _key(CONFIG_MAPS, obj): {"data": obj.get("data") or {}, "annotations": our_annotations(obj["metadata"])}
        for obj in found
    }


def node_print(node: Json) -> dict[str, Any]:
    """Return what faults can touch of a node: cordon, taints, labels, capacity, our annotations."""
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    taints = [taint_text(t) for t in spec.get("taints") or () if not t["key"].startswith(_CONTROLLER_TAINTS)]
    return {
        "unschedulable": bool(spec.get("unschedulable")),
        "taints": sorted(taints),
        "labels": dict(meta.get("labels") or {}),
        "capacity": _capacity(status.get("capacity")),
        "allocatable": _capacity(status.get("allocatable")),
        "annotations": our_annotations(meta),
    }


def _capacity(amounts: Mapping[str, str] | None) -> dict[str, str]:
    """Keep what is counted (CPUs, pods, devices); memory and disk wander by themselves on real nodes."""
    return {name: amount for name, amount in (amounts or {}).items() if name in _PLAIN_CAPACITY or "/" in name}


def scaled_targets(objects: Mapping[str, Iterable[Json]]) -> set[tuple[str, str]]:
    """Return ``(kind, name)`` of everything whose replicas an autoscaler owns."""
    references = [
        (obj.get("spec") or {}).get("scaleTargetRef") or {}
        for kind in (HPAS.kind, SCALED_OBJECTS.kind)
        for obj in objects.get(kind, ())
    ]
    return {(str(r.get("kind") or "Deployment"), str(r.get("name", ""))) for r in references}


def object_print(kind: str, obj: Json, scaled: set[tuple[str, str]]) -> dict[str, Any] | None:
    """Return what faults can touch of an object, or None where a controller owns the whole of it."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    if any(owner["kind"] == SCALED_OBJECTS.kind for owner in meta.get("ownerReferences") or ()):
        return None
    annotations = our_annotations(meta)
    if kind not in {DEPLOYMENTS.kind, STATEFUL_SETS.kind}:
        return {"spec": spec, "annotations": annotations}
    found = {"paused": bool(spec.get("paused")), "template_sha256": _digest(spec.get("template"))}
    if (kind, meta["name"]) not in scaled:
        found["replicas"] = spec.get("replicas")
    return {**found, "annotations": annotations}


def our_annotations(meta: Json) -> dict[str, str]:
    """Return annotations that faults set: ours, the testbed's and KEDA's pauses."""
    annotations = meta.get("annotations") or {}
    return {
        key: value
        for key, value in annotations.items()
        if (key.startswith(_OUR_ANNOTATIONS) or key in PAUSED_ANNOTATIONS) and key != TRACE_ANNOTATION
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _key(kind: Resource, obj: Json) -> str:
    meta = obj["metadata"]
    return "/".join(part for part in (kind.kind, meta.get("namespace"), meta["name"]) if part)
