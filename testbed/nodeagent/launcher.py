"""The agent's side of the zygote: launches container processes and learns how they end.

All processes of containers come from the zygote, so that entering control groups, sessions and death with the parent
are the same for all. When the zygote dies every process dies with it; the launcher says so and starts another one.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.nodeagent.zygote import MESSAGE_BYTES_MAX

_log = logging.getLogger(__name__)
REPLY_TIMEOUT_S = 30.0
LOST = -signal.SIGKILL


class LaunchError(Exception):
    """A command could not be started; shown as StartError."""


@dataclass(frozen=True)
class Launch:
    """What to start.

    Attributes:
        argv: command line, already expanded.
        env: the whole environment.
        cwd: working directory, which exists.
        groups: files of control groups into which the process writes itself before it runs the command.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Process:
    """A process that was started, leader of its own session.

    Attributes:
        pid: process id, also of its session and process group.
        exited: its exit status once it ended: the code, or minus the signal that killed it.
    """

    pid: int
    exited: "asyncio.Future[int]" = field(compare=False)

    @property
    def alive(self) -> bool:
        """Tell whether it has not been seen to end."""
        return not self.exited.done()


def runs_as_module(argv: Sequence[str]) -> bool:
    """Tell whether `argv` is `python -m MODULE ...`, which is forked without a new interpreter."""
    names = ("python", "python3", sys.executable)
    return len(argv) > 2 and argv[0] in names and argv[1] == "-m"  # noqa: PLR2004 - python, -m, MODULE


def resolve(argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Return `argv` with its program as a path.

    Raises:
        LaunchError: the program is not on the PATH of `env`.
    """
    found = shutil.which(argv[0], path=env.get("PATH", os.defpath))
    if found is None:
        raise LaunchError(f'exec: "{argv[0]}": executable file not found in $PATH of the container')
    return [found, *argv[1:]]


class Launcher:
    """Starts processes through one zygote."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._zygote: asyncio.subprocess.Process | None = None
        self._replies: dict[int, asyncio.Future[Process]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._sequence = 0
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the zygote."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        # GAMEDAY_POD marks everything that comes from here as a pod's, for the sweep of strays at the next start
        env = {**os.environ, "GAMEDAY_POD": "zygote", "PYTHONUNBUFFERED": "1"}
        argv = (sys.executable, "-m", "testbed.nodeagent.zygote", str(theirs.fileno()))
        self._zygote = await asyncio.create_subprocess_exec(
            *argv, env=env, pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self._control = ours
        asyncio.get_running_loop().add_reader(ours, self._readable, ours)

    async def close(self) -> None:
        """End the zygote, and with it every process that is left."""
        if self._control is not None and self._zygote is not None:
            self._disconnect()
            self._zygote.kill()
            await self._zygote.wait()

    async def launch(self, launch: Launch, output: int) -> Process:
        """Start a process whose output goes to the descriptor `output`, which is closed here.

        Raises:
            LaunchError: it cannot be started.
        """
        try:
            module = runs_as_module(launch.argv)
            argv = list(launch.argv) if module else resolve(launch.argv, launch.env)
            control = await self._connected()
            self._sequence += 1
            message = {"id": self._sequence, "argv": argv, "env": dict(launch.env), "cwd": launch.cwd}
            message |= {"groups": list(launch.groups), "module": module}
            reply = self._replies[self._sequence] = asyncio.get_running_loop().create_future()
            await _send(control, message, [output])
        finally:
            os.close(output)
        return await asyncio.wait_for(reply, REPLY_TIMEOUT_S)

    def signal(self, process: Process, number: int, *, whole_group: bool = False) -> None:
        """Send a signal to a process, or to its whole group, if it still lives."""
        if process.alive and self._control is not None:
            message = {"signal": int(number), "pid": process.pid, "whole_group": whole_group}
            try:
                self._control.send(json.dumps(message).encode())
            except BlockingIOError:  # too busy to take it; a signal must not be lost
                _send_directly(process.pid, number, whole_group=whole_group)

    async def _connected(self) -> socket.socket:
        async with self._starting:
            if self._control is None:
                await self.start()
        if self._control is None:
            raise LaunchError("the fork server could not be started")
        return self._control

    def _readable(self, control: socket.socket) -> None:
        while True:
            try:
                data = control.recv(MESSAGE_BYTES_MAX)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                _log.error("the fork server ended; every container process died with it")
                self._disconnect()
                return
            self._received(json.loads(data))

    def _received(self, message: dict[str, Any]) -> None:
        if "exit" in message:
            self._exits.pop(message["exit"]).set_result(message["status"])
            return
        reply = self._replies.pop(message["id"])
        if "error" in message:
            if not reply.done():
                reply.set_exception(LaunchError(message["error"]))
            return
        # Whole in the reply: a process that ends at once may be told to have ended before `launch` runs on.
        exited = self._exits[message["pid"]] = asyncio.get_running_loop().create_future()
        process = Process(message["pid"], exited)
        if reply.done():  # nobody waits for it any more, so it must not live on
            self.signal(process, signal.SIGKILL, whole_group=True)
        else:
            reply.set_result(process)

    def _disconnect(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(LaunchError("the fork server ended"))
        for exited in self._exits.values():
            exited.set_result(LOST)
        self._replies, self._exits = {}, {}


def _send_directly(pid: int, number: int, *, whole_group: bool) -> None:
    for send in [os.killpg, os.kill] if whole_group else [os.kill]:
        try:
            send(pid, number)
        except ProcessLookupError:
            continue  # it has just ended, or has no group of its own yet
        return


async def _send(control: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
    deadline_s = asyncio.get_running_loop().time() + REPLY_TIMEOUT_S
    data = json.dumps(message).encode()
    while True:
        try:
            socket.send_fds(control, [data], fds)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline_s:
                raise LaunchError("the fork server does not answer") from None
            await asyncio.sleep(0.005)
        except OSError as error:
            raise LaunchError(f"command line and environment of {len(data)} bytes: {error.strerror}") from error
        else:
            return
