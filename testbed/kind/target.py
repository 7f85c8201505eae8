"""The target of the harness for this cluster: the committed gameday.toml with the cluster's identity written in.

The committed file is never written: the identity of a kind cluster lives as long as the cluster.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomlkit

from testbed.controlplane.places import REPOSITORY
from testbed.kind.cluster import api_server
from testbed.kind.programs import Kubectl
from testbed.kind.settings import KindSettings

TARGET = "kind"
SCRAPE_INTERVAL_S = 2
"""SCRAPE_INTERVAL_S of manifests/base/platform-infra/prometheus.yaml."""


def write_target(settings: KindSettings, kubectl: Kubectl, components: list[str]) -> Path:
    """Write the settings that name this cluster, and return their path."""
    uid = kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").strip()
    document = tomlkit.parse((REPOSITORY / "gameday.toml").read_text(encoding="utf-8"))
    targets: Any = document["targets"]
    targets[TARGET].update(identity(settings, uid, api_server(kubectl), components))
    settings.target_settings.write_text(tomlkit.dumps(document), encoding="utf-8")
    return settings.target_settings


def identity(settings: KindSettings, uid: str, server: str, components: list[str]) -> dict[str, Any]:
    """Return what [targets.kind] says of this very cluster."""
    power = [sys.executable, "-m", "testbed.kind", "node", "--cluster", settings.cluster]
    return {
        "context": settings.context,
        "kubeconfig": str(settings.kubeconfig),
        "api_server": server,
        "kube_system_uid": uid,
        "scrape_interval_s": SCRAPE_INTERVAL_S,
        "components": components,
        "helper_image": settings.image,  # in every node already: a pull would tell on the fault's clock
        "helper_command": ["sleep", "86400"],
        "commands": {"node_stop": [*power, "stop", "{node}"], "node_start": [*power, "start", "{node}"]},
    }
