"""The reaper's manifest: Deployment, ServiceAccount and the least rights that its undos need (DESIGN U3).

Rights come from what the faults of those experiments that fit the target say that taking them back needs, and from the
ledger, the Leases and the sweep. Must never grant a wildcard or a cluster role of somebody else's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

import yaml

from harness import rbac, registries
from harness.deploy.runner import fitting
from harness.deploy.runner_job import FILES_DIR
from harness.drivers.kubernetes.lease import lease_permissions
from harness.drivers.kubernetes.ledger import ledger_permissions
from harness.drivers.kubernetes.residue import sweep_permissions
from harness.model.experiment import Experiment
from harness.model.fault import Permission
from harness.model.target import Target

NAME = "gameday-reaper"
Manifest = dict[str, Any]


def manifest_text(target: Target, image: str) -> str:
    """Return the manifests as YAML documents, for ``kubectl apply -f -``.

    Args:
        target: Its namespaces bound where rights are granted.
        image: An image in which this project is installed.

    Raises:
        SpecError: An experiment of the project is not valid.
    """
    return yaml.safe_dump_all(manifests(target, image, undo_permissions(fitting(target))), sort_keys=False)


def undo_permissions(experiments: Iterable[Experiment]) -> tuple[Permission, ...]:
    """Return what taking back the faults of some experiments needs: no right in a namespace that the target has not."""
    faults = registries.faults()
    plans = [plan for experiment in experiments for plan in experiment.faults]
    return tuple(p for plan in plans for p in faults[plan.action].undo_permissions(plan.arguments))


def manifests(target: Target, image: str, undo: Iterable[Permission]) -> list[Manifest]:
    """Return the manifests.

    Args:
        target: As in `manifest_text`.
        image: As in `manifest_text`.
        undo: What the undos need.
    """
    system = target.system_namespace
    namespaces = tuple(dict.fromkeys((system, *target.namespaces)))
    own = (*ledger_permissions(system), *lease_permissions(system), *sweep_permissions(namespaces))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": system}}
    roles = rbac.manifests(NAME, (*own, *undo), rbac.subject_of("", f"{system}/{NAME}"))
    return [account, *roles, _budget(system), _deployment(target, namespaces, image)]


def _deployment(target: Target, namespaces: Iterable[str], image: str) -> Manifest:
    system = target.system_namespace
    sweeps = [part for namespace in namespaces for part in ("--sweep", namespace)]
    container = {
        "name": "reaper",
        "image": image,
        "command": ["python", "-m", "harness.reaper_main"],
        "args": ["--namespace", system, *sweeps, *_alertmanager_args(target)],
        **_secrets(target),
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    labels = {"app": NAME}  # by which no fault may hit it (`settings.PROTECTED`)
    spread = {  # the runner's node may be a victim: two reapers never share one
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {"serviceAccountName": NAME, "containers": [container], "topologySpreadConstraints": [spread]}
    if _ca_file(target):
        pod["volumes"] = [{"name": "files", "secret": {"secretName": f"{NAME}-files", "optional": True}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": system, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _ca_file(target: Target) -> str:
    """Return where the pod finds Alertmanager's CA, or nothing where the system's is taken or nothing silenced."""
    told = target.announce
    return f"{FILES_DIR}/{PurePath(told.ca_file).name}" if told.alertmanager_url and told.ca_file else ""


def _alertmanager_args(target: Target) -> list[str]:
    """Return where silences of dead runs are ended: the address, and the name of the variable with the token."""
    told, ca_file = target.announce, _ca_file(target)
    if not told.alertmanager_url:
        return []
    token = ["--alertmanager-token-env", told.alertmanager_token_env] if told.alertmanager_token_env else []
    ca = ["--alertmanager-ca-file", ca_file] if ca_file else []
    return ["--alertmanager-url", told.alertmanager_url, *token, *ca]


def _secrets(target: Target) -> Manifest:
    """Give the pod the one token and the one CA that it needs. Optional: a reaper without them does all the rest."""
    name, found = target.announce.alertmanager_token_env, Manifest()
    if target.announce.alertmanager_url and name:
        key = {"name": NAME, "key": name, "optional": True}
        found["env"] = [{"name": name, "valueFrom": {"secretKeyRef": key}}]
    if _ca_file(target):
        found["volumeMounts"] = [{"name": "files", "mountPath": FILES_DIR, "readOnly": True}]
    return found


def _budget(system: str) -> Manifest:
    """One reaper stays while nodes are drained: without one on duty a run stops."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": NAME, "namespace": system},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": NAME}}},
    }
