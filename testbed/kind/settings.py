"""What a kind cluster of ours is called, made of and kept in; from the environment and options. Reads no cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.controlplane.errors import OperatorError
from testbed.controlplane.places import REPOSITORY, state_root

FOLDER = REPOSITORY / "testbed" / "kind"
ADDONS = FOLDER / "addons"
OVERLAYS = REPOSITORY / "testbed" / "manifests" / "overlays"
DEFAULT_CLUSTER = "gameday"
DEFAULT_IMAGE = "gameday-platform:dev"

LIMITS_S = {
    "cluster": 420.0,
    "image": 1800.0,
    "load": 600.0,
    "addons": 180.0,
    "metrics": 120.0,
    "platform": 240.0,
    "reaper": 90.0,
    "gpu": 90.0,
    "delete": 180.0,
    "command": 60.0,
}
"""How long each step may take at most."""

_CLUSTER_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?")


@dataclass(frozen=True)
class KindSettings:
    """One cluster.

    Attributes:
        cluster: Name, without kind's prefix.
        node_image: Image of the nodes; kind's own default where empty.
        config: kind's configuration file.
        image: Name of the project's image.
        gpu: How GPUs are mocked: ``plugin``, ``status``, ``operator``, ``none``.
        operator_version: Version of fake-gpu-operator's chart, for ``operator``.
    """

    cluster: str = DEFAULT_CLUSTER
    node_image: str = ""
    config: Path = FOLDER / "cluster.yaml"
    image: str = DEFAULT_IMAGE
    gpu: str = "plugin"
    operator_version: str = ""

    @property
    def context(self) -> str:
        """Name of the kubeconfig context."""
        return f"kind-{self.cluster}"

    @property
    def folder(self) -> Path:
        """Where the cluster's kubeconfig and settings lie."""
        return state_root().parent / "kind" / self.cluster

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of its own: the user's is never written."""
        return self.folder / "kubeconfig"

    @property
    def target_settings(self) -> Path:
        """The committed gameday.toml with this cluster's identity in [targets.kind]."""
        return self.folder / "gameday.toml"

    @property
    def made_mark(self) -> Path:
        """There where the cluster was made by us, and so is ours to delete."""
        return self.folder / "made-by-gameday"


def settings_from(
    environ: Mapping[str, str] = os.environ, cluster: str | None = None, gpu: str | None = None
) -> KindSettings:
    """Return the settings: an option, else the environment (`GAMEDAY_KIND_*`), else the default.

    Raises:
        OperatorError: A name that no cluster can have, or a configuration file that is not there.
    """
    name = cluster or environ.get("GAMEDAY_KIND_CLUSTER") or DEFAULT_CLUSTER
    name = name.removeprefix("kind-")
    if not _CLUSTER_NAME.fullmatch(name):
        raise OperatorError(f"cluster {name!r}: use a-z, 0-9, '.' and '-' (GAMEDAY_KIND_CLUSTER, --cluster)")
    config = Path(environ.get("GAMEDAY_KIND_CONFIG") or FOLDER / "cluster.yaml").expanduser()
    if not config.is_file():
        raise OperatorError(f"GAMEDAY_KIND_CONFIG: {config} is no file; name a kind configuration, or unset it")
    return KindSettings(
        cluster=name,
        node_image=environ.get("GAMEDAY_KIND_NODE_IMAGE", ""),
        config=config,
        image=environ.get("GAMEDAY_KIND_IMAGE") or DEFAULT_IMAGE,
        gpu=gpu or environ.get("GAMEDAY_KIND_GPU") or "plugin",
        operator_version=environ.get("GAMEDAY_KIND_GPU_OPERATOR_VERSION", ""),
    )
