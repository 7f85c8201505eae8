"""GPUs that do not exist, on the nodes of the pool `gpu`: by device plugin, by node status, or by fake-gpu-operator.

Whatever offered them, a canary pod proves that one can be had (CASES G02): a number in a node's status proves nothing.
"""

from __future__ import annotations

import json
from typing import Any

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.waiting import wait_until
from testbed.kind.programs import Kubectl, run
from testbed.kind.settings import LIMITS_S, KindSettings

RESOURCE = "nvidia.com/gpu"
NAMESPACE = "gameday-devices"
COUNT = 4
CANARY = "gpu-canary"
OPERATOR_CHART = "oci://ghcr.io/run-ai/fake-gpu-operator/fake-gpu-operator"
_OPERATOR_NAMESPACE = json.dumps({
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "gpu-operator", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
})  # fmt: skip
WAYS = ("plugin", "status", "operator", "none")

Json = dict[str, Any]


def provide(settings: KindSettings, kubectl: Kubectl, plugin: str, progress: Progress) -> str:
    """Make the GPU nodes offer devices, and prove it; returns the way that was gone.

    Raises:
        OperatorError: No way led to a canary pod that runs.
    """
    way = settings.gpu
    if way == "none":
        return way
    if way == "plugin" and not _by_plugin(kubectl, plugin, progress):
        way = "status"
    if way == "status":
        progress.say(f"GPUs by the nodes' status: {COUNT} a node")
        patch_status(kubectl, COUNT)
    if way == "operator":
        _by_operator(settings, kubectl, progress)
    prove(settings, kubectl, progress)
    return way


def _by_plugin(kubectl: Kubectl, manifests: str, progress: Progress) -> bool:
    """Start the device plugin; False where it may not run, so that the nodes' status is written instead."""
    progress.say("GPUs by device plugin")
    try:
        kubectl.apply(manifests)
        kubectl.rolled_out(NAMESPACE, "daemonset/gpu-mock", LIMITS_S["gpu"])
        _await_devices(kubectl)
    except OperatorError as error:
        progress.say(f"the device plugin does not run here: {error}")
        kubectl("delete", "daemonset", "gpu-mock", f"--namespace={NAMESPACE}", "--ignore-not-found")
        return False
    return True


def _by_operator(settings: KindSettings, kubectl: Kubectl, progress: Progress) -> None:
    """Install fake-gpu-operator by Helm; it brings its own device plugin and DCGM exporter."""
    if not settings.operator_version:
        raise OperatorError(
            "--gpu operator: say which version of fake-gpu-operator in GAMEDAY_KIND_GPU_OPERATOR_VERSION"
        )
    progress.say(f"GPUs by fake-gpu-operator {settings.operator_version}")
    for node in gpu_nodes(kubectl):
        kubectl("label", "--overwrite", "node", str(node["metadata"]["name"]), "run.ai/simulated-gpu-node-pool=default")
    kubectl.apply(_OPERATOR_NAMESPACE)
    chart = ["upgrade", "--install", "gpu-operator", OPERATOR_CHART, "--version", settings.operator_version]
    aim = ["--kubeconfig", str(kubectl.kubeconfig), "--kube-context", kubectl.context, "--namespace", "gpu-operator"]
    values = ["--set", f"topology.nodePools.default.gpuCount={COUNT}", "--wait"]
    run(["helm", *chart, *aim, *values], limit_s=LIMITS_S["addons"])
    _await_devices(kubectl)


def _await_devices(kubectl: Kubectl) -> None:
    def offered() -> bool:
        nodes = gpu_nodes(kubectl)
        return bool(nodes) and all(int(n["status"]["allocatable"].get(RESOURCE, "0")) > 0 for n in nodes)

    wait_until(f"{RESOURCE} offered by every GPU node", offered, timeout_s=LIMITS_S["gpu"], fault=lambda: None)


def gpu_nodes(kubectl: Kubectl) -> list[Json]:
    """Return the nodes of the pool `gpu`."""
    found: list[Json] = json.loads(kubectl("get", "nodes", "-l", "gameday.local/pool=gpu", "-o", "json"))["items"]
    return found


def patch_status(kubectl: Kubectl, count: int) -> None:
    """Write capacity and allocatable of every GPU node in one go: either alone is undone by the kubelet (CASES G01)."""
    amounts = {RESOURCE: str(count)}
    patch = json.dumps({"status": {"capacity": amounts, "allocatable": amounts}})
    for node in gpu_nodes(kubectl):
        kubectl("patch", "node", str(node["metadata"]["name"]), "--subresource=status", "--type=merge", "-p", patch)


def prove(settings: KindSettings, kubectl: Kubectl, progress: Progress) -> None:
    """Run a pod that asks for a GPU, and take it away again.

    Raises:
        OperatorError: It does not run within the limit.
    """
    pod = canary(settings.image)
    _delete_canary(kubectl)
    try:
        kubectl.apply(json.dumps(pod))
        limit = f"--timeout={LIMITS_S['gpu']:.0f}s"
        kubectl("wait", f"--namespace={NAMESPACE}", "--for=condition=Ready", f"pod/{CANARY}", limit,
                limit_s=LIMITS_S["gpu"] + 10)  # fmt: skip
    except OperatorError as error:
        described = kubectl("describe", "pod", CANARY, f"--namespace={NAMESPACE}")[-1500:]
        raise OperatorError(f"a pod that asks for one {RESOURCE} does not run: {error}\n{described}") from None
    finally:
        _delete_canary(kubectl)
    progress.say(f"a canary pod got its {RESOURCE}")


def _delete_canary(kubectl: Kubectl) -> None:
    kubectl("delete", "pod", CANARY, f"--namespace={NAMESPACE}", "--ignore-not-found", "--grace-period=0", "--force")


def canary(image: str) -> Json:
    """Return the pod that asks for one device."""
    container = {
        "name": "canary",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "600"],
        "resources": {"limits": {RESOURCE: "1", "memory": "32Mi", "cpu": "50m"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "nodeSelector": {"gameday.local/pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [container],
    }
    metadata = {"name": CANARY, "namespace": NAMESPACE, "labels": {"app": CANARY}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
