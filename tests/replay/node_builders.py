"""Runs on a cluster whose nodes are scaled: an autoscaler that tells of itself, nodes that come, and nodes that go.

``node_scaled_run()`` lets a pod find no node at +60 s; node-new-0 is asked for at +65 s, comes at +100 s and takes pods
at +110 s. Nothing goes: the burst ends at +152 s, and the run is over at +180 s. `long_run` lets it settle for longer.
"""

from __future__ import annotations

from typing import Any

from harness.model.facts import NodeAutoscalerFact, NodeAutoscalerFlagsFact, NodeFact
from harness.model.verdict import Verdict
from tests.replay.builders import BURST_END_S, END_S, ORIGIN, Run, asserting, good_run, judged, pod

UP, DOWN = "up", "down"
POOL = {"pool": "general"}
STATUS, SYSTEM = "cluster-autoscaler-status", "kube-system"
CANDIDATE, LEAVING = "DeletionCandidateOfClusterAutoscaler", "ToBeDeletedByClusterAutoscaler"
NEW = "node-new-0"
NEED_S, TRIGGER_S, CAME_S, OFFERED_S = 60.0, 65.0, 100.0, 110.0
KIND = "nodes_scaled"
GPU = "nvidia.com/gpu"
UNNEEDED_S = 170.0
DUE_S = UNNEEDED_S + 300 + 10
"""The autoscaler's unneeded time of 5 min, and a scan; its delay after an addition ends before, at +460 s."""
FLAGS = {"scale-down-unneeded-time": "5m0s", "scale-down-delay-after-add": "6m", "scan-interval": "10s"}
WAITING = {"node": "", "phase": "Pending", "ready": False, "reason": "Unschedulable"}


def scaled(run: Run, direction: str, **params: Any) -> Verdict:
    """Judge a run by one `nodes_scaled`."""
    verdict: Verdict = judged(asserting(run, KIND, direction=direction, **params), KIND)
    return verdict


def scaled_node(name: str = NEW, **changes: Any) -> NodeFact:
    """Return a node of the pool that takes pods."""
    base: dict[str, Any] = {"uid": f"uid-{name}", "namespace": "", "name": name, "labels": POOL, "ready": True}
    return NodeFact(**(base | {"allocatable": {"cpu": "7910m", "pods": "110"}} | changes))


def told(target: int = 2, **changes: Any) -> NodeAutoscalerFact:
    """Return what the autoscaler tells of itself, of one group of 1 to 4 nodes."""
    base: dict[str, Any] = {
        "uid": "uid-status", "namespace": SYSTEM, "name": STATUS, "state": "Running", "health": "Healthy",
        "scale_up": "NoActivity", "scale_down": "NoCandidates", "candidates": 0, "min_sizes": {"general": 1},
        "max_sizes": {"general": 4}, "targets": {"general": target}, "updated_unix_s": None,
    }  # fmt: skip
    return NodeAutoscalerFact(**(base | changes))


def flags(**changes: str) -> NodeAutoscalerFlagsFact:
    """Return the flags of the autoscaler's Deployment; underscores of names stand for their dashes."""
    written = {name.replace("_", "-"): value for name, value in changes.items()}
    return NodeAutoscalerFlagsFact("uid-ca", SYSTEM, "cluster-autoscaler", flags={**FLAGS, **written})


def say_event(run: Run, t_s: float, reason: str, kind: str, name: str, message: str = "", namespace: str = "") -> None:
    """Add an Event of the autoscaler about an object."""
    involved = {"kind": kind, "namespace": namespace, "name": name}
    subject = f"{namespace}/{name}" if namespace else name
    run.say(t_s, "cluster", "k8s-event", subject, reason=reason, message=message, type="Normal", involved=involved)


def calm_run() -> Run:
    """Return a run with two nodes and an autoscaler that has nothing to do."""
    run = good_run()
    run.fact(1, flags())
    run.fact(1, told(1))
    for number in (1, 2):
        run.fact(1, scaled_node(f"node-{number}"))
    return run


def wait_for_capacity(run: Run, start_s: float = NEED_S, end_s: float | None = OFFERED_S + 1, name: str = "big") -> Run:
    """Add a pod that finds no node, and then gets the new one."""
    run.fact(start_s, pod(name, **WAITING))
    if end_s is not None:
        run.fact(end_s, pod(name, node=NEW, phase="Pending", ready=False))
        run.fact(end_s + 1, pod(name, node=NEW, owner="ReplicaSet/planner"))
    return run


def add_node(run: Run, came_s: float = CAME_S, offered_s: float | None = OFFERED_S, name: str = NEW) -> Run:
    """Let a node come: unknown to pods at first, then Ready and open."""
    taints = ["node.kubernetes.io/not-ready=:NoSchedule"]
    run.fact(came_s, scaled_node(name, ready=False, taints=taints))
    if offered_s is not None:
        run.fact(offered_s, scaled_node(name))
    return run


def node_scaled_run(offered_s: float | None = OFFERED_S) -> Run:
    """Return the run of this module."""
    run = wait_for_capacity(calm_run(), end_s=None if offered_s is None else offered_s + 1)
    say_event(run, TRIGGER_S, "TriggeredScaleUp", "Pod", "big", "pod triggered scale-up: 2->3 (max: 4)", "agents")
    run.fact(TRIGGER_S + 1, told(target=3, scale_up="InProgress"))
    return add_node(run, offered_s=offered_s)


def long_run(end_s: float) -> Run:
    """Return it with pods that went after the burst, and a longer look."""
    run = node_scaled_run()
    run.events = [e for e in run.events if e[0] < END_S or e[2] == "watch"]
    for name, edge, t_s in (("settle", "end", end_s), ("harvest", "start", end_s), ("harvest", "end", end_s + 1)):
        run.say(t_s, "harness", "phase", name, edge=edge)
    run.fact(BURST_END_S + 4, pod("big", node=NEW, deleted=True, ready=False, terminating=True))
    return run


def mark(run: Run, t_s: float, name: str = NEW, taint: str = CANDIDATE, **changes: Any) -> Run:
    """Let the autoscaler think a node unneeded, or take it away."""
    effect = "PreferNoSchedule" if taint == CANDIDATE else "NoSchedule"
    run.fact(t_s, scaled_node(name, taints=[f"{taint}={ORIGIN.timestamp() + t_s:.0f}:{effect}"], **changes))
    return run


def remove(run: Run, t_s: float, name: str = NEW) -> Run:
    """Let the autoscaler remove a node; its object is gone 10 s later."""
    mark(run, t_s, name, LEAVING)
    say_event(run, t_s, "ScaleDown", "Node", name, "marked the node as toBeDeleted/unschedulable")
    run.fact(t_s + 10, scaled_node(name, deleted=True))
    return run
