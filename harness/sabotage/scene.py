"""Where a saboteur of a real run stands: the local testbed as its administrator, and the run's own processes.

The one place that changes a cluster without undo records: the testbed is made for this and goes afterwards. It must
never be given another target.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from harness.model.errors import PortError
from harness.model.restoration import without_server_made
from harness.model.target import Target

KUBECTL_LIMIT_S = 120.0
ABLE_LIMIT_S = 90.0
"""A new HPA speaks at its next sync; metrics may be some seconds old then."""
CHILDREN = {"load": "loadprofiles", "chaos": "harness.drivers.chaostoolkit_child"}


class Scene:
    """Acts on one testbed and on one run of it.

    Attributes:
        conductor_pid: The run's conductor, once it was started.
        kept: What a saboteur has taken away, by its own name for it.
    """

    def __init__(self, target: Target) -> None:
        if target.kind != "local" or not target.loopback_only:
            raise PortError("sabotage", target.name, "only a local testbed may be sabotaged")
        self._config = Path(target.kubeconfig).with_name("admin.kubeconfig")
        self.conductor_pid = 0
        self.kept: dict[str, Mapping[str, Any]] = {}

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the testbed's administrator.

        Raises:
            PortError: It failed.
        """
        program = Path(sys.executable).with_name("kubectl")
        command = [str(program), "--kubeconfig", str(self._config), *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=KUBECTL_LIMIT_S, check=False
        )
        if done.returncode:
            raise PortError("kubectl", " ".join(arguments[:4]), done.stderr.strip()[-300:])
        return done.stdout

    def take_away(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and keep how it was."""
        written = json.loads(self.kubectl("-n", namespace, "get", kind, name, "-o", "json"))
        self.kept[f"{kind}/{name}"] = without_server_made(written)
        self.kubectl("-n", namespace, "delete", kind, name)

    def bring_back(self) -> None:
        """Create what was taken away; an autoscaler is waited for until it can scale again."""
        for written in self.kept.values():
            self.kubectl("create", "-f", "-", stdin=json.dumps(written))
            meta = written["metadata"]
            if written["kind"] == "HorizontalPodAutoscaler":
                able = ("--for=condition=ScalingActive", f"--timeout={ABLE_LIMIT_S:g}s")
                self.kubectl("-n", meta["namespace"], "wait", "hpa", meta["name"], *able)
        self.kept.clear()

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Scale a Deployment and, on the way up, wait until it is there."""
        self.kubectl("-n", namespace, "scale", "deployment", name, f"--replicas={replicas}")
        if replicas:
            self.kubectl("-n", namespace, "rollout", "status", "deployment", name, "--timeout=50s")

    def signal_child(self, part: str, number: signal.Signals) -> None:
        """Send a signal to a child of the run.

        Raises:
            PortError: The run has no such child.
        """
        found = [p.pid for p in psutil.Process(self.conductor_pid).children(recursive=True) if _is(p, CHILDREN[part])]
        if not found:
            raise PortError("sabotage", f"{number.name} to the {part} child", "the run has none")
        for pid in found:
            os.kill(pid, number)

    def stall_child(self, part: str, duration_s: float) -> None:
        """Stop a child for a while."""
        self.signal_child(part, signal.SIGSTOP)
        time.sleep(duration_s)
        self.signal_child(part, signal.SIGCONT)


def _is(process: psutil.Process, mark: str) -> bool:
    try:
        return mark in " ".join(process.cmdline())
    except psutil.Error:
        return False
