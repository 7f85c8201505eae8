"""Docker, kind and kubectl as programs: looked for, run with a limit, their failure told in a few lines.

Never through a shell, and never without a limit. What is missing is said all at once, with what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.controlplane.cluster import kubectl as kubectl_path
from testbed.controlplane.errors import OperatorError
from testbed.kind.settings import LIMITS_S

FIELD_MANAGER = "gameday-kind"
"""Who wrote what gameday applied to a kind cluster: by it what is ours is told from what was there."""

_LAST_LINES = 12
REMEDIES = {
    "docker": "install Docker (https://docs.docker.com/engine/install/) and let this user reach its engine",
    "helm": "install Helm 3 (https://helm.sh/docs/intro/install/)",
    "kind": "install kind (https://kind.sigs.k8s.io/docs/user/quick-start/#installation)",
}
ELSEWHERE = (
    "Without them: `make gameday` runs the same experiments on the local testbed, and `make test ARGS='-k kind'` "
    "checks manifests, cluster configuration, device plugin and workflow."
)


def _needed() -> list[tuple[str, str]]:
    return [(name, remedy) for name, remedy in REMEDIES.items() if name != "helm"]


def lacks() -> list[str]:
    """Return what this machine lacks to run a kind cluster, each with its remedy; empty where nothing."""
    found = [f"{name}: not on PATH; {remedy}" for name, remedy in _needed() if shutil.which(name) is None]
    if not any(text.startswith("docker") for text in found):
        done = _run(["docker", "info", "--format", "{{.ServerVersion}}"])
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it does not answer"])[-1]
            found.append(f"docker: no engine answers ({said}); start it, or set DOCKER_HOST")
    return found


def need_programs() -> None:
    """Refuse where something is lacking.

    Raises:
        OperatorError: It names everything that is lacking.
    """
    missing = lacks()
    if missing:
        listed = "\n".join(f"  - {text}" for text in missing)
        raise OperatorError(f"a kind cluster cannot be had here:\n{listed}\n{ELSEWHERE}")


def run(
    command: Sequence[str],
    *,
    limit_s: float | None = None,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a program to its end and return what it printed.

    Args:
        command: Program and arguments.
        limit_s: How long it may take; `LIMITS_S["command"]` by default.
        stdin: What it reads.
        env: What its environment has beside ours.
        folder: Where it runs.

    Raises:
        OperatorError: It failed, is not there, or has not ended within its limit.
    """
    limit_s = LIMITS_S["command"] if limit_s is None else limit_s
    done = _run(command, stdin, limit_s, env, folder)
    if done.returncode:
        both = (done.stdout, done.stderr)  # some builders say on standard output what went wrong
        last = "\n".join(f"    {line}" for text in both for line in text.strip().splitlines()[-_LAST_LINES:])
        raise OperatorError(f"{' '.join(command[:6])} failed with status {done.returncode}:\n{last}")
    return done.stdout


def _run(
    command: Sequence[str],
    stdin: str | None = None,
    limit_s: float = LIMITS_S["command"],
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(env or {})}
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            env=environment,
            cwd=folder,
        )
    except FileNotFoundError:
        raise OperatorError(f"{command[0]} is not on PATH; {REMEDIES.get(command[0], 'install it')}") from None
    except subprocess.TimeoutExpired:
        raise OperatorError(f"{' '.join(command[:6])} has not ended in {limit_s:.0f} s") from None


@dataclass(frozen=True)
class Kubectl:
    """kubectl against one context of one kubeconfig, and no other."""

    kubeconfig: Path
    context: str

    def __call__(self, *arguments: str, stdin: str | None = None, limit_s: float | None = None) -> str:
        """Run it; raises OperatorError as `run` does."""
        command = [kubectl_path(), f"--kubeconfig={self.kubeconfig}", f"--context={self.context}", *arguments]
        return run(command, limit_s=limit_s, stdin=stdin)

    def apply(self, manifests: str) -> None:
        """Apply a stream of manifests, server side: some are too large for kubectl's annotation."""
        flags = ["--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-"]
        self("apply", *flags, stdin=manifests, limit_s=LIMITS_S["addons"])

    def apply_kustomization(self, folder: Path) -> None:
        """Build a kustomization and apply it."""
        self.apply(self("kustomize", str(folder)))

    def rolled_out(self, namespace: str, workload: str, limit_s: float) -> None:
        """Wait until a workload is rolled out.

        Raises:
            OperatorError: It is not within `limit_s`; the text has its pods as they are.
        """
        try:
            flags = [f"--timeout={limit_s:.0f}s", f"--namespace={namespace}"]
            self("rollout", "status", workload, *flags, limit_s=limit_s + 10)
        except OperatorError as error:
            pods = self("get", "pods", f"--namespace={namespace}", "-o", "wide")
            raise OperatorError(
                f"{namespace}/{workload} is not ready within {limit_s:.0f} s. {error}\n{pods}"
            ) from None
