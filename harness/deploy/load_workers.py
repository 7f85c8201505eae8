"""The load workers' manifest: pods that make the load from inside the cluster, out of the faults' way. No client here.

They hold no right at all and no secret but the load's token, which `kubectl create secret` brings, never this text.
"""

from __future__ import annotations

from typing import Any

import yaml

from harness.model.errors import SpecError
from harness.model.target import Target

NAME = "gameday-load"
READY_FILE = "/tmp/gameday-load-ready"  # noqa: S108 - inside a pod of its own
Manifest = dict[str, Any]


def manifest_text(target: Target, image: str, master_host: str) -> str:
    """Return the manifests as YAML documents, for ``kubectl apply -f -``.

    Args:
        target: Its `LoadWorkers` say how many.
        image: An image in which this project is installed.
        master_host: Where pods reach the load child.

    Raises:
        SpecError: The target's load workers are no pods.
    """
    workers = target.load_workers
    if workers.placement != "cluster":
        problem = "the target's load is made by processes of this machine"
        raise SpecError("gameday.toml", f"targets.{target.name}.load_workers.placement", problem, 'set it to "cluster"')
    return yaml.safe_dump_all([deployment(target, image, master_host)], sort_keys=False)


def deployment(target: Target, image: str, master_host: str) -> Manifest:
    """Return the Deployment: a pod a worker, each on a node of its own where there are enough, away from victims."""
    labels = {"app": NAME}  # by which no fault may hit it (`settings.PROTECTED`)
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 5,
        "containers": [_container(target, image, master_host)],
        "topologySpreadConstraints": [spread],
    }
    if target.load_workers.pool:
        pod["nodeSelector"] = {target.pool_label: target.load_workers.pool}
        pod["tolerations"] = [{"operator": "Exists", "effect": "NoSchedule"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": target.system_namespace, "labels": labels},
        "spec": {
            "replicas": target.load_workers.count,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _container(target: Target, image: str, master_host: str) -> Manifest:
    secret = {"secretKeyRef": {"name": NAME, "key": "token"}}
    return {
        "name": "worker",
        "image": image,
        "command": ["python", "-m", "loadprofiles.worker"],
        "args": [master_host, str(target.load_workers.listen_port), "--stay", "--ready-file", READY_FILE],
        "env": [{"name": "GAMEDAY_LOAD_TOKEN", "valueFrom": secret}],
        "readinessProbe": {"exec": {"command": ["test", "-f", READY_FILE]}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "250m", "memory": "192Mi"}, "limits": {"memory": "768Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
