"""API objects (plain dicts) to facts. Pure: no request, no clock.

An absent list is empty, an absent number is None, an absent condition is None: what an object has not said is never
read as 0 or as healthy (CASES A12, A13, B05).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from harness.model.facts import Fact, HpaFact, JobFact, NodeFact, PdbFact, PodFact, ScaledObjectFact, WorkloadFact

Json = Mapping[str, Any]

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
SAFE_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
KEPT = "cluster-autoscaler.kubernetes.io/scale-down-disabled"
PAUSED_ANNOTATIONS = ("autoscaling.keda.sh/paused", "autoscaling.keda.sh/paused-replicas")


def unix_s(text: str | None) -> float | None:
    """Parse an RFC 3339 time of the API, or None where it is absent."""
    return datetime.fromisoformat(text).timestamp() if text else None


def quantity(text: str | int) -> float:
    """Parse a Kubernetes quantity: ``250m`` is 0.25, ``1Ki`` is 1024."""
    return float(parse_quantity(text))  # type: ignore[no-untyped-call]


def condition(obj: Json, kind: str) -> Json:
    """Return a condition of an object's status, or an empty one."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == kind), {})


def holds(found: Json) -> bool | None:
    """Read a condition: True, False, or None where it is absent or Unknown."""
    return {"True": True, "False": False}.get(str(found.get("status")))


def controller_of(obj: Json) -> str:
    """Return ``Kind/name`` of the controlling owner, or an empty string."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((f"{o['kind']}/{o['name']}" for o in owners if o.get("controller")), "")


def match_labels(selector: Json | None) -> dict[str, str]:
    """Return a label selector as labels; an expression becomes a key that no pod carries: it never selects too much."""
    labels = dict((selector or {}).get("matchLabels") or {})
    for expression in (selector or {}).get("matchExpressions") or ():
        values = expression.get("values") or []
        if expression["operator"] == "In" and len(values) == 1:
            labels[expression["key"]] = values[0]
        else:
            labels[f"{expression['key']} {expression['operator']} ({','.join(values)})"] = ""
    return labels


def pod_fact(obj: Json) -> PodFact:
    """Derive a pod's fact; ``ready`` is condition Ready=True without a deletionTimestamp (CASES A12)."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    ready, scheduled = condition(obj, "Ready"), condition(obj, "PodScheduled")
    disruption = condition(obj, "DisruptionTarget")
    terminating = bool(meta.get("deletionTimestamp"))
    return PodFact(
        **_identity(obj),
        labels=dict(meta.get("labels") or {}),
        node=spec.get("nodeName") or "",
        phase=status.get("phase") or "",
        ready=holds(ready) is True and not terminating,
        terminating=terminating,
        owner=controller_of(obj),
        restarts=sum(int(c.get("restartCount") or 0) for c in status.get("containerStatuses") or ()),
        created_unix_s=unix_s(meta.get("creationTimestamp")),
        scheduled_unix_s=unix_s(scheduled.get("lastTransitionTime")) if holds(scheduled) else None,
        ready_unix_s=unix_s(ready.get("lastTransitionTime")) if holds(ready) else None,
        disruption=str(disruption.get("reason", "")) if holds(disruption) else "",
        reason=status.get("reason") or _container_reason(status) or str(scheduled.get("reason", "")),
        priority=spec.get("priority"),
        safe_to_evict={"true": True, "false": False}.get(str(_annotations(obj).get(SAFE_TO_EVICT, ""))),
        local_volumes=_local_volumes(obj),
    )


def _annotations(obj: Json) -> Json:
    return obj["metadata"].get("annotations") or {}


def _local_volumes(obj: Json) -> list[str]:
    """Return volumes that are lost with the node, but for those that the pod's annotation excuses."""
    excused = str(_annotations(obj).get(SAFE_VOLUMES, "")).split(",")
    volumes = (obj.get("spec") or {}).get("volumes") or ()
    return [v["name"] for v in volumes if _is_local(v) and v["name"] not in excused]


def _is_local(volume: Json) -> bool:
    scratch = volume.get("emptyDir")
    return "hostPath" in volume or (scratch is not None and scratch.get("medium") != "Memory")


def _container_reason(status: Json) -> str:
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        waits = state.get("waiting") or state.get("terminated") or {}
        if waits.get("reason"):
            return str(waits["reason"])
    return ""


def node_fact(obj: Json) -> NodeFact:
    """Derive a node's fact. A cordoned node may be Ready: ``unschedulable`` tells (CASES A14)."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return NodeFact(
        **_identity(obj),
        labels=dict(obj["metadata"].get("labels") or {}),
        ready=holds(condition(obj, "Ready")) is True,
        unschedulable=bool(spec.get("unschedulable")),
        taints=sorted(taint_text(taint) for taint in spec.get("taints") or ()),
        allocatable=dict(status.get("allocatable") or {}),
        kept=str(_annotations(obj).get(KEPT, "")) == "true",
    )


def taint_text(taint: Json) -> str:
    """Return a taint as ``key=value:effect``."""
    return f"{taint['key']}={taint.get('value') or ''}:{taint['effect']}"


def workload_fact(obj: Json) -> WorkloadFact:
    """Derive the fact of a Deployment or StatefulSet; absent counters are 0, as the API means them (CASES A13)."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return WorkloadFact(
        **_identity(obj),
        workload_kind=obj.get("kind") or "Deployment",
        generation=int(obj["metadata"].get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        spec_replicas=spec.get("replicas"),
        replicas=int(status.get("replicas") or 0),
        ready_replicas=int(status.get("readyReplicas") or 0),
        available_replicas=int(status.get("availableReplicas") or 0),
        updated_replicas=int(status.get("updatedReplicas") or 0),
        selector=match_labels(spec.get("selector")),
    )


def hpa_fact(obj: Json) -> HpaFact:
    """Derive an HPA's fact; before its controller has spoken, current and desired are None (CASES B05)."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    spoken = bool(status.get("conditions"))
    active = condition(obj, "ScalingActive")
    return HpaFact(
        **_identity(obj),
        target=_target_text(spec.get("scaleTargetRef") or {}),
        min_replicas=int(spec["minReplicas"] if spec.get("minReplicas") is not None else 1),
        max_replicas=int(spec.get("maxReplicas") or 1),
        current_replicas=status.get("currentReplicas") if spoken else None,
        desired_replicas=status.get("desiredReplicas") if spoken else None,
        cpu_target_percent=_cpu_percent(spec.get("metrics"), "target"),
        cpu_current_percent=_cpu_percent(status.get("currentMetrics"), "current"),
        metric_current=_metric_values(status.get("currentMetrics")),
        able=holds(condition(obj, "AbleToScale")),
        active=holds(active),
        active_reason=str(active.get("reason", "")),
        limited=holds(condition(obj, "ScalingLimited")),
        up_stabilisation_s=_behavior(spec, "scaleUp", "stabilizationWindowSeconds", 0.0),
        down_stabilisation_s=_behavior(spec, "scaleDown", "stabilizationWindowSeconds", 300.0),
        up_tolerance_ratio=_behavior(spec, "scaleUp", "tolerance", 0.1),
    )


def _behavior(spec: Json, direction: str, key: str, default: float) -> float:
    """Return what ``spec.behavior`` says, else Kubernetes' default."""
    value = ((spec.get("behavior") or {}).get(direction) or {}).get(key)
    return default if value is None else quantity(str(value))


def _cpu_percent(metrics: list[Json] | None, side: str) -> int | None:
    for metric in metrics or ():
        resource = metric.get("resource") or metric.get("containerResource") or {}
        if resource.get("name") == "cpu":
            percent = (resource.get(side) or {}).get("averageUtilization")
            return None if percent is None else int(percent)
    return None


def _metric_values(metrics: list[Json] | None) -> dict[str, float]:
    """Return current values of external, pods and object metrics by name (KEDA's HPAs have external ones)."""
    found: dict[str, float] = {}
    for metric in metrics or ():
        body = metric.get("external") or metric.get("pods") or metric.get("object") or {}
        current = body.get("current") or {}
        value = current.get("value") if current.get("value") is not None else current.get("averageValue")
        if value is not None:
            found[str((body.get("metric") or {}).get("name", ""))] = quantity(value)
    return found


def scaled_object_fact(obj: Json) -> ScaledObjectFact:
    """Derive a ScaledObject's fact; defaults as in KEDA's API (min 0, max 100, poll 30 s, cool-down 300 s)."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = condition(obj, "Ready")
    return ScaledObjectFact(
        **_identity(obj),
        target=_target_text(spec.get("scaleTargetRef") or {}),
        hpa_name=status.get("hpaName") or "",
        min_replicas=int(spec.get("minReplicaCount") or 0),
        max_replicas=int(spec["maxReplicaCount"] if spec.get("maxReplicaCount") is not None else 100),
        polling_interval_s=float(spec.get("pollingInterval") or 30),
        cooldown_s=float(spec["cooldownPeriod"] if spec.get("cooldownPeriod") is not None else 300),
        ready=holds(ready),
        active=holds(condition(obj, "Active")),
        fallback=holds(condition(obj, "Fallback")),
        paused=_paused(obj),
        ready_reason=str(ready.get("reason", "")),
    )


def _paused(obj: Json) -> bool:
    annotations = _annotations(obj)
    flag, replicas = PAUSED_ANNOTATIONS
    asked = str(annotations.get(flag, "")).lower() == "true" or replicas in annotations
    return asked or holds(condition(obj, "Paused")) is True


def pdb_fact(obj: Json) -> PdbFact:
    """Derive a budget's fact; before its controller has looked, its counters are None (they are written as 0)."""
    spec, status, meta = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
    observed = int(status.get("observedGeneration") or 0)
    known = status if observed else {}
    return PdbFact(
        **_identity(obj),
        generation=int(meta.get("generation") or 0),
        observed_generation=observed,
        min_available=_as_written(spec.get("minAvailable")),
        max_unavailable=_as_written(spec.get("maxUnavailable")),
        selector=match_labels(spec.get("selector")),
        current_healthy=known.get("currentHealthy"),
        desired_healthy=known.get("desiredHealthy"),
        expected_pods=known.get("expectedPods"),
        disruptions_allowed=known.get("disruptionsAllowed"),
        computed=_computed(obj, observed) if observed else None,
    )


def job_fact(obj: Json) -> JobFact:
    """Derive a Job's fact; absent counters are 0, as the API means them, an absent condition is not yet said."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    failed = condition(obj, "Failed")
    return JobFact(
        **_identity(obj),
        labels=dict(meta.get("labels") or {}),
        completions=spec.get("completions"),
        parallelism=int(spec["parallelism"] if spec.get("parallelism") is not None else 1),
        active=int(status.get("active") or 0),
        succeeded=int(status.get("succeeded") or 0),
        failed=int(status.get("failed") or 0),
        created_unix_s=unix_s(meta.get("creationTimestamp")),
        completed_unix_s=unix_s(status.get("completionTime")),
        complete=holds(condition(obj, "Complete")),
        failed_for_good=holds(failed),
        suspended=bool(spec.get("suspend")),
        reason=str(failed.get("reason", "")),
    )


def _computed(obj: Json, observed: int) -> bool:
    allowed = condition(obj, "DisruptionAllowed")
    return observed >= int(obj["metadata"].get("generation") or 0) and allowed.get("reason") != "SyncFailed"


def _as_written(value: int | str | None) -> str | None:
    return None if value is None else str(value)


def _target_text(reference: Json) -> str:
    return f"{reference.get('kind') or 'Deployment'}/{reference.get('name', '')}"


def _identity(obj: Json) -> dict[str, Any]:
    meta = obj["metadata"]
    return {
        "uid": meta.get("uid") or "",
        "namespace": meta.get("namespace") or "",
        "name": meta["name"],
        "resource_version": meta.get("resourceVersion") or "",
    }


PARSERS: Mapping[str, Callable[[Json], Fact]] = {
    "Pod": pod_fact,
    "Node": node_fact,
    "Deployment": workload_fact,
    "StatefulSet": workload_fact,
    "HorizontalPodAutoscaler": hpa_fact,
    "ScaledObject": scaled_object_fact,
    "PodDisruptionBudget": pdb_fact,
    "Job": job_fact,
}
"""Every kind that becomes a fact."""
