"""What stays of a kind cluster when it is gone: events, objects, logs of pods and nodes. Never fails a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.kind.programs import Kubectl, run
from testbed.kind.settings import KindSettings

NAMESPACES = "agents,platform-infra,gameday-system,gameday-devices,keda,kube-system"
_LIMIT_S = 180.0
_READS = {
    "nodes.txt": ("describe", "nodes"),
    "pods.txt": ("get", "pods", "-A", "-o", "wide"),
    "events.txt": ("get", "events", "-A", "--sort-by=.metadata.creationTimestamp"),
    "autoscalers.yaml": ("get", "hpa,pdb", "-A", "-o", "yaml"),
}


def collect(settings: KindSettings, folder: Path, progress: Progress) -> Path:
    """Write everything to `folder`; what cannot be had is told and leaves the rest as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    kubectl = Kubectl(settings.kubeconfig, settings.context)
    for name, arguments in _READS.items():
        try:
            (folder / name).write_text(kubectl(*arguments), encoding="utf-8")
        except OperatorError as error:
            progress.say(f"artefact {name}: {error}")
    dump = f"--output-directory={folder / 'namespaces'}"
    steps: dict[str, Callable[[], str]] = {
        "namespaces": lambda: kubectl("cluster-info", "dump", f"--namespaces={NAMESPACES}", dump, limit_s=_LIMIT_S),
        "nodes": lambda: run(["kind", "export", "logs", str(folder / "nodes"), "--name", settings.cluster],
                             limit_s=_LIMIT_S),
    }  # fmt: skip
    for name, step in steps.items():
        try:
            step()
        except OperatorError as error:
            progress.say(f"artefact {name}: {error}")
    progress.say(f"logs and events are in {folder}")
    return folder
