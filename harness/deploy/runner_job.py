"""A game day as a Job in the cluster: Job, settings and kubeconfig as a pod sees them. Text out; nothing is applied.

A drained node sends SIGTERM: the run stops, takes its faults back within the grace period and reports; what it cannot
take back any more the reaper does. It is never started again by itself: a second run must be asked for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

import tomlkit
import yaml

from harness.deploy.runner import NAME
from harness.model.experiment import Experiment
from harness.model.target import Target

SETTINGS_DIR = "/etc/gameday"
FILES_DIR = "/etc/gameday-files"
STATE_DIR = "/var/gameday"
CONTEXT = "in-cluster"
API_SERVER = "https://kubernetes.default.svc"
ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
SECRET = NAME
"""Optional Secrets: NAME with the variables that the target names, NAME-files with the files that it names."""

GRACE_S = 180
"""Longest time for undo and report once the pod is told to go; an undo has steps of seconds."""

MARGIN_S = 900
Manifest = dict[str, Any]
_FILE_KEYS = ("prometheus_ca_file", "prometheus_cert_file", "prometheus_key_file", "prometheus_password_file")


def settings_text(settings: str, name: str) -> str:
    """Return `gameday.toml` for the pod: this one target, found by the pod's own account.

    The kube-system uid stays: it is what tells this cluster from another one. Commands of a person's machine are left
    out, so that what needs them is refused.

    Args:
        settings: Text of the settings file.
        name: Name of the target.
    """
    written = tomllib.loads(settings)
    target = dict(written["targets"][name])
    target |= {"context": CONTEXT, "kubeconfig": f"{SETTINGS_DIR}/kubeconfig", "api_server": API_SERVER}
    target.pop("commands", None)
    target |= _in_pod(target, _FILE_KEYS)
    target |= {key: {**target[key], **_in_pod(target[key], ("ca_file",))} for key in ("announce",) if key in target}
    kept: dict[str, Any] = {key: written[key] for key in ("objectives", "query_packs") if key in written}
    return tomlkit.dumps({**kept, "targets": {name: target}})


def _in_pod(written: Mapping[str, Any], keys: Iterable[str]) -> dict[str, str]:
    """Return where the pod finds the files that some keys name."""
    return {key: f"{FILES_DIR}/{PurePath(written[key]).name}" for key in keys if written.get(key)}


def kubeconfig_text() -> str:
    """Return a kubeconfig that holds no secret: it names the files that the pod is given."""
    cluster = {"server": API_SERVER, "certificate-authority": f"{ACCOUNT_DIR}/ca.crt"}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": CONTEXT, "cluster": cluster}],
            "users": [{"name": CONTEXT, "user": {"tokenFile": f"{ACCOUNT_DIR}/token"}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        },
        sort_keys=False,
    )


def job(target: Target, experiment: Experiment, image: str, claim: str = "") -> Manifest:
    """Return the Job.

    Args:
        target: Where it runs.
        experiment: What it runs.
        image: An image in which this project is installed.
        claim: PersistentVolumeClaim in which the runs stay; without one they go with the pod.
    """
    labels = {"app": NAME, "gameday.local/experiment": experiment.name}
    meta = {"name": f"gameday-{experiment.name}", "namespace": target.system_namespace, "labels": labels}
    safe = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 7 * 24 * 3600,
            "activeDeadlineSeconds": int(experiment.timeout_s) + MARGIN_S,
            "template": {
                "metadata": {"labels": labels, "annotations": safe},
                "spec": _pod(target, experiment, image, claim),
            },
        },
    }


def _pod(target: Target, experiment: Experiment, image: str, claim: str) -> Manifest:
    state: Manifest = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    return {
        "serviceAccountName": NAME,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(target, experiment, image)],
        "volumes": [
            {"name": "settings", "configMap": {"name": "gameday-settings"}},
            {"name": "files", "secret": {"secretName": f"{SECRET}-files", "optional": True}},
            {"name": "state", **state},
        ],
    }


def _container(target: Target, experiment: Experiment, image: str) -> Manifest:
    settings = f"{SETTINGS_DIR}/gameday.toml"
    return {
        "name": "gameday",
        "image": image,
        "command": ["gameday", "run", experiment.name],
        "args": ["--target", target.name, "--settings", settings, "--runs-dir", f"{STATE_DIR}/runs"],
        "env": [
            {"name": "HOME", "value": STATE_DIR},
            _field("GAMEDAY_POD", "metadata.name"),  # no fault hits the pod and the node that run this
            _field("GAMEDAY_NODE", "spec.nodeName"),
        ],
        "envFrom": [{"secretRef": {"name": SECRET, "optional": True}}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "settings", "mountPath": SETTINGS_DIR, "readOnly": True},
            {"name": "files", "mountPath": FILES_DIR, "readOnly": True},
            {"name": "state", "mountPath": STATE_DIR},
        ],
    }


def _field(name: str, path: str) -> Mapping[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
