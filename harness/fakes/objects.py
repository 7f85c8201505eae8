"""The twin's API: objects as plain JSON. What the simulation has is shown as a view of it; everything else is kept.

Every write names the uid and the resourceVersion that were seen, as the real actor's do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from harness.fakes.clock import FakeClock
from harness.fakes.cluster import SimulatedCluster
from harness.fakes.jobs import SimJob
from harness.fakes.json_patch import applied, with_values
from harness.fakes.nodes import SimNode
from harness.fakes.views import Json, deployment_json, hpa_json, job_json, node_json, pdb_json, pod_json
from harness.fakes.workloads import SimPod, SimWorkload
from harness.model.errors import ChangedMeanwhileError, PortError
from harness.model.facts import HpaFact
from harness.model.fault import ObjectRef
from harness.model.pointer import Operation, resolve
from harness.model.selector import parse_selector

SYSTEM = "twin"
METRICS_API = "v1beta1.metrics.k8s.io"
METRICS_SERVICE = "metrics-server"

SERVED = frozenset({
    ("v1", "Node"), ("v1", "Pod"), ("v1", "ConfigMap"), ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"),
    ("batch/v1", "CronJob"), ("batch/v1", "Job"), ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"), ("apiregistration.k8s.io/v1", "APIService"),
    ("scheduling.k8s.io/v1", "PriorityClass"), ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
})  # fmt: skip


class ObjectStore:
    """Every object of the simulated cluster, by reference."""

    def __init__(self, cluster: SimulatedCluster, clock: FakeClock) -> None:
        self._cluster, self._clock = cluster, clock
        self._kept: dict[tuple[str, str, str], dict[str, Any]] = {}

    # reading --------------------------------------------------------------------------------------------------------

    def get(self, ref: ObjectRef) -> Json | None:
        """Return one object, or None."""
        found = (o for o in self._every(ref.kind) if _key(o) == (ref.namespace, ref.name))
        return next((obj for obj in found if obj["apiVersion"] == ref.api_version), None)

    def find(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> list[Json]:
        """List objects by kind, namespace, labels and fields (``path=value``, joined by commas).

        Raises:
            PortError: The twin does not serve this kind.
        """
        if (api_version, kind) not in SERVED:
            raise PortError(SYSTEM, f"list {kind}", f"the twin serves no {kind} of {api_version}")
        wanted = parse_selector(selector) if selector else {}
        fields = [pair.split("=", 1) for pair in field_selector.split(",") if pair]
        return [
            obj
            for obj in self._every(kind)
            if namespace in {"", obj["metadata"].get("namespace", "")}
            and wanted.items() <= (obj["metadata"].get("labels") or {}).items()
            and all(str(resolve(obj, "/" + path.replace(".", "/")) or "") == value for path, value in fields)
        ]

    def _every(self, kind: str) -> Iterable[Json]:
        view = _VIEWS.get(kind)
        return list(view(self)) if view else [copy.deepcopy(o) for k, o in self._kept.items() if k[0] == kind]

    def _nodes(self) -> Iterator[Json]:
        return (node_json(node, self._cluster.version(node.fact().uid)) for node in self._cluster.nodes.values())

    def _pods(self) -> Iterator[Json]:
        return (pod_json(pod, self._cluster.version(pod.fact.uid)) for pod in self._cluster.pods)

    def _deployments(self) -> Iterator[Json]:
        shown = (w for w in self._cluster.workloads if w.fact is not None)
        return (deployment_json(w, self._cluster.version(w.fact.uid)) for w in shown if w.fact is not None)

    def _jobs(self) -> Iterator[Json]:
        return (job_json(job, self._cluster.version(job.uid)) for job in self._cluster.jobs)

    def _pdbs(self) -> Iterator[Json]:
        return (pdb_json(b.fact, self._cluster.version(b.fact.uid)) for b in self._cluster.pdbs if b.fact is not None)

    def _hpas(self) -> Iterator[Json]:
        facts, bounds = self._cluster.present("hpa"), self._cluster.scalers
        return (hpa_json(fact, bounds.get(fact.uid)) for fact in facts if isinstance(fact, HpaFact))

    def _api_services(self) -> Iterator[Json]:
        for key, obj in self._kept.items():
            if key[0] == "APIService":
                status = "True" if resolve(obj, "/spec/service/name") == METRICS_SERVICE else "False"
                yield {**copy.deepcopy(obj), "status": {"conditions": [{"type": "Available", "status": status}]}}

    @property
    def metrics_served(self) -> bool:
        """Tell whether the metrics API answers: it is registered, and with the service that is there."""
        obj = self._kept.get(("APIService", "", METRICS_API))
        return obj is None or resolve(obj, "/spec/service/name") == METRICS_SERVICE

    # writing --------------------------------------------------------------------------------------------------------

    def patch(self, ref: ObjectRef, seen: Json, values: Json, subresource: str = "") -> Json:
        """Set values by pointer on exactly the state that was seen.

        Raises:
            ChangedMeanwhileError: It is no longer in that state.
        """
        present = self.get(ref)
        if present is None or _state(present) != _state(seen):
            raise ChangedMeanwhileError(SYSTEM, f"patch {ref}", "it is no longer as it was seen")
        return self._write(ref, with_values(present, values), subresource)

    def apply(self, ref: ObjectRef, operations: Iterable[Operation], subresource: str = "") -> Json:
        """Carry out a JSON patch.

        Raises:
            PortError: There is no such object.
        """
        present = self.get(ref)
        if present is None:
            raise PortError(SYSTEM, f"patch {ref}", "there is no such object")
        return self._write(ref, applied(present, operations), subresource)

    def _write(self, ref: ObjectRef, new: dict[str, Any], subresource: str) -> Json:
        cluster, uid = self._cluster, new["metadata"]["uid"]
        if ref.kind == "Node":
            _write_node(cluster.nodes[ref.name], new, subresource)
            cluster.publish(cluster.nodes[ref.name].fact())
        elif ref.kind == "Pod":
            _write_meta(cluster.find(uid), new)
        elif ref.kind == "Deployment":
            self._write_deployment(ref, new)
        elif ref.kind == "HorizontalPodAutoscaler" and uid in cluster.scalers:
            cluster.scalers[uid].maximum = int(new["spec"]["maxReplicas"])
            cluster.scalers[uid].annotations = dict(new["metadata"].get("annotations") or {})
        elif (ref.kind, ref.namespace, ref.name) in self._kept:
            new["metadata"]["resourceVersion"] = cluster.next_version()
            self._kept[ref.kind, ref.namespace, ref.name] = new
            return new
        else:
            raise PortError(SYSTEM, f"patch {ref}", f"the twin changes no {ref.kind}")
        cluster.touch(uid)
        return self.get(ref) or new

    def _write_deployment(self, ref: ObjectRef, new: Json) -> None:
        workload = self._cluster.workload(ref.namespace, ref.name)
        _write_meta(workload, new)
        if workload is not None:
            workload.replicas = int(new["spec"]["replicas"])
            workload.spec = new["spec"]["template"]["spec"]
        self._cluster.step(self._clock.now_s())

    def create(self, manifest: Json) -> Json:
        """Create an object.

        Raises:
            PortError: It is there already, or the twin does not serve its kind.
        """
        meta, kind = manifest["metadata"], str(manifest["kind"])
        ref = ObjectRef(str(manifest["apiVersion"]), kind, str(meta["name"]), str(meta.get("namespace", "")))
        if (ref.api_version, kind) not in SERVED:
            raise PortError(SYSTEM, f"create {ref}", f"the twin serves no {kind} of {ref.api_version}")
        if self.get(ref) is not None:
            raise PortError(SYSTEM, f"create {ref}", "it exists already")
        if kind == "Pod":
            self._cluster.create_pod(manifest, self._clock.now_s())
        elif kind == "Job":
            self._add_job(manifest)
        else:
            self._keep(ref, manifest)
        made = self.get(ref)
        if made is None:
            raise PortError(SYSTEM, f"create {ref}", f"the twin creates no {kind}")
        return made

    def _add_job(self, manifest: Json) -> None:
        obj = copy.deepcopy(dict(manifest))
        obj["metadata"]["uid"] = self._cluster.new_uid()
        keeps = not self._cluster.switches.job_forgets
        self._cluster.jobs.append(SimJob(obj, self._clock.unix_s(), keeps))
        self._cluster.step(self._clock.now_s())

    def _keep(self, ref: ObjectRef, manifest: Json) -> None:
        obj = copy.deepcopy(dict(manifest))
        obj["metadata"] |= {"uid": self._cluster.new_uid(), "resourceVersion": self._cluster.next_version()}
        self._kept[ref.kind, ref.namespace, ref.name] = obj

    def delete(self, ref: ObjectRef, uid: str, grace_s: int | None = None) -> bool:
        """Delete an object by uid; False where it was gone already.

        Raises:
            PortError: The twin keeps objects of this kind for ever.
        """
        present, now_s = self.get(ref), self._clock.now_s()
        if present is None or present["metadata"]["uid"] != uid:
            return False
        pod = self._cluster.find(uid) if ref.kind == "Pod" else None
        if pod is not None:
            grace_s = pod.spec.get("terminationGracePeriodSeconds") if grace_s is None else grace_s
            self._cluster.kill(pod, now_s) if grace_s == 0 else self._cluster.let_go(pod, now_s)
        elif ref.kind == "Job":
            self._cluster.remove_job(uid, now_s)
        elif self._kept.pop((ref.kind, ref.namespace, ref.name), None) is None:
            raise PortError(SYSTEM, f"delete {ref}", f"the twin deletes no {ref.kind}")
        return True


_VIEWS: Mapping[str, Callable[[ObjectStore], Iterable[Json]]] = {
    "Node": ObjectStore._nodes,
    "Pod": ObjectStore._pods,
    "Deployment": ObjectStore._deployments,
    "Job": ObjectStore._jobs,
    "PodDisruptionBudget": ObjectStore._pdbs,
    "HorizontalPodAutoscaler": ObjectStore._hpas,
    "APIService": ObjectStore._api_services,
}


def _key(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _state(obj: Json) -> tuple[str, str]:
    return obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]


def _write_node(node: SimNode, new: Json, subresource: str) -> None:
    if subresource == "status":
        node.obj["status"] = new["status"]
        return
    node.obj["spec"] = new["spec"]
    for part in ("labels", "annotations"):
        node.obj["metadata"][part] = new["metadata"].get(part) or {}


def _write_meta(owner: SimPod | SimWorkload | None, new: Json) -> None:
    if owner is not None:
        owner.annotations = dict(new["metadata"].get("annotations") or {})
