"""What faults can touch in the simulated cluster, as the real fingerprint tells it. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.fakes.cluster import SimulatedCluster
from harness.fakes.nodes import UNREACHABLE, SimNode
from harness.fakes.objects import ObjectStore
from harness.model.experiment import Scope
from harness.model.facts import HpaFact, ScaledObjectFact
from harness.model.fault import RUN_LABEL
from harness.model.restoration import SWITCH_CONFIG_MAP, TRACE_ANNOTATION

_OURS = ("gameday.local/", "testbed.gameday.local/")
_HELPERS = (("v1", "Pod"), ("batch/v1", "Job"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"))


def fingerprint_of(cluster: SimulatedCluster, store: ObjectStore, scope: Scope, system: str) -> dict[str, Any]:
    """Return nodes, Deployments (replicas where no autoscaler owns them), budgets, API services and helper objects.

    Args:
        cluster: The cluster.
        store: Its objects.
        scope: Which namespaces.
        system: The namespace of helper objects.
    """
    found: dict[str, Any] = {f"Node/{node.name}": _node(node) for node in cluster.nodes.values()}
    found |= dict(_deployments(cluster, scope))
    for pdb in cluster.pdbs:
        name = f"PodDisruptionBudget/{pdb.namespace}/{pdb.name}"
        found[name] = {"minAvailable": pdb.min_available, "selector": pdb.selector}
    for service in store.find("apiregistration.k8s.io/v1", "APIService"):
        found[f"APIService/{service['metadata']['name']}"] = {
            "spec": service["spec"],
            **_annotated(service["metadata"]),
        }
    found |= dict(_scalers(cluster, scope))
    for namespace in dict.fromkeys((*scope.namespaces, system)):
        found |= dict(_policies(store, namespace))
        found |= dict(_helpers(store, namespace))
        found |= dict(_switch(store, namespace))
    return dict(sorted(found.items()))


def _node(node: SimNode) -> dict[str, Any]:
    meta, spec, status = node.obj["metadata"], node.obj["spec"], node.obj["status"]
    taints = [f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in spec.get("taints") or ()]
    return {
        "unschedulable": bool(spec.get("unschedulable")),
        "taints": sorted(taint for taint in taints if not taint.startswith(UNREACHABLE)),
        "labels": dict(meta["labels"]),
        "capacity": dict(status["capacity"]),
        "allocatable": dict(status["allocatable"]),
        **_annotated(meta),
    }


def _annotated(meta: Mapping[str, Any]) -> dict[str, Any]:
    ours = {k: v for k, v in (meta.get("annotations") or {}).items() if k.startswith(_OURS) and k != TRACE_ANNOTATION}
    return {"annotations": ours}


def _deployments(cluster: SimulatedCluster, scope: Scope) -> Iterator[tuple[str, Any]]:
    scalers = [*cluster.present("hpa"), *cluster.present("scaledobject")]
    scaled = {(f.namespace, f.target) for f in scalers if isinstance(f, HpaFact | ScaledObjectFact)}
    for workload in cluster.workloads:
        if workload.namespace in scope.namespaces:
            own = (workload.namespace, f"Deployment/{workload.name}") not in scaled
            template = workload.pod_spec()
            shown = {
                "selector": workload.selector,
                "template": template,
                **_annotated({"annotations": workload.annotations}),
            }
            yield (
                f"Deployment/{workload.namespace}/{workload.name}",
                shown | ({"replicas": workload.replicas} if own else {}),
            )


def _scalers(cluster: SimulatedCluster, scope: Scope) -> Iterator[tuple[str, Any]]:
    for fact in cluster.present("hpa"):
        bounds = cluster.scalers.get(fact.uid)
        if bounds is not None and fact.namespace in scope.namespaces:
            shown = {"maxReplicas": bounds.maximum, **_annotated({"annotations": bounds.annotations})}
            yield f"HorizontalPodAutoscaler/{fact.namespace}/{fact.name}", shown


def _policies(store: ObjectStore, namespace: str) -> Iterator[tuple[str, Any]]:
    for obj in store.find("networking.k8s.io/v1", "NetworkPolicy", namespace):
        shown = {"spec": obj["spec"], **_annotated(obj["metadata"])}
        yield f"NetworkPolicy/{namespace}/{obj['metadata']['name']}", shown


def _helpers(store: ObjectStore, namespace: str) -> Iterator[tuple[str, Any]]:
    for api_version, kind in _HELPERS:
        for obj in store.find(api_version, kind, namespace):
            labels = obj["metadata"].get("labels") or {}
            if RUN_LABEL in labels:
                yield f"helper:{kind}/{namespace}/{obj['metadata']['name']}", {RUN_LABEL: labels[RUN_LABEL]}


def _switch(store: ObjectStore, namespace: str) -> Iterator[tuple[str, Any]]:
    for obj in store.find("v1", "ConfigMap", namespace, field_selector=f"metadata.name={SWITCH_CONFIG_MAP}"):
        yield f"ConfigMap/{namespace}/{SWITCH_CONFIG_MAP}", {"data": obj["data"], **_annotated(obj["metadata"])}
