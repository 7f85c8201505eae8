"""The cluster itself: made, or found and proven to be kind on loopback, and deleted if it is ours.

Must never act on a cluster that `kind` does not list, whose API server is not on loopback, or one of whose nodes kind
did not make; and must never delete a cluster that somebody else made.
"""

from __future__ import annotations

import json
import shutil
from typing import Any
from urllib.parse import urlsplit

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.kind.programs import Kubectl, run
from testbed.kind.settings import LIMITS_S, KindSettings
from testbed.platform.settings import is_loopback

POOLS = {"infra": 1, "general": 2, "gpu": 1, "spot": 1}
"""Pool -> how many nodes of it the platform and its experiments need (label `gameday.local/pool`)."""

Json = dict[str, Any]


def cluster_names() -> list[str]:
    """Return the names of the clusters that kind knows on this machine."""
    return [name for name in run(["kind", "get", "clusters", "-q"]).split() if name]


def ensure_cluster(settings: KindSettings, progress: Progress) -> bool:
    """Make the cluster, or use the one that is there; returns whether it was made.

    Raises:
        OperatorError: It cannot be made, or what is there is not what the platform needs.
    """
    made = settings.cluster not in cluster_names()
    settings.folder.mkdir(parents=True, exist_ok=True)
    if made:
        _make(settings, progress)
    else:
        progress.say(f"cluster {settings.cluster} is there already and is used as it is")
    connect(settings)
    check_nodes(settings)
    return made


def _make(settings: KindSettings, progress: Progress) -> None:
    progress.say(f"making the kind cluster {settings.cluster} (5 nodes; about 1 min elsewhere)")
    image = ["--image", settings.node_image] if settings.node_image else []
    command = ["kind", "create", "cluster", "--name", settings.cluster, "--config", str(settings.config), *image]
    settings.made_mark.touch()  # before the deed: what is half made must be deleted as well
    run([*command, "--kubeconfig", str(settings.kubeconfig), "--wait", "120s"], limit_s=LIMITS_S["cluster"])


def connect(settings: KindSettings) -> Kubectl:
    """Return kubectl for the cluster, after it was proven to be kind on loopback.

    Raises:
        OperatorError: kind does not list it, or its API server or a node is something else.
    """
    if settings.cluster not in cluster_names():
        raise OperatorError(f"kind knows no cluster {settings.cluster}; make it with `gameday kind up`")
    settings.folder.mkdir(parents=True, exist_ok=True)
    told = run(["kind", "get", "kubeconfig", "--name", settings.cluster])
    settings.kubeconfig.touch(mode=0o600)
    settings.kubeconfig.write_text(told, encoding="utf-8")
    kubectl = Kubectl(settings.kubeconfig, settings.context)
    refuse_other_clusters(settings, api_server(kubectl), nodes_of(kubectl))
    return kubectl


def api_server(kubectl: Kubectl) -> str:
    """Return the URL of the API server."""
    view = json.loads(kubectl("config", "view", "--minify", "-o", "json"))
    return str(view["clusters"][0]["cluster"]["server"])


def nodes_of(kubectl: Kubectl) -> list[Json]:
    """Return the nodes."""
    found: list[Json] = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    return found


def refuse_other_clusters(settings: KindSettings, server: str, nodes: list[Json]) -> None:
    """Refuse what is not kind on loopback.

    Raises:
        OperatorError: Says which of the two proofs is missing.
    """
    host = urlsplit(server).hostname or ""
    if not is_loopback(host):
        raise OperatorError(f"{settings.context}: its API server {server} is not on loopback; nothing was touched")
    foreign = [node["metadata"]["name"] for node in nodes if not _is_kind_node(node, settings.cluster)]
    if foreign or not nodes:
        named = ", ".join(foreign) or "no node at all"
        raise OperatorError(f"{settings.context}: {named}: not a node of kind's (spec.providerID); nothing was touched")


def _is_kind_node(node: Json, cluster: str) -> bool:
    provider = str(node["spec"].get("providerID", ""))
    return provider.startswith("kind://") and provider.split("/")[3:4] == [cluster]


def container_of(node: Json) -> str:
    """Return the name of the container that is a node: the last part of its provider id."""
    return str(node["spec"]["providerID"]).rsplit("/", 1)[-1]


def check_nodes(settings: KindSettings) -> None:
    """Refuse a cluster that has too few nodes of a pool.

    Raises:
        OperatorError: Says how to label nodes, or how to get a cluster that fits.
    """
    kubectl = Kubectl(settings.kubeconfig, settings.context)
    pools = [node["metadata"].get("labels", {}).get("gameday.local/pool", "") for node in nodes_of(kubectl)]
    missing = [f"{wanted - pools.count(p)} of {p}" for p, wanted in POOLS.items() if pools.count(p) < wanted]
    if missing:
        raise OperatorError(
            f"{settings.context} lacks nodes of a pool: {', '.join(missing)}. Label them "
            "(`kubectl label node NODE gameday.local/pool=POOL`; gpu and spot want the taint POOL=true:NoSchedule too) "
            f"or make the cluster with `kind create cluster --config {settings.config}`"
        )


def delete_cluster(settings: KindSettings, progress: Progress) -> bool:
    """Delete the cluster if it is ours; returns whether it was there.

    Raises:
        OperatorError: Somebody else made it, or kind cannot delete it.
    """
    there = settings.cluster in cluster_names()
    if there and not settings.made_mark.exists():
        raise OperatorError(
            f"the cluster {settings.cluster} was not made by gameday; delete it yourself: "
            f"kind delete cluster --name {settings.cluster}"
        )
    if there:
        progress.say(f"deleting the kind cluster {settings.cluster}")
        kubeconfig = ["--kubeconfig", str(settings.kubeconfig)]
        run(["kind", "delete", "cluster", "--name", settings.cluster, *kubeconfig], limit_s=LIMITS_S["delete"])
    shutil.rmtree(settings.folder, ignore_errors=True)
    return there
