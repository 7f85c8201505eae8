"""`ClusterActor` on a real API server: what faults may do to pods. Each write carries a uid precondition.

One request a call, no retry: how often a blocked eviction is asked again is the fault's decision (CASES B14).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.drivers.kubernetes.connection import Call, Connection
from harness.drivers.kubernetes.facts import pdb_fact, pod_fact
from harness.drivers.kubernetes.failures import ApiError
from harness.drivers.kubernetes.resources import NOT_FOUND, PDBS, PODS, list_all, read, selector_text
from harness.model.errors import PortError
from harness.model.facts import PdbFact, PodFact
from harness.model.fault import Permission
from harness.ports import EvictionResult

CONFLICT = 409
TOO_MANY = 429
SERVER_ERROR = 500
EVICTION_LIMIT_S = 20.0
"""The API server itself tries a conflict (a uid that is not the pod's) 20 times, 0.5 s apart, before it answers 409."""

BUDGET_CAUSE = "DisruptionBudget"
OVERLAP_TEXT = "more than one PodDisruptionBudget"


class KubernetesActor:
    """Lists, deletes and evicts pods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
            return EvictionResult(status, error.problem)
        return EvictionResult("accepted")

    def terminate_pods(self, namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        """Kill pods abruptly by name; returns the names that were accepted."""
        found = [self.pod(namespace, name) for name in names]
        return [pod.name for pod in found if pod is not None and self.delete_pod(pod, grace_s)]

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
