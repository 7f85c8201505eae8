"""KEDA's manifests, from the Go module that pins it for the local testbed too, and what a cluster has of it already.

Renders text and reads; applies nothing and deletes nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from enum import Enum
from pathlib import Path

from testbed.controlplane.cluster import kubectl as kubectl_path
from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.go_build import build_environment
from testbed.controlplane.programs import FAMILIES
from testbed.controlplane.toolchain import go_for
from testbed.kind.programs import FIELD_MANAGER, Kubectl, run
from testbed.kind.settings import ADDONS

CRD = "scaledobjects.keda.sh"
MODULE = "github.com/kedacore/keda/v2"
DEPLOYMENTS = ("keda-operator", "keda-metrics-apiserver")
_DOWNLOAD_LIMIT_S = 300.0


class Keda(Enum):
    """What a cluster has of KEDA before anything is applied; the value says it to people."""

    ABSENT = "no KEDA"
    OURS = "KEDA, from an earlier `--with-keda` or run"
    THEIRS = "KEDA, which gameday did not install"

    @property
    def there(self) -> bool:
        """Tell whether the cluster has it, whoever brought it."""
        return self is not Keda.ABSENT


def keda_on(kubectl: Kubectl) -> Keda:
    """Look whether the cluster has KEDA, and who wrote it.

    Raises:
        OperatorError: The cluster does not say.
    """
    fields = ("--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}")
    managers = kubectl("get", "customresourcedefinition", CRD, "--ignore-not-found", *fields).split()
    if not managers:
        return Keda.ABSENT
    return Keda.OURS if FIELD_MANAGER in managers else Keda.THEIRS


def keda_manifests(progress: Progress) -> str:
    """Return KEDA's manifests with its released images.

    Raises:
        OperatorError: The module cannot be fetched, or its checksum is not the pinned one.
    """
    family = FAMILIES["keda"]
    go = go_for(family.go_version(), progress)
    version = keda_version(family.module_dir / "go.mod")
    source = module_folder(go, family.module_dir) / "config"
    with tempfile.TemporaryDirectory(prefix="gameday-keda-") as scratch:
        folder = Path(scratch)
        shutil.copytree(source, folder / "upstream", copy_function=shutil.copyfile)
        text = (ADDONS / "keda" / "kustomization.yaml").read_text(encoding="utf-8")
        (folder / "kustomization.yaml").write_text(text.replace("KEDA_VERSION", version), encoding="utf-8")
        return run([kubectl_path(), "kustomize", str(folder)])


def keda_version(go_mod: Path) -> str:
    """Return KEDA's version as its images carry it: without the v.

    Raises:
        OperatorError: The file does not require KEDA.
    """
    for line in go_mod.read_text(encoding="utf-8").splitlines():
        words = line.replace("require", "").split()
        if words[:1] == [MODULE]:
            return words[1].removeprefix("v")
    raise OperatorError(f"{go_mod}: does not require {MODULE}")


def module_folder(go: Path, module_dir: Path) -> Path:
    """Fetch the module, checked against go.sum, and return its folder.

    Raises:
        OperatorError: It cannot be fetched or is not what go.sum says.
    """
    command = [str(go), "list", "-m", "-f", "{{.Dir}}", MODULE]
    environment = build_environment()
    for step in ([str(go), "mod", "download", MODULE], command):
        told = run(step, limit_s=_DOWNLOAD_LIMIT_S, env=environment, folder=module_dir)
    return Path(told.strip())
