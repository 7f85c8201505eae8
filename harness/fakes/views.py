"""Parts of the simulation as the API shows them: plain Kubernetes JSON. Reads only."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from harness.fakes.jobs import SimJob
from harness.fakes.nodes import SimNode
from harness.fakes.workloads import SimPod, SimScaler, SimWorkload, start_problem
from harness.model.facts import HpaFact, PdbFact

Json = Mapping[str, Any]


def node_json(node: SimNode, version: str) -> Json:
    """Return a node."""
    obj = copy.deepcopy(node.obj)
    obj["metadata"]["resourceVersion"] = version
    return obj


def pod_json(pod: SimPod, version: str) -> Json:
    """Return a pod."""
    fact = pod.fact
    meta: dict[str, Any] = {
        "namespace": fact.namespace, "name": fact.name, "uid": fact.uid, "resourceVersion": version,
        "labels": dict(fact.labels), "annotations": dict(pod.annotations),
    }  # fmt: skip
    if fact.owner:
        kind, _, name = fact.owner.partition("/")
        meta["ownerReferences"] = [{"kind": kind, "name": name, "controller": True}]
    if fact.terminating:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {**copy.deepcopy(dict(pod.spec)), "priority": fact.priority or 0}
    if fact.node:
        spec["nodeName"] = fact.node
    conditions = [{"type": "Ready", "status": "True" if fact.ready else "False"}, _scheduled(pod)]
    status = {"phase": fact.phase, "conditions": conditions, "containerStatuses": [_container_status(pod)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def _container_status(pod: SimPod) -> dict[str, Any]:
    problem, name = start_problem(pod.spec), str(pod.spec["containers"][0]["name"])
    waits = not pod.fact.node or problem not in {"", "Unready"}
    state: dict[str, Any] = {"waiting": {"reason": problem or "ContainerCreating"}} if waits else {"running": {}}
    return {"name": name, "ready": pod.fact.ready, "restartCount": pod.fact.restarts, "state": state}


def _scheduled(pod: SimPod) -> dict[str, str]:
    if pod.fact.node or not pod.message:
        return {"type": "PodScheduled", "status": "True" if pod.fact.node else "False"}
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": pod.message}


def deployment_json(workload: SimWorkload, version: str) -> Json:
    """Return a Deployment."""
    fact = workload.fact
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "namespace": workload.namespace, "name": workload.name, "uid": fact.uid if fact else "",
            "resourceVersion": version, "labels": dict(workload.selector), "annotations": dict(workload.annotations),
        },
        "spec": {
            "replicas": workload.replicas,
            "selector": {"matchLabels": dict(workload.selector)},
            "template": {"metadata": {"labels": dict(workload.selector)}, "spec": copy.deepcopy(workload.pod_spec())},
        },
        "status": {
            "replicas": fact.replicas if fact else 0, "updatedReplicas": fact.updated_replicas if fact else 0,
            "readyReplicas": fact.ready_replicas if fact else 0,
        },
    }  # fmt: skip


def job_json(job: SimJob, version: str) -> Json:
    """Return a Job."""
    obj = copy.deepcopy(job.obj)
    obj["metadata"]["resourceVersion"] = version
    return {**obj, "status": {"succeeded": int(job.complete), "failed": job.failed}}


def pdb_json(fact: PdbFact, version: str) -> Json:
    """Return a PodDisruptionBudget."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "namespace": fact.namespace, "name": fact.name, "uid": fact.uid, "generation": fact.generation,
            "resourceVersion": version,
        },
        "spec": {"minAvailable": int(fact.min_available or 0), "selector": {"matchLabels": dict(fact.selector)}},
        "status": {
            "observedGeneration": fact.observed_generation, "currentHealthy": fact.current_healthy,
            "desiredHealthy": fact.desired_healthy, "expectedPods": fact.expected_pods,
            "disruptionsAllowed": fact.disruptions_allowed,
        },
    }  # fmt: skip


def hpa_json(fact: HpaFact, bounds: SimScaler | None) -> Json:
    """Return a HorizontalPodAutoscaler; one that KEDA made has no bounds of its own."""
    kind, _, name = fact.target.partition("/")
    limited = {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"}
    meta = {"namespace": fact.namespace, "name": fact.name, "uid": fact.uid, "resourceVersion": fact.resource_version}
    made = {"ownerReferences": [{"kind": "ScaledObject", "name": fact.name.removeprefix("keda-hpa-")}]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {**meta, **(made if bounds is None else {"annotations": dict(bounds.annotations)})},
        "spec": {
            "minReplicas": fact.min_replicas,
            "maxReplicas": fact.max_replicas if bounds is None else bounds.maximum,
            "scaleTargetRef": {"kind": kind, "name": name},
        },
        "status": {"currentReplicas": fact.current_replicas, "conditions": [limited] if fact.limited else []},
    }
