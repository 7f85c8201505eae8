"""Pods that a fault makes for itself: they hold devices, or wait in vain as a proof. Manifests only; nothing is sent.

They live in the target's system namespace, never carry a label of the platform (CASES F11), and may do nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.model.fault import is_drill
from harness.model.target import Target

Json = Mapping[str, Any]
ROLE_LABEL = "gameday.local/helper"


PLAIN_ROLE = "part"
"""Of every helper in a drill: what it is for would be the answer."""


def helper_role(run_id: str, role: str) -> str:
    """Return what a helper is called after: what it is for, and in a drill nothing of the kind."""
    return PLAIN_ROLE if is_drill(run_id) else role


def helper_name(run_id: str, fault: str, role: str, number: int) -> str:
    """Return a name that no other fault of any run has."""
    whose = f"{run_id}/{fault}/{role}" if is_drill(run_id) else f"{run_id}/{fault}"
    return f"gameday-{helper_role(run_id, role)}-{hashlib.sha256(whose.encode()).hexdigest()[:10]}-{number}"


def waiting_pod(
    name: str,
    role: str,
    target: Target,
    *,
    resources: Mapping[str, str],
    node: Json | None = None,
    priority_class: str = "",
    image: str = "",
) -> dict[str, Any]:
    """Return a pod that asks for resources and only waits.

    Args:
        name: Of the pod.
        role: What it is for, as a label.
        target: Names namespace, image and command.
        resources: What it requests, and is limited to.
        node: The node that it must run on, or None for any that has the resources.
        priority_class: Its PriorityClass, or empty for the cluster's default.
        image: Instead of the target's helper image.
    """
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [{"operator": "Exists"}] if node is None else tolerations_of(node),
        "containers": [_waiting_container(role, target, resources, image)],
    }
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": _hostname(node)}
    if priority_class:
        spec["priorityClassName"] = priority_class
    meta = {"name": name, "namespace": target.system_namespace, "labels": {ROLE_LABEL: role}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def _waiting_container(role: str, target: Target, resources: Mapping[str, str], image: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": role,
        "image": image or target.helper_image,
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    if target.helper_command and not image:
        container["command"] = list(target.helper_command)
    return container


def tolerations_of(node: Json) -> list[dict[str, str]]:
    """Return tolerations for exactly the taints that keep pods off a node."""
    taints: Sequence[Json] = (node.get("spec") or {}).get("taints") or ()
    return [
        {"key": str(t["key"]), "operator": "Exists", "effect": str(t["effect"])}
        for t in taints
        if t["effect"] in {"NoSchedule", "NoExecute"}
    ]


def _hostname(node: Json) -> str:
    return str((node["metadata"].get("labels") or {}).get("kubernetes.io/hostname") or node["metadata"]["name"])
