"""The kube-state-metrics launcher: writes a kubeconfig of the pod's own ServiceAccount and becomes the program.

The program's in-cluster configuration has fixed paths, which a pod of the local testbed does not have. It asks the API
server and nobody else; the token stays in its file. Run: ``python -m testbed.platform.kube_state_metrics``.
"""

import json

from testbed.platform import kube_access, launching, serving
from testbed.platform.settings import Environment

RESOURCES = "nodes,pods,deployments,horizontalpodautoscalers,poddisruptionbudgets"
"""What the rules of deploy/alerts ask for, and what the ServiceAccount may list."""


def kubeconfig(access: kube_access.KubeAccess) -> str:
    """Return a kubeconfig (JSON is YAML) that names the files of the credentials."""
    cluster = {"server": access.url, "certificate-authority": str(access.ca_path)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "clusters": [{"name": "pod", "cluster": cluster}],
        "users": [{"name": "pod", "user": {"tokenFile": str(access.token_path)}}],
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod"}}],
    }
    return json.dumps(document, indent=1)


def prepare(env: Environment) -> tuple[str, list[str]]:
    """Write the kubeconfig and return the command that serves."""
    path = launching.write_config(env, "kubeconfig", kubeconfig(kube_access.from_env(env)))
    return env.text("KUBE_STATE_METRICS_PROGRAM", "kube-state-metrics"), [
        f"--kubeconfig={path}",
        f"--resources={env.text('RESOURCES', RESOURCES)}",
        f"--host={env.bind_ip()}",
        f"--port={env.port('PORT', 8080)}",
        f"--telemetry-host={env.bind_ip()}",
        f"--telemetry-port={env.port('TELEMETRY_PORT', 8081)}",
    ]


if __name__ == "__main__":
    serving.run_launcher("kube-state-metrics", launching.launcher(prepare))
