"""KEDA's own manifests, from the Go module that pins it for the local testbed too. Renders text; applies nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from testbed.controlplane.cluster import kubectl
from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.go_build import build_environment
from testbed.controlplane.programs import FAMILIES
from testbed.controlplane.toolchain import go_for
from testbed.kind.programs import run
from testbed.kind.settings import ADDONS

MODULE = "github.com/kedacore/keda/v2"
DEPLOYMENTS = ("keda-operator", "keda-metrics-apiserver")
_DOWNLOAD_LIMIT_S = 300.0


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
        return run([kubectl(), "kustomize", str(folder)])


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
