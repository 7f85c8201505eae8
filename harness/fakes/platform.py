"""The sample platform of the twin: its workloads, what their pods ask for, and its plain objects. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.fakes.nodes import GPU, POOL
from harness.fakes.objects import METRICS_API, METRICS_SERVICE, ObjectStore
from harness.fakes.scheduling import PRIORITIES
from harness.fakes.workloads import IMAGE, READY_PATH, SimPod
from harness.model.fault import ObjectRef
from harness.model.selector import selects

AGENTS, INFRA = "agents", "platform-infra"
Json = Mapping[str, Any]


def _pod(name: str, priority: str, pool: str = "", gpu: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": IMAGE}
    if gpu:
        container["resources"] = {"requests": {gpu: "1"}, "limits": {gpu: "1"}}
    spec: dict[str, Any] = {"containers": [container], "priorityClassName": priority}
    if pool:
        spec["tolerations"] = [{"key": pool, "operator": "Equal", "value": "true", "effect": "NoSchedule"}]
    if pool and not gpu:
        spec["nodeSelector"] = {POOL: pool}
    return spec


QUEUE_VARIABLE = "REDIS_ADDRESS"
"""Where a planner finds its queue; one whose value is written into its template finds none."""


def _planner() -> dict[str, Any]:
    """Return the planner's spec, with what a rollout can break."""
    spec = _pod("planner", "platform-critical")
    spec["containers"][0] |= {
        "command": ["python", "-m", "testbed.platform.planner"],
        "env": [{"name": QUEUE_VARIABLE, "valueFrom": {"configMapKeyRef": {"name": "platform-addresses"}}}],
        "readinessProbe": {"httpGet": {"path": READY_PATH, "port": "http"}},
    }
    return spec


INFERENCE = (AGENTS, "inference")


def _inference(gpu: str) -> dict[str, Any]:
    return _pod("inference", "platform-critical", "gpu", gpu)


POD_SPECS: Mapping[tuple[str, str], Json] = {
    (AGENTS, "planner"): _planner(),
    (AGENTS, "tool-adapter"): _pod("tool-adapter", "platform-standard"),
    (AGENTS, "tool-api"): _pod("tool-api", "platform-standard"),
    INFERENCE: _inference(GPU),
    **{
        (INFRA, name): _pod(name, "platform-critical", "infra")
        for name in ("redis", "envoy", "prometheus", "queue-exporter")
    },
}
"""Pod specs by namespace and name of the Deployment."""


def pod_spec(namespace: str, name: str, gpu: str) -> Json:
    """Return the pod spec of a Deployment, empty for one that the platform does not have; its GPUs by their name."""
    if (namespace, name) == INFERENCE:
        return _inference(gpu)
    return POD_SPECS.get((namespace, name), {})


REPLICAS: Mapping[tuple[str, str], int] = {
    (AGENTS, "inference"): 2,
    (AGENTS, "tool-api"): 1,
    **dict.fromkeys(((INFRA, name) for name in ("redis", "envoy", "prometheus", "queue-exporter")), 1),
}
"""What is there whatever an experiment names."""

_EVALUATION: Json = {
    "metadata": {"labels": {"app": "evaluation"}},
    "spec": {
        "template": {
            "metadata": {"labels": {"app": "evaluation"}},
            "spec": {**_pod("evaluation", "platform-batch", "spot"), "restartPolicy": "Never"},
        },
    },
}

GATEWAY_FAULTS: Json = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"namespace": INFRA, "name": "gateway-faults"},
    "data": {
        f"gameday.{manager}.{key}": value
        for manager, status in (("gateway", "503"), ("inference", "503"), ("tool_api", "429"))
        for key, value in (
            ("delay_percent", "0"), ("delay_ms", "0"), ("abort_percent", "0"), ("abort_status", status)
        )
    },
}  # fmt: skip
"""What the gateway's fault filters do: nothing."""

_POLICY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
QUEUE_POLICY = "redis-and-dns"
"""Name of the NetworkPolicy that lets those who need it reach the queue."""

_CLIENTS = {"key": "app", "operator": "In", "values": ["planner", "tool-adapter", "evaluation"]}
_POLICIES: tuple[Json, ...] = (
    {
        **_POLICY,
        "metadata": {"namespace": AGENTS, "name": "default-deny"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    },
    {
        **_POLICY,
        "metadata": {"namespace": AGENTS, "name": QUEUE_POLICY},
        "spec": {"podSelector": {"matchExpressions": [_CLIENTS]}, "policyTypes": ["Egress"], "egress": [{}]},
    },
)

OBJECTS: tuple[Json, ...] = (
    GATEWAY_FAULTS,
    *_POLICIES,
    {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"namespace": AGENTS, "name": "evaluation", "labels": {"app": "evaluation"}},
        "spec": {"suspend": True, "schedule": "30 2 * * *", "jobTemplate": _EVALUATION},
    },
    {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": METRICS_API},
        "spec": {"service": {"namespace": "kube-system", "name": METRICS_SERVICE}},
    },
    *(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
        }
        for name, value in PRIORITIES.items()
    ),
)
"""Objects that the simulation does not keep by itself."""


def reaches_queue(pod: SimPod, store: ObjectStore) -> bool:
    """Tell whether a pod finds the queue and is let through to it: a policy that does not list it lets nothing out."""
    for variable in pod.spec["containers"][0].get("env") or ():
        if variable["name"] == QUEUE_VARIABLE and "value" in variable:
            return False
    policy = store.get(ObjectRef(_POLICY["apiVersion"], _POLICY["kind"], QUEUE_POLICY, AGENTS))
    return policy is None or selects(policy["spec"]["podSelector"], pod.fact.labels)
