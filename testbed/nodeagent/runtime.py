"""What every container of the instance shares: launcher, control groups, probe client, the environment given to all.

Also how one attempt of a container is started and accounted for. It knows nothing of restarts or of the API.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from testbed.addresses import listen_address
from testbed.layout import Layout
from testbed.nodeagent.cgroups import Group, Hierarchy, Limits
from testbed.nodeagent.container_log import LogWriter, OutputPipe
from testbed.nodeagent.launcher import Launch, Launcher, Process
from testbed.nodeagent.pod_spec import ContainerSpec
from testbed.nodeagent.process_table import MARK, POD_MARK, Usage, listens, session_members, usage
from testbed.nodeagent.zygote import REPOSITORY

DRAIN_TIMEOUT_S = 1.0
_HANDED_ON = ("LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", MARK, "GAMEDAY_TESTBED_DIR", "GAMEDAY_TESTBED_SLOT")


@dataclass(frozen=True)
class Runtime:
    """The means to run containers.

    Attributes:
        layout: the instance.
        launcher: starts processes.
        hierarchy: control groups, None where they cannot be written.
        http: client for probes and hooks, without a connection pool.
    """

    layout: Layout
    launcher: Launcher
    hierarchy: Hierarchy | None
    http: aiohttp.ClientSession

    def given_environment(self, pod: "PodPlace", container: str) -> dict[str, str]:
        """Return what the agent gives to every container (docs/testbed.md)."""
        root = pod.root(container)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {
            **{name: os.environ[name] for name in _HANDED_ON if name in os.environ},
            "PATH": path,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "HOME": str(root / "home"),
            "TMPDIR": str(root / "tmp"),
            "HOSTNAME": pod.name,
            "BIND_IP": listen_address(pod.ip),
            "GAMEDAY_POD_ROOT": str(root),
            "GAMEDAY_EDS_DIR": str(self.layout.eds_dir),
            POD_MARK: f"{pod.namespace}/{pod.name}",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.layout.ports.apiserver),
        }

    async def start(self, pod: "PodPlace", spec: ContainerSpec, attempt: int, command: "Command") -> "Attempt":
        """Start one attempt of a container.

        Raises:
            LaunchError: its command cannot be started.
        """
        group = self._group(pod, spec, attempt)
        log = LogWriter(pod.log_path(spec.name, attempt))
        pipe = OutputPipe(log.write, log.close)
        groups = group.procs_files() if group else []
        try:
            process = await self.launcher.launch(Launch(command.argv, command.env, command.cwd, groups), pipe.write_end)
        except BaseException:
            pipe.close()
            if group:
                group.remove()
            raise
        return Attempt(self.launcher, process, group, pipe, command)

    def _group(self, pod: "PodPlace", spec: ContainerSpec, attempt: int) -> Group | None:
        if self.hierarchy is None:
            return None
        limits = Limits(spec.limit("cpu"), spec.limit("memory"))
        return self.hierarchy.limited(limits, pod.node, pod.uid, f"{spec.name}.{attempt}")


@dataclass(frozen=True)
class Command:
    """A resolved command: what runs, with which environment, where."""

    argv: list[str]
    env: Mapping[str, str]
    cwd: str


@dataclass(frozen=True)
class PodPlace:
    """Who a pod is and where its files are.

    Attributes:
        uid: uid of the Pod object.
        namespace: its namespace.
        name: its name.
        node: its node.
        ip: its address in the API.
        folder: everything that it has on disk.
    """

    uid: str
    namespace: str
    name: str
    node: str
    ip: str
    folder: Path

    def root(self, container: str) -> Path:
        """Return what stands for the root of a container's file system."""
        return self.folder / "root" / container

    @property
    def volumes(self) -> Path:
        """Folder of the volumes, one folder each."""
        return self.folder / "volumes"

    def log_path(self, container: str, attempt: int) -> Path:
        """Return the log of one attempt."""
        return self.folder / "logs" / container / f"{attempt}.log"


class Attempt:
    """A container's process and what belongs to it, from start to end."""

    def __init__(
        self, launcher: Launcher, process: Process, group: Group | None, pipe: OutputPipe, command: Command
    ) -> None:
        self._launcher, self._group, self._pipe = launcher, group, pipe
        self.process, self.command = process, command

    def terminate(self) -> None:
        """Send SIGTERM to the main process, as a container runtime does."""
        self._launcher.signal(self.process, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL everything of the container."""
        self.signal_all(signal.SIGKILL)

    def signal_all(self, number: int) -> None:
        """Send a signal to every process of the container."""
        self._launcher.signal(self.process, number, whole_group=True)
        self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        for pid in self._group.pids() if self._group else []:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def pids(self) -> list[int]:
        """Return the processes of the container."""
        if self._group is not None:
            return self._group.pids()
        return session_members([self.process.pid])[self.process.pid]

    def owns(self, host: str, port: int) -> bool:
        """Tell whether a process of the container listens on `host`:`port`."""
        return listens(self.pids(), host, port)

    def usage(self) -> Usage:
        """Return CPU ever used and memory in use."""
        if self._group is not None:
            return Usage(self._group.cpu_usage_s(), self._group.memory_bytes())
        return usage(self.pids())

    def groups(self) -> list[str]:
        """Return what another process writes itself into to share the container's limits."""
        return self._group.procs_files() if self._group else []

    def out_of_memory(self) -> bool:
        """Tell whether the kernel killed a process of it for lack of memory."""
        return self._group is not None and self._group.oom_kills() > 0

    async def end(self) -> None:
        """Clean up after the main process ended: nothing of the container outlives it, its last output is stored."""
        self._signal_group(signal.SIGKILL)
        try:
            await asyncio.wait_for(asyncio.shield(self._pipe.drained), DRAIN_TIMEOUT_S)
        except TimeoutError:
            self._pipe.close()  # a process outside its session and groups still holds the pipe

    def remove_group(self) -> None:
        """Remove the control group; its account is gone with it."""
        if self._group is not None:
            self._group.remove()
