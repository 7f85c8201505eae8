"""Node and Lease objects of the testbed's nodes. Pure: a node of the layout in, manifests out."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field

from testbed.layout import KUBELET_PORT, Node
from testbed.nodeagent.objects import Obj, rfc3339_micro

LEASE_DURATION_S = 8
"""The API server's default is 40 s; here a lost node must be noticed within a game day's patience."""
LEASE_NAMESPACE = "kube-node-lease"
REGION = "local"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Pool:
    """What the nodes of a pool have in common.

    Attributes:
        instance_type: value of `node.kubernetes.io/instance-type`.
        taint: key of the taint `KEY=true:NoSchedule`, empty for none.
        extra: extended resources.
        labels: further labels, as a cloud or an operator would set them.
    """

    instance_type: str
    taint: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


POOLS = {
    "general": Pool("local-general"),
    "gpu": Pool("local-gpu-4", "gpu", {"nvidia.com/gpu": "4"}, {"nvidia.com/gpu.present": "true"}),
    "spot": Pool("local-spot", "spot"),
    "infra": Pool("local-infra", "infra"),
}
_CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "50Gi"}


def capacity(node: Node) -> dict[str, str]:
    """Return what the node says it has. It is what the scheduler counts with, not what this machine has."""
    return {**_CAPACITY, **POOLS[node.pool].extra}


def labels(node: Node) -> dict[str, str]:
    """Return the labels that a node has from its first moment."""
    return {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _architecture(),
        "node.kubernetes.io/instance-type": POOLS[node.pool].instance_type,
        "topology.kubernetes.io/zone": node.zone,
        "topology.kubernetes.io/region": REGION,
        "gameday.local/pool": node.pool,
        **POOLS[node.pool].labels,
    }


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def node_object(node: Node, version: str, now: str) -> Obj:
    """Return the Node as it registers itself; `version` is the kubelet version that it claims."""
    taint = POOLS[node.pool].taint
    taints = [{"key": taint, "value": "true", "effect": "NoSchedule"}] if taint else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels(node)},
        "spec": {"taints": taints, "podCIDR": node.pod_cidr, "providerID": f"gameday://{node.zone}/{node.name}"},
        "status": {
            "capacity": capacity(node),
            "allocatable": capacity(node),
            "conditions": conditions(now, now),
            **standing_status(node, version),
        },
    }


def standing_status(node: Node, version: str) -> Obj:
    """Return the part of a node's status that stays the same while it lives, capacity aside."""
    return {
        "addresses": [
            {"type": "InternalIP", "address": node.internal_ip},
            {"type": "Hostname", "address": node.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "nodeInfo": {
            "architecture": _architecture(),
            "bootID": "",
            "containerRuntimeVersion": "process://1.0",
            "kernelVersion": os.uname().release,
            "kubeProxyVersion": "",
            "kubeletVersion": version,
            "machineID": node.name,
            "operatingSystem": "linux",
            "osImage": "Gameday local testbed",
            "systemUUID": node.name,
        },
    }


_CONDITIONS = (
    ("Ready", "True", "KubeletReady", "node agent is posting ready status"),
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "node agent has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "node agent has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "node agent has sufficient PID available"),
    ("NetworkUnavailable", "False", "RouteCreated", "loopback needs no routes"),
)


def conditions(now: str, since: str) -> list[Obj]:
    """Return the conditions of a healthy node at `now`, which they are since `since` (API times)."""
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since,
        }
        for kind, status, reason, message in _CONDITIONS
    ]


def lease_object(node: Node, node_uid: str) -> Obj:
    """Return the Lease whose renewal says that the node lives."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node.name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        **lease_renewal(node),
    }


def lease_renewal(node: Node) -> Obj:
    """Return the patch that renews the node's Lease now."""
    spec = {"holderIdentity": node.name, "leaseDurationSeconds": LEASE_DURATION_S, "renewTime": rfc3339_micro()}
    return {"spec": spec}
