"""CPU and memory limits and accounts by control groups, version 1 or 2, where this process may write them.

Folders are `<controller>/gameday-<instance>-<port base>/<node>/<pod uid>/<container>.<attempt>`: an instance finds and
removes its own and never another's. A process enters its group itself, before it becomes the container's command, so
nothing of it runs unlimited. Where no group can be made, `detect` returns None and the agent says that limits are off.
"""

import errno
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_log = logging.getLogger(__name__)
CGROUP_ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
QUOTA_US_MIN = 1_000
REMOVE_PATIENCE_S = 2.0
WEIGHT_FACTOR = 4 * (os.cpu_count() or 1)
"""How many ordinary processes the instance's pods weigh together where cores are short. A group weighs as much as one
process by default: forty pods would starve beside one compiler. A kubelet weighs its pods by the node's cores."""
_V1_CONTROLLERS = ("cpu", "cpuacct", "memory")


@dataclass(frozen=True)
class Limits:
    """What a container may use; None where it has no limit."""

    cpu_cores: float | None = None
    memory_bytes: float | None = None


class Group(Protocol):
    """The control group of a container, a pod or a node."""

    def procs_files(self) -> list[str]:
        """Return the files into which a process writes `0` to enter."""

    def cpu_usage_s(self) -> float:
        """Return CPU seconds ever used, also by processes that are gone."""

    def memory_bytes(self) -> int:
        """Return the working set: usage without inactive page cache."""

    def oom_kills(self) -> int:
        """Return how many processes were killed for lack of memory."""

    def pids(self) -> list[int]:
        """Return the processes in the group itself."""

    def remove(self) -> None:
        """Remove the group, which must be empty of processes soon."""


class Hierarchy(Protocol):
    """Makes groups for one instance.

    Attributes:
        cpu: whether CPU limits are enforced.
        memory: whether memory limits are enforced.
    """

    cpu: bool
    memory: bool

    def group(self, *path: str) -> Group:
        """Return the group at `path`, made if need be."""

    def limited(self, limits: Limits, *path: str) -> Group:
        """Return the group at `path`, made with `limits`."""

    def sweep(self) -> None:
        """Remove every group of this instance that holds no process."""


def detect(instance: str, root: Path = CGROUP_ROOT) -> Hierarchy | None:
    """Return the control groups that this process may write, None where it may not."""
    for kind in (HierarchyV1, HierarchyV2):
        found = kind.detect(instance, root)
        if found is not None:
            return found
    return None


def quota_us(cpu_cores: float) -> int:
    """Return the CFS quota of a limit for a period of 100 ms; the kernel's least is 1 ms."""
    return max(QUOTA_US_MIN, round(cpu_cores * PERIOD_US))


def _read_table(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}  # noqa: PLR2004 - key and value


def _pids(path: Path) -> list[int]:
    try:
        return [int(line) for line in path.read_text(encoding="ascii").split()]
    except FileNotFoundError:
        return []


def _remove(folder: Path) -> None:
    """Remove a group; the kernel says busy for some milliseconds after its last process was killed."""
    deadline_s = time.monotonic() + REMOVE_PATIENCE_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline_s:
                _log.warning("control group %s stays: %s", folder, error.strerror)
                return
            time.sleep(0.01)


def _deepest_first(folder: Path) -> Iterator[Path]:
    for parent, _, _ in os.walk(folder, topdown=False):
        yield Path(parent)


def _sweep(base: Path) -> None:
    for folder in _deepest_first(base):
        if not _pids(folder / "cgroup.procs"):
            _remove(folder)


class GroupV1:
    """A control group of version 1: one folder per controller."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    def procs_files(self) -> list[str]:
        """Return the files into which a process writes `0` to enter."""
        return [str(folder / "cgroup.procs") for folder in self._folders.values()]

    def cpu_usage_s(self) -> float:
        """Return CPU seconds ever used, also by processes that are gone."""
        return int((self._folders["cpuacct"] / "cpuacct.usage").read_text(encoding="ascii")) / 1e9

    def memory_bytes(self) -> int:
        """Return the working set: usage without inactive page cache."""
        folder = self._folders["memory"]
        usage = int((folder / "memory.usage_in_bytes").read_text(encoding="ascii"))
        return max(0, usage - _read_table(folder / "memory.stat").get("total_inactive_file", 0))

    def oom_kills(self) -> int:
        """Return how many processes were killed for lack of memory."""
        return _read_table(self._folders["memory"] / "memory.oom_control").get("oom_kill", 0)

    def pids(self) -> list[int]:
        """Return the processes in the group itself."""
        return _pids(self._folders["cpu"] / "cgroup.procs")

    def remove(self) -> None:
        """Remove the group's folders, deepest first."""
        for base in self._folders.values():
            for folder in _deepest_first(base):
                _remove(folder)


class HierarchyV1:
    """Control groups of version 1."""

    cpu = True
    memory = True

    def __init__(self, bases: dict[str, Path]) -> None:
        self._bases = bases

    @classmethod
    def detect(cls, instance: str, root: Path) -> "HierarchyV1 | None":
        """Return the hierarchy if cpu, cpuacct and memory can all be written."""
        bases = {name: root / name / instance for name in _V1_CONTROLLERS}
        try:
            for base in bases.values():
                if not (base.parent / "cgroup.procs").exists():
                    return None
                base.mkdir(exist_ok=True)
            (bases["cpu"] / "cpu.shares").write_text(str(1024 * WEIGHT_FACTOR), encoding="ascii")
        except OSError:
            return None
        return cls(bases)

    def group(self, *path: str) -> GroupV1:
        """Return the group at `path`, made if need be."""
        folders = {name: base.joinpath(*path) for name, base in self._bases.items()}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return GroupV1(folders)

    def limited(self, limits: Limits, *path: str) -> GroupV1:
        """Return the group at `path`, made with `limits`."""
        group = self.group(*path)
        if limits.cpu_cores is not None:
            folder = self._bases["cpu"].joinpath(*path)
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
            (folder / "cpu.cfs_quota_us").write_text(str(quota_us(limits.cpu_cores)), encoding="ascii")
        if limits.memory_bytes is not None:
            limit = self._bases["memory"].joinpath(*path) / "memory.limit_in_bytes"
            limit.write_text(str(int(limits.memory_bytes)), encoding="ascii")
        return group

    def sweep(self) -> None:
        """Remove every group of this instance that holds no process."""
        for base in self._bases.values():
            _sweep(base)


class GroupV2:
    """A control group of version 2."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def procs_files(self) -> list[str]:
        """Return the files into which a process writes `0` to enter."""
        return [str(self._folder / "cgroup.procs")]

    def cpu_usage_s(self) -> float:
        """Return CPU seconds ever used, also by processes that are gone."""
        return _read_table(self._folder / "cpu.stat")["usage_usec"] / 1e6

    def memory_bytes(self) -> int:
        """Return the working set: usage without inactive page cache."""
        usage = int((self._folder / "memory.current").read_text(encoding="ascii"))
        return max(0, usage - _read_table(self._folder / "memory.stat").get("inactive_file", 0))

    def oom_kills(self) -> int:
        """Return how many processes were killed for lack of memory."""
        return _read_table(self._folder / "memory.events").get("oom_kill", 0)

    def pids(self) -> list[int]:
        """Return the processes in the group itself."""
        return _pids(self._folder / "cgroup.procs")

    def remove(self) -> None:
        """Remove the group and what is below it, deepest first."""
        for folder in _deepest_first(self._folder):
            _remove(folder)


class HierarchyV2:
    """Control groups of version 2, below the first folder that lets this process enable cpu and memory there."""

    cpu = True
    memory = True

    def __init__(self, base: Path) -> None:
        self._base = base

    @classmethod
    def detect(cls, instance: str, root: Path) -> "HierarchyV2 | None":
        """Return the hierarchy if cpu and memory can be enabled for groups of ours."""
        if not (root / "cgroup.controllers").exists():
            return None
        for parent in (root, _own_group(root)):
            base = parent / instance
            try:
                _enable(parent)
                base.mkdir(exist_ok=True)
                _enable(base)
                (base / "cpu.weight").write_text(str(min(10_000, 100 * WEIGHT_FACTOR)), encoding="ascii")
            except OSError as error:
                _log.info("control groups below %s cannot be used: %s", parent, error)
                continue
            return cls(base)
        return None

    def group(self, *path: str) -> GroupV2:
        """Return the group at `path`, made if need be; controllers are handed down on the way."""
        folder = self._base
        for name in path:
            _enable(folder)
            folder = folder / name
            folder.mkdir(exist_ok=True)
        return GroupV2(folder)

    def limited(self, limits: Limits, *path: str) -> GroupV2:
        """Return the group at `path`, made with `limits`."""
        group = self.group(*path)
        folder = self._base.joinpath(*path)
        if limits.cpu_cores is not None:
            (folder / "cpu.max").write_text(f"{quota_us(limits.cpu_cores)} {PERIOD_US}", encoding="ascii")
        if limits.memory_bytes is not None:
            (folder / "memory.max").write_text(str(int(limits.memory_bytes)), encoding="ascii")
            (folder / "memory.oom.group").write_text("1", encoding="ascii")
        return group

    def sweep(self) -> None:
        """Remove every group of this instance that holds no process."""
        _sweep(self._base)


def _own_group(root: Path) -> Path:
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        if line.startswith("0::"):
            return root / line[3:].lstrip("/")
    return root


def _enable(folder: Path) -> None:
    """Hand cpu and memory down to the children of `folder`; raises OSError where that is not allowed."""
    (folder / "cgroup.subtree_control").write_text("+cpu +memory", encoding="ascii")
