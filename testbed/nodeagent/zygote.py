"""The fork server from which every container process of an instance comes.

It imports what the platform's Python programs need once and freezes it, so that `python -m MODULE` costs a fork (some
milliseconds, few private pages) instead of an interpreter start; any other command is exec'd after the fork. One
request per datagram on a SOCK_SEQPACKET socket, with the write end of the output pipe beside it. It must stay
single-threaded and must open nothing that a child could inherit by accident.

Messages in: {"id", "argv", "env", "cwd", "groups", "module"} or {"signal", "pid", "whole_group"}.
Messages out: {"id", "pid"} or {"id", "error"}; {"exit", "status"} with status as os.waitstatus_to_exitcode gives it.
"""

import ctypes
import gc
import io
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
MESSAGE_BYTES_MAX = 1 << 20
REPOSITORY = Path(__file__).resolve().parents[2]
_LIBC = ctypes.CDLL(None, use_errno=True)
_START_FAILED = 128
DESCRIPTORS_MAX = 1024
"""No descriptor of the zygote is above: it opens six."""


def warm_up() -> None:
    """Import what programs of the platform use, before the first fork."""
    import asyncio  # noqa: F401, PLC0415 - imported for the children
    import logging.config  # noqa: F401, PLC0415
    import ssl  # noqa: F401, PLC0415
    import uuid  # noqa: F401, PLC0415

    import aiohttp.web  # noqa: F401, PLC0415
    import jinja2  # noqa: F401, PLC0415
    import prometheus_client  # noqa: F401, PLC0415
    import redis.asyncio  # noqa: F401, PLC0415
    import yaml  # noqa: F401, PLC0415

    gc.collect()
    gc.freeze()


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; leave at once if that has happened already."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(_START_FAILED)


class Zygote:
    """Serves launch and signal requests until its socket closes."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)

    def serve(self) -> dict[str, Any] | None:
        """Answer requests; return None when the agent is gone, and in a child the request that it must become."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == self._wake_read:
                        self._reap()
                        continue
                    data, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES_MAX, 1)
                    if not data:
                        return None
                    child = self._handle(json.loads(data), fds)
                    if child is not None:
                        return child

    def _handle(self, message: dict[str, Any], fds: list[int]) -> dict[str, Any] | None:
        if "signal" in message:
            self._send_signal(message)
            return None
        return self._fork(message, fds[0])

    def _fork(self, message: dict[str, Any], output: int) -> dict[str, Any] | None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(output)
            self._reply({"id": message["id"], "error": f"fork: {error.strerror}"})
            return None
        if pid == 0:
            die_with(parent)
            return {**message, "output": output}
        os.close(output)
        self._children.add(pid)
        self._reply({"id": message["id"], "pid": pid})
        return None

    def _send_signal(self, message: dict[str, Any]) -> None:
        """Only a child that was not reaped yet is signalled, so a reused process id never is."""
        pid = message["pid"]
        if pid not in self._children:
            return
        if message["whole_group"] and _signal_group(pid, message["signal"]):
            return
        try:
            os.kill(pid, message["signal"])  # a child that has not yet made its own group has no children either
        except ProcessLookupError:
            return  # it is between exit and reaping

    def _reap(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass
        while (pid := _ended_child()) is not None:
            # its group goes first: while the leader is unreaped nobody else can have the group's number
            _signal_group(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            self._children.discard(pid)
            self._reply({"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def _reply(self, message: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode())


def _ended_child() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _signal_group(group: int, number: int) -> bool:
    """Signal a process group; False when it has no member that can be signalled."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def become(request: dict[str, Any]) -> None:
    """Turn this freshly forked process into the container's command."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _redirect(request["output"])
    for procs in request["groups"]:
        Path(procs).write_text("0", encoding="ascii")
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    argv = request["argv"]
    if request["module"]:
        _run_module(argv)
    else:
        _execute(argv)


def _redirect(output: int) -> None:
    """Standard streams: nothing to read, everything written goes to the pipe; every other descriptor is closed."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, DESCRIPTORS_MAX)


def _run_module(argv: list[str]) -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    _LIBC.prctl(PR_SET_NAME, argv[2].rpartition(".")[2].encode()[:15], 0, 0, 0)
    sys.path[:0] = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.argv = argv[2:]
    sys.modules.pop(argv[2], None)  # imported for everybody, but to be run here
    runpy.run_module(argv[2], run_name="__main__", alter_sys=True)


def _execute(argv: list[str]) -> NoReturn:
    # Python ignores SIGPIPE, and what is ignored stays ignored over an exec
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, os.environ)  # noqa: S606 - no shell: the container's own command line
    except OSError as error:
        os.write(2, f"exec {argv[0]}: {error.strerror}\n".encode())
        os._exit(_START_FAILED)


def main() -> None:
    """Serve; in a child, leave only by becoming the command."""
    die_with(os.getppid())
    if str(REPOSITORY) not in sys.path:
        sys.path.insert(0, str(REPOSITORY))
    warm_up()
    control = socket.socket(fileno=int(sys.argv[1]))
    request = Zygote(control).serve()
    if request is None:
        return
    control.detach()  # its number is closed, and may be reused, in _redirect
    try:
        become(request)
    except Exception:  # the outermost frame of a child: told in full where its output goes
        traceback.print_exc()
        sys.exit(1)


if __name__ == "__main__":
    main()
