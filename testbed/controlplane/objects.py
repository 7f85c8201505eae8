"""Objects that `up` puts into a fresh cluster: rights of the programs, the harness's own namespace, APIs, addresses.

Pure: a layout in, manifests out. The platform's own manifests are in testbed/manifests.
"""

import base64
from pathlib import Path
from typing import Any

from testbed.layout import SYSTEM_NAMESPACE, Layout

Manifest = dict[str, Any]

OPT_IN = {"gameday.local/opt-in": "true"}
"""Label without which the harness refuses a namespace."""
PLATFORM_NAMESPACES = ("agents", "platform-infra")
ALERTING_PROGRAMS = ("alertmanager", "kube-state-metrics")
DRILL_WEBHOOK_PATH = "/hooks/alertmanager"
"""Where a drill's server takes what Alertmanager sends (harness/drill)."""

_READ = ["get", "list", "watch"]
_MESH = "chaos-mesh.org litmuschaos.io"


def _rule(groups: str, resources: str, verbs: list[str]) -> Manifest:
    """Return a rule; `core` is the API group without a name."""
    names = ["" if group == "core" else group for group in groups.split()]
    return {"apiGroups": names, "resources": resources.split(), "verbs": verbs}


RUNNER_RULES = [
    _rule("core", "nodes pods services events namespaces configmaps resourcequotas limitranges", _READ),
    _rule("core", "pods/log", ["get"]),
    _rule("events.k8s.io", "events", _READ),
    _rule("apps", "deployments replicasets statefulsets daemonsets", _READ),
    _rule("batch", "jobs cronjobs", _READ),
    _rule("autoscaling", "horizontalpodautoscalers", _READ),
    _rule("policy", "poddisruptionbudgets", _READ),
    _rule("keda.sh", "scaledobjects scaledjobs", _READ),
    _rule("discovery.k8s.io", "endpointslices", _READ),
    _rule("networking.k8s.io", "networkpolicies", _READ),
    _rule("scheduling.k8s.io", "priorityclasses", _READ),
    _rule("metrics.k8s.io external.metrics.k8s.io", "*", _READ),
    _rule("apiregistration.k8s.io", "apiservices", _READ),
    _rule("rbac.authorization.k8s.io", "roles rolebindings clusterroles clusterrolebindings", _READ),
    _rule("apiextensions.k8s.io", "customresourcedefinitions", _READ),
    _rule("coordination.k8s.io", "leases", _READ),
    _rule("flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations", _READ),
    _rule(_MESH, "*", _READ),
    # What the faults do. Each fault's own needs are checked before a run (access review).
    _rule("core", "pods/eviction", ["create"]),
    _rule("core", "pods", ["create", "patch", "delete"]),
    _rule("core", "nodes nodes/status", ["get", "patch"]),
    _rule("core", "configmaps", ["create", "patch", "delete"]),
    _rule("apps", "deployments statefulsets", ["patch"]),
    _rule("apps", "deployments/scale statefulsets/scale", ["get", "patch"]),
    _rule("batch", "jobs", ["create", "delete"]),
    _rule("autoscaling", "horizontalpodautoscalers", ["patch"]),
    _rule("networking.k8s.io", "networkpolicies", ["patch"]),
    _rule("apiregistration.k8s.io", "apiservices", ["patch"]),
    _rule("flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations", ["create", "delete"]),
    _rule(_MESH, "*", ["create", "patch", "delete"]),
    _rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ["create"]),
    _rule("authentication.k8s.io", "selfsubjectreviews", ["create"]),
]
RUNNER_SYSTEM_RULES = [
    _rule("coordination.k8s.io", "leases", ["*"]),
    _rule("core", "configmaps", ["*"]),
]
REAPER_RULES = [
    _rule("core", "nodes pods configmaps namespaces", ["get", "list"]),
    _rule("apps", "deployments statefulsets", ["get", "list"]),
    _rule("batch", "jobs", ["get", "list"]),
    _rule("autoscaling", "horizontalpodautoscalers", ["get", "list", "patch"]),
    _rule("networking.k8s.io", "networkpolicies", ["get", "list", "patch"]),
    _rule("apiregistration.k8s.io", "apiservices", ["get", "list"]),
    _rule("flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations", ["get", "list", "delete"]),
    _rule(_MESH, "*", ["get", "list", "delete"]),
    # What taking back needs, and nothing that breaks anything else.
    _rule("core", "nodes nodes/status", ["patch"]),
    _rule("core", "pods configmaps", ["patch", "delete"]),
    _rule("core", "configmaps", ["create"]),
    _rule("apps", "deployments statefulsets", ["patch"]),
    _rule("apps", "deployments", ["create", "delete"]),
    _rule("batch", "jobs", ["delete"]),
    _rule("apiregistration.k8s.io", "apiservices", ["create", "patch"]),
]
NODE_AGENT_RULES = [
    _rule("core", "nodes", [*_READ, "create", "update", "patch", "delete"]),
    _rule("core", "nodes/status", ["update", "patch"]),
    _rule("core", "pods", [*_READ, "delete"]),
    _rule("core", "pods/status", ["get", "update", "patch"]),
    _rule("core", "services configmaps secrets namespaces serviceaccounts", _READ),
    _rule("core", "serviceaccounts/token", ["create"]),
    _rule("core events.k8s.io", "events", ["create", "update", "patch"]),
    _rule("coordination.k8s.io", "leases", ["*"]),
    _rule("discovery.k8s.io", "endpointslices", _READ),
    _rule("networking.k8s.io", "networkpolicies", _READ),
    _rule("authentication.k8s.io", "tokenreviews", ["create"]),
    _rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
]
METRICS_SERVER_RULES = [
    _rule("core", "nodes/metrics", ["get"]),
    _rule("core", "pods nodes", _READ),
]


def rights() -> list[Manifest]:
    """Return namespaces with their labels, and the roles of the node agent, metrics-server, runner and reaper."""
    return [
        _namespace(SYSTEM_NAMESPACE),
        _namespace("kube-system"),
        *_cluster_role("node-agent", NODE_AGENT_RULES),
        *_cluster_role("metrics-server", METRICS_SERVER_RULES),
        *_cluster_role("gameday-runner", RUNNER_RULES),
        *_role("gameday-runner", SYSTEM_NAMESPACE, RUNNER_SYSTEM_RULES),
        *_cluster_role("gameday-reaper", REAPER_RULES),
        *_role("gameday-reaper", SYSTEM_NAMESPACE, RUNNER_SYSTEM_RULES),
        _binding("ClusterRoleBinding", "metrics-server:auth-delegator", ("ClusterRole", "system:auth-delegator")),
        # The agent answers as the API server of kubelets; a node's lease is not the harness's.
        {
            **_binding(
                "RoleBinding", "metrics-server-auth-reader", ("Role", "extension-apiserver-authentication-reader")
            ),
            "metadata": {"name": "metrics-server-auth-reader", "namespace": "kube-system"},
        },
    ]


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": OPT_IN}}


def _cluster_role(user: str, rules: list[Manifest]) -> list[Manifest]:
    name = f"testbed:{user}"
    role = {"apiVersion": _RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    return [role, _binding("ClusterRoleBinding", name, ("ClusterRole", name), user)]


def _role(user: str, namespace: str, rules: list[Manifest]) -> list[Manifest]:
    metadata = {"name": f"testbed:{user}", "namespace": namespace}
    role = {"apiVersion": _RBAC, "kind": "Role", "metadata": metadata, "rules": rules}
    binding = _binding("RoleBinding", metadata["name"], ("Role", metadata["name"]), user)
    return [role, {**binding, "metadata": metadata}]


_RBAC = "rbac.authorization.k8s.io/v1"


def _binding(kind: str, name: str, role: tuple[str, str], user: str = "metrics-server") -> Manifest:
    return {
        "apiVersion": _RBAC,
        "kind": kind,
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role[0], "name": role[1]},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def metrics_api(layout: Layout) -> list[Manifest]:
    """Return what makes the API server ask metrics-server for `metrics.k8s.io`."""
    return _served_api(layout, ("metrics-server", layout.ports.metrics_server), "metrics.k8s.io")


def external_metrics_api(layout: Layout) -> list[Manifest]:
    """Return what makes the API server ask KEDA's adapter for `external.metrics.k8s.io`."""
    return _served_api(layout, ("keda-metrics-apiserver", layout.ports.keda_adapter), "external.metrics.k8s.io")


def _served_api(layout: Layout, service: tuple[str, int], group: str) -> list[Manifest]:
    """An ExternalName Service of 127.0.0.1 is dialled as it stands; the certificate must be of NAME.NAMESPACE.svc."""
    name, port = service
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "kube-system"},
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1", "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{group}"},
            "spec": {
                "group": group,
                "version": "v1beta1",
                "service": {"name": name, "namespace": "kube-system", "port": port},
                "caBundle": base64.b64encode(layout.ca_cert.read_bytes()).decode(),
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]


def platform_addresses(layout: Layout) -> list[Manifest]:
    """Return the platform's namespaces and, in each, the ConfigMap `platform-addresses` (docs/testbed.md)."""
    data = address_data(layout)
    return [
        manifest
        for namespace in PLATFORM_NAMESPACES
        for manifest in (
            _namespace(namespace),
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "platform-addresses", "namespace": namespace},
                "data": data,
            },
        )
    ]


def address_data(layout: Layout) -> dict[str, str]:
    """Return where the platform's parts find each other on this instance: Envoy's fixed loopback listeners."""
    ports = layout.ports
    return {
        "REDIS_ADDRESS": f"127.0.0.1:{ports.redis}",
        "PLANNER_REDIS_ADDRESS": f"127.0.0.1:{ports.planner_redis}",
        "INFERENCE_URL": f"http://127.0.0.1:{ports.inference}",
        "PROMETHEUS_ADDRESS": f"127.0.0.1:{ports.prometheus}",
        "GATEWAY_BIND": "127.0.0.1",
        "GATEWAY_PORT": str(ports.gateway),
        "ENVOY_ADMIN_PORT": str(ports.envoy_admin),
        "PROMETHEUS_PORT": str(ports.prometheus),
        "REDIS_PORT": str(ports.redis),
        "INFERENCE_PORT": str(ports.inference),
        "TOOL_API_URL": f"http://127.0.0.1:{ports.tool_api}",
        "TOOL_API_PORT": str(ports.tool_api),
    }


ALERT_TIME_DIVISOR = 30
"""The alerts' times are divided by it here: five minutes become ten seconds, an hour two minutes."""


def alerting(layout: Layout, programs: Path, token: str) -> list[Manifest]:
    """Return where the parts of alerting are, and the Secret with the `token` of a drill's webhook."""
    ports, namespace = layout.ports, "platform-infra"
    address = f"127.0.0.1:{ports.alertmanager}"
    data = {
        "ALERTMANAGER_ADDRESS": address,
        "ALERTMANAGER_LISTEN": address,
        "ALERT_TIME_DIVISOR": str(ALERT_TIME_DIVISOR),
        "DRILL_WEBHOOK_URL": f"http://127.0.0.1:{ports.drill_webhook}{DRILL_WEBHOOK_PATH}",
        **{f"{name.upper().replace('-', '_')}_PROGRAM": str(programs / name) for name in ALERTING_PROGRAMS},
    }
    config, secret = "alerting-addresses", "drill-webhook"
    return [
        _namespace(namespace),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": config, "namespace": namespace}, "data": data},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": namespace},
            "stringData": {"token": token},
        },
    ]
