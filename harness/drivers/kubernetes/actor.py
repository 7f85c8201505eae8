"""`ClusterActor` on a real API server: what faults may do. Each write of what exists carries a uid precondition.

One request a call, no retry: how often a blocked eviction is asked again is the fault's decision (CASES B14).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.drivers.kubernetes.commands import run_named
from harness.drivers.kubernetes.connection import FIELD_MANAGER, JSON_PATCH, Call, Connection
from harness.drivers.kubernetes.facts import pdb_fact, pod_fact
from harness.drivers.kubernetes.failures import SYSTEM, ApiError
from harness.drivers.kubernetes.resources import (
    NOT_FOUND,
    PDBS,
    PODS,
    Resource,
    find_resource,
    list_all,
    read,
    selector_text,
)
from harness.model.errors import ChangedMeanwhileError, PortError
from harness.model.facts import PdbFact, PodFact
from harness.model.fault import ObjectRef, Permission
from harness.model.pointer import Operation, set_operations
from harness.model.restoration import preconditions
from harness.ports import EvictionResult

CONFLICT, UNPROCESSABLE = 409, 422
TOO_MANY = 429
SERVER_ERROR = 500
EVICTION_LIMIT_S = 20.0
"""The API server itself tries a conflict (a uid that is not the pod's) 20 times, 0.5 s apart, before it answers 409."""

BUDGET_CAUSE = "DisruptionBudget"
OVERLAP_TEXT = "more than one PodDisruptionBudget"


class KubernetesActor:
    """Reads objects, patches, creates and deletes them; lists, deletes and evicts pods."""

    def __init__(
        self,
        connection: Connection,
        commands: Mapping[str, tuple[str, ...]] | None = None,
        manager: str = FIELD_MANAGER,
    ) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster.
            commands: The target's ``commands``.
            manager: Field manager of every write (`connection.manager_of`).
        """
        self._connection, self._commands = connection, dict(commands or {})
        self._as = {"fieldManager": manager}
        self._resources: dict[tuple[str, str], Resource] = {}

    def pods(self, namespace: str, selector: Mapping[str, str]) -> Sequence[PodFact]:
        """List pods by labels, now."""
        items, _ = list_all(self._connection, PODS, namespace, {"labelSelector": selector_text(selector)})
        return [pod_fact(item) for item in items]

    def pod(self, namespace: str, name: str) -> PodFact | None:
        """Read one pod, or None where it is gone."""
        found = read(self._connection, PODS, namespace, name)
        return None if found is None else pod_fact(found)

    def pdbs(self, namespace: str) -> Sequence[PdbFact]:
        """List disruption budgets, now."""
        return [pdb_fact(item) for item in list_all(self._connection, PDBS, namespace)[0]]

    def delete_pod(self, pod: PodFact, grace_s: int | None) -> bool:
        """Delete a pod by uid; None keeps its own grace. Returns False where it was gone already.

        Raises:
            PortError: The API server refused.
        """
        options: dict[str, object] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        path = PODS.path(pod.namespace, pod.name)
        try:
            self._connection.send(Call(f"delete pod {pod.subject}", "DELETE", path, body=options))
        except ApiError as error:
            if self._gone(error, pod):
                return False
            raise
        return True

    def evict_pod(self, pod: PodFact, dry_run: bool = False) -> EvictionResult:
        """Ask the eviction subresource, once.

        Raises:
            PortError: No answer; an answer, whatever it says, is a result.
        """
        path = PODS.path(pod.namespace, pod.name, "eviction")
        try:
            self._connection.send(
                Call(f"evict pod {pod.subject}", "POST", path, body=_eviction(pod, dry_run), timeout_s=EVICTION_LIMIT_S)
            )
        except ApiError as error:
            status = "gone" if self._gone(error, pod) else eviction_status(error)
            return EvictionResult(status, error.problem, error.retry_after_s if status == "throttled" else 0.0)
        return EvictionResult("accepted")

    def terminate_pods(self, namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        """Kill pods abruptly by name; returns the names that were accepted."""
        found = [self.pod(namespace, name) for name in names]
        return [pod.name for pod in found if pod is not None and self.delete_pod(pod, grace_s)]

    def serves(self, api_version: str, kind: str) -> bool:
        """Tell whether the cluster serves a kind."""
        return find_resource(self._connection, api_version, kind) is not None

    def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """Read one object, or None where there is none."""
        return read(self._connection, self._resource(ref.api_version, ref.kind), ref.namespace, ref.name)

    def find(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        """List objects, now."""
        query = {"labelSelector": selector, "fieldSelector": field_selector}
        resource = self._resource(api_version, kind)
        items, _ = list_all(self._connection, resource, namespace, {k: v for k, v in query.items() if v})
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]  # lists leave both out

    def patch(
        self, ref: ObjectRef, seen: Mapping[str, Any], values: Mapping[str, Any], subresource: str = ""
    ) -> Mapping[str, Any]:
        """Set values by pointer on exactly the state that was seen.

        Raises:
            ChangedMeanwhileError: It is no longer in that state.
            PortError: The API server refused, or did not answer: whether it was written is then unknown.
        """
        operations: list[Operation] = []
        for pointer, value in values.items():
            operations += set_operations(seen, operations, pointer, value)
        path = self._resource(ref.api_version, ref.kind).path(ref.namespace, ref.name, subresource)
        body = [*preconditions(seen), *operations]
        call = Call(f"patch {ref}", "PATCH", path, self._as, body, JSON_PATCH)
        try:
            return self._connection.send(call)
        except ApiError as error:
            if error.status not in {CONFLICT, UNPROCESSABLE, NOT_FOUND} or self._same(ref, seen):
                raise
            raise ChangedMeanwhileError(SYSTEM, call.operation, error.problem, "read it again") from error

    def _same(self, ref: ObjectRef, seen: Mapping[str, Any]) -> bool:
        """Tell whether an object is still in the state that was seen, so that a refusal must have another reason."""
        present = self.get(ref)
        return present is not None and all(
            present["metadata"][key] == seen["metadata"][key] for key in ("uid", "resourceVersion")
        )

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create an object and return it.

        Raises:
            PortError: The API server refused.
        """
        resource, meta = self._resource(manifest["apiVersion"], manifest["kind"]), manifest["metadata"]
        what = f"create {manifest['kind']} {meta.get('name') or meta.get('generateName')}"
        path = resource.path(meta.get("namespace", ""))
        return self._connection.send(Call(what, "POST", path, self._as, dict(manifest)))

    def delete(self, ref: ObjectRef, uid: str, grace_s: int | None = None) -> bool:
        """Delete an object by uid. Returns False where it was gone already.

        Raises:
            PortError: The API server refused.
        """
        options: dict[str, object] = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        path = self._resource(ref.api_version, ref.kind).path(ref.namespace, ref.name)
        try:
            self._connection.send(Call(f"delete {ref}", "DELETE", path, body=options))
        except ApiError as error:
            if error.status not in {NOT_FOUND, CONFLICT}:
                raise
            present = self.get(ref)
            if present is not None and present["metadata"]["uid"] == uid:
                raise
            return False
        return True

    def run_command(self, name: str, node: str) -> str:
        """Run a command of the target's settings for a node and return what was run.

        Raises:
            PortError: There is none, or it failed.
        """
        return run_named(self._commands, name, node)

    def _resource(self, api_version: str, kind: str) -> Resource:
        key = (api_version, kind)
        if key not in self._resources:
            found = find_resource(self._connection, api_version, kind)
            if found is None:
                problem = f"the cluster serves no {kind} of {api_version}"
                raise PortError(SYSTEM, f"find {kind}", problem, "is its CRD installed?")
            self._resources[key] = found
        return self._resources[key]

    def _gone(self, error: ApiError, pod: PodFact) -> bool:
        """Tell whether a refusal means that the pod of this uid is no more (404, or another pod has its name)."""
        if error.status == NOT_FOUND:
            return True
        if error.status != CONFLICT:
            return False
        present = self.pod(pod.namespace, pod.name)
        return present is None or present.uid != pod.uid


def _eviction(pod: PodFact, dry_run: bool) -> dict[str, object]:
    options: dict[str, object] = {"preconditions": {"uid": pod.uid}}
    if dry_run:
        options["dryRun"] = ["All"]
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": options,
    }


def eviction_status(error: ApiError) -> str:
    """Map a refused eviction to a status of `EvictionResult`.

    429 comes from a budget (its cause says ``DisruptionBudget``) or from the API server's own flow control, and only
    the first is an answer about the platform; 500 is two budgets on one pod (Kubernetes, "API-initiated eviction").

    Raises:
        PortError: A server error that is no answer to the eviction.
    """
    if error.status == TOO_MANY:
        return "blocked" if any(reason == BUDGET_CAUSE for reason, _ in error.causes) else "throttled"
    if error.status >= SERVER_ERROR:
        if OVERLAP_TEXT in error.problem:
            return "overlap"
        raise PortError(error.system, error.operation, error.problem, error.remedy) from error
    return "refused"


def actor_permissions(namespaces: Sequence[str]) -> tuple[Permission, ...]:
    """Return what the actor needs to be allowed at most."""
    wanted = (("get", "pods", "", ""), ("list", "pods", "", ""), ("delete", "pods", "", ""),
              ("create", "pods", "", "eviction"), ("list", PDBS.plural, PDBS.group, ""))  # fmt: skip
    return tuple(Permission(v, r, g, s, namespace) for namespace in namespaces for v, r, g, s in wanted)
