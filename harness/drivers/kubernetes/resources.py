"""The API's resources that the driver reads and writes, and their paths and pages. Registers; decides nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from harness.drivers.kubernetes.connection import Call, Connection, Json
from harness.drivers.kubernetes.failures import ApiError, bad_answer

PAGE_SIZE = 500
GONE = 410
NOT_FOUND = 404
LIST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object and where the API keeps it."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """``group/version``, or the version of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of the list."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        parts = [part for part in (name, subresource) if part]
        return "/".join([f"{root}{scope}/{self.plural}", *(quote(part, safe="") for part in parts)])

    def __str__(self) -> str:
        """Return the name as in RBAC, such as ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS = Resource("Pod", "pods")
NODES = Resource("Node", "nodes", namespaced=False)
NAMESPACES = Resource("Namespace", "namespaces", namespaced=False)
EVENTS = Resource("Event", "events")
CONFIG_MAPS = Resource("ConfigMap", "configmaps")
RESOURCE_QUOTAS = Resource("ResourceQuota", "resourcequotas")
DEPLOYMENTS = Resource("Deployment", "deployments", "apps")
REPLICA_SETS = Resource("ReplicaSet", "replicasets", "apps")
STATEFUL_SETS = Resource("StatefulSet", "statefulsets", "apps")
HPAS = Resource("HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2")
JOBS = Resource("Job", "jobs", "batch")
PDBS = Resource("PodDisruptionBudget", "poddisruptionbudgets", "policy")
NETWORK_POLICIES = Resource("NetworkPolicy", "networkpolicies", "networking.k8s.io")
SCALED_OBJECTS = Resource("ScaledObject", "scaledobjects", "keda.sh", "v1alpha1")
API_SERVICES = Resource("APIService", "apiservices", "apiregistration.k8s.io", namespaced=False)
FLOW_SCHEMAS = Resource("FlowSchema", "flowschemas", "flowcontrol.apiserver.k8s.io", namespaced=False)
PRIORITY_LEVELS = Resource(
    "PriorityLevelConfiguration", "prioritylevelconfigurations", "flowcontrol.apiserver.k8s.io", namespaced=False
)
LEASES = Resource("Lease", "leases", "coordination.k8s.io")
POD_METRICS = Resource("PodMetrics", "pods", "metrics.k8s.io", "v1beta1")


def served(connection: Connection, resource: Resource) -> bool:
    """Tell whether the API server serves a resource (its CRD may not be installed)."""
    return find_resource(connection, resource.api_version, resource.kind) is not None


def find_resource(connection: Connection, api_version: str, kind: str) -> Resource | None:
    """Find a kind by the API's own discovery, or None where it is not served."""
    group, _, version = api_version.rpartition("/")
    path = f"/apis/{api_version}" if group else f"/api/{api_version}"
    try:
        found = connection.get(f"discover {api_version}", path)
    except ApiError as error:
        if error.status == NOT_FOUND:
            return None
        raise
    for entry in found.get("resources") or ():
        if entry["kind"] == kind and "/" not in entry["name"]:
            return Resource(kind, entry["name"], group, version, bool(entry["namespaced"]))
    return None


def list_all(
    connection: Connection, resource: Resource, namespace: str = "", query: Mapping[str, str] | None = None
) -> tuple[list[Json], str]:
    """List every object, page by page; a page whose token expired restarts the list (CASES B13).

    Returns:
        The objects, and the list's resourceVersion (from which a watch goes on).

    Raises:
        PortError: No answer, or one without items (CASES B06): never read as an empty list.
    """
    operation = f"list {resource}" + (f" in {namespace}" if namespace else "")
    for attempt in range(1, LIST_ATTEMPTS + 1):
        try:
            return _pages(connection, operation, resource.path(namespace), dict(query or {}))
        except ApiError as error:
            if error.status != GONE or attempt == LIST_ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _pages(connection: Connection, operation: str, path: str, query: dict[str, str]) -> tuple[list[Json], str]:
    items: list[Json] = []
    token = ""
    while True:
        page = connection.get(operation, path, {**query, "limit": PAGE_SIZE, **({"continue": token} if token else {})})
        metadata, found = page.get("metadata"), page.get("items")
        if not isinstance(found, list) or not isinstance(metadata, dict):
            raise bad_answer(operation, "a list without items")
        items += found
        token = metadata.get("continue") or ""
        if not token:
            return items, str(metadata.get("resourceVersion", ""))


def read(connection: Connection, resource: Resource, namespace: str, name: str) -> Json | None:
    """Read one object, or None where there is none."""
    where = f"{namespace}/{name}" if namespace else name
    try:
        return connection.get(f"read {resource} {where}", resource.path(namespace, name))
    except ApiError as error:
        if error.status == NOT_FOUND:
            return None
        raise


def read_dated(connection: Connection, call: Call) -> tuple[Json | None, float]:
    """Read one object, or None where there is none, with the server's clock; ours where it named none."""
    try:
        found, server_unix_s = connection.send_dated(call)
    except ApiError as error:
        if error.status == NOT_FOUND:
            return None, time.time()
        raise
    return found, time.time() if server_unix_s is None else server_unix_s


def selector_text(labels: Mapping[str, str]) -> str:
    """Return labels as a labelSelector."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
