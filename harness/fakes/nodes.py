"""The twin's nodes: what the sample platform has, and what becomes of one whose kubelet falls silent. No pods here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.model.facts import NodeFact

STOPPED = "testbed.gameday.local/stopped"
NOTICED_S = 8.0
"""Seconds of silence after which the control plane calls a node NotReady, with the testbed's flags."""

EVICTED_S = 10.0
"""Seconds from then on until its pods are told to go."""

BACK_S = 1.0
GPU = "nvidia.com/gpu"
UNREACHABLE = "node.kubernetes.io/unreachable"
POOL = "gameday.local/pool"

PLATFORM_NODES: tuple[tuple[str, str, str], ...] = (
    ("general-1", "zone-a", "general"),
    ("general-2", "zone-b", "general"),
    ("gpu-1", "zone-a", "gpu"),
    ("spot-1", "zone-a", "spot"),
    ("spot-2", "zone-b", "spot"),
    ("infra-1", "zone-a", "infra"),
)
"""Name, zone and pool."""


@dataclass(eq=False)
class SimNode:
    """A node: the whole object, and since when its kubelet says nothing.

    Attributes:
        obj: The object as plain JSON, without a resourceVersion.
        silent_s: Since when the kubelet is stopped, or None.
        evicting: Whether its pods were told to go.
        back_s: When a started kubelet is heard of again.
    """

    obj: dict[str, Any]
    silent_s: float | None = None
    evicting: bool = False
    back_s: float | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.obj["metadata"]["name"])

    @property
    def stopped(self) -> bool:
        """Tell whether its agent was told to stop it."""
        return bool(self.obj["metadata"]["annotations"].get(STOPPED) == "true")

    @property
    def ready(self) -> bool:
        """Tell whether the control plane calls it Ready."""
        return bool(self.obj["status"]["conditions"][0]["status"] == "True")

    def mark(self, ready: bool) -> None:
        """Let the node controller set its condition, and its taints, by the kubelet's silence."""
        self.obj["status"]["conditions"] = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
        spec = self.obj["spec"]
        kept = [taint for taint in spec.get("taints", []) if taint["key"] != UNREACHABLE]
        added = [] if ready else [{"key": UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
        spec["taints"] = [*kept, *added]

    def fact(self) -> NodeFact:
        """Return what a watch would show."""
        meta, spec, status = self.obj["metadata"], self.obj["spec"], self.obj["status"]
        taints = [f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in spec.get("taints") or ()]
        return NodeFact(
            meta["uid"], "", meta["name"], labels=dict(meta["labels"]), ready=self.ready,
            unschedulable=bool(spec.get("unschedulable")), taints=taints, allocatable=dict(status["allocatable"]),
        )  # fmt: skip


def new_node(uid: str, name: str, zone: str, pool: str, devices: Sequence[str] = (GPU,)) -> SimNode:
    """Return a Ready node of a pool; all but the general one are tainted, the GPU pool has four devices a name."""
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, POOL: pool}
    taints = [] if pool == "general" else [{"key": pool, "value": "true", "effect": "NoSchedule"}]
    amounts = {"cpu": "8", "pods": "110", **(dict.fromkeys(devices, "4") if pool == "gpu" else {})}
    return SimNode(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "uid": uid, "labels": labels, "annotations": {}},
            "spec": {"taints": taints} if taints else {},
            "status": {
                "capacity": dict(amounts),
                "allocatable": dict(amounts),
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    )
