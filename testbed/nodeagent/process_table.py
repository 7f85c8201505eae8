"""What /proc tells: members of a session, their CPU and memory, who holds a listening socket, strays of an old agent.

Every function walks /proc or parts of it, so it is called when something changes or when a scrape asks, never on a
timer.
"""

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import psutil

_log = logging.getLogger(__name__)
_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"
MARK = "GAMEDAY_TESTBED"
POD_MARK = "GAMEDAY_POD"


@dataclass(frozen=True)
class Usage:
    """CPU seconds ever used, and the working set in bytes."""

    cpu_s: float
    memory_bytes: int


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir(_PROC) if entry.isdecimal())


def _stat(pid: int) -> list[str] | None:
    """Return the fields of `/proc/PID/stat` after the name (proc(5) counts them from 3), None if it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def session_members(sessions: Iterable[int]) -> dict[int, list[int]]:
    """Return the living processes of each session, in one walk."""
    members: dict[int, list[int]] = {session: [] for session in sessions}
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None and fields[0] not in "ZX" and int(fields[3]) in members:
            members[int(fields[3])].append(pid)
    return members


def usage(pids: Iterable[int]) -> Usage:
    """Return what processes used: CPU with that of children they reaped; memory by PSS, since forks share pages."""
    cpu_s, memory_bytes = 0.0, 0
    for pid in pids:
        fields = _stat(pid)
        if fields is not None:
            cpu_s += sum(int(ticks) for ticks in fields[11:15]) / _TICKS_PER_S
            memory_bytes += _pss_bytes(pid)
    return Usage(cpu_s, memory_bytes)


def _pss_bytes(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def listening_inodes(address: str, port: int, table: str) -> set[str]:
    """Return the sockets in `table` (the text of /proc/net/tcp) that take connections to `address`:`port`."""
    # addresses are printed as the CPU holds them: least significant byte first on x86 and arm
    hosts = {int.from_bytes(IPv4Address(host).packed, "little") for host in (address, "0.0.0.0")}  # noqa: S104 - no bind
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        host, _, number = fields[1].partition(":")
        if fields[3] == _LISTEN and int(number, 16) == port and int(host, 16) in hosts:
            found.add(fields[9])
    return found


def listens(pids: Iterable[int], address: str, port: int) -> bool:
    """Tell whether one of `pids` holds a socket that takes connections to `address`:`port` (IPv4, or IPv6 for all)."""
    inodes = listening_inodes(address, port, (_PROC / "net" / "tcp").read_text(encoding="ascii"))
    inodes |= _any_address_v6(port)
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return any(not wanted.isdisjoint(_descriptors(pid)) for pid in pids)


def _any_address_v6(port: int) -> set[str]:
    path = _PROC / "net" / "tcp6"
    if not path.exists():
        return set()
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines()[1:])
    ends = ((fields, fields[1].partition(":")) for fields in lines)
    return {
        fields[9]
        for fields, (host, _, number) in ends
        if fields[3] == _LISTEN and int(number, 16) == port and not host.strip("0")
    }


def _descriptors(pid: int) -> set[str]:
    folder = _PROC / str(pid) / "fd"
    found = set()
    try:
        for entry in os.listdir(folder):
            found.add(os.readlink(folder / entry))
    except (FileNotFoundError, ProcessLookupError):
        return found  # it ended, or closed a descriptor, while we looked
    return found


def strays(mark: str) -> list[psutil.Process]:
    """Return the processes that an earlier agent of the same boot left: the instance's mark, and the pod mark."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:  # gone, a zombie, or another user's: none of ours
            continue
        if environment.get(MARK) == mark and POD_MARK in environment and process.pid != os.getpid():
            found.append(process)
    return found


def kill_strays(mark: str) -> int:
    """SIGKILL what an earlier agent left; return how many processes that were."""
    found = strays(mark)
    for process in found:
        _log.warning("killing stray process %d (%s)", process.pid, process.name())
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(found, timeout=5)
    return len(found)
