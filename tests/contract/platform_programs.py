"""The platform's programs as processes on loopback, for the contract tests."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout
from prometheus_client.parser import text_string_to_metric_families

WAIT_S_MAX = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A running program of the platform."""

    def __init__(self, module: str, redis_port: int, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        values = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "BIND_IP": "127.0.0.1",
            "PORT": str(self.port),
            "POD_NAME": module,
            "POD_NAMESPACE": "agents",
            "REDIS_ADDRESS": f"127.0.0.1:{redis_port}",
        }
        command = [sys.executable, "-m", f"testbed.platform.{module}"]
        self.process = subprocess.Popen(
            command, env=values | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def terminated(self) -> tuple[int, str]:
        """Send SIGTERM and return exit status and output."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=WAIT_S_MAX)
        return self.process.returncode, output


@contextmanager
def started(module: str, redis_port: int, **env: str) -> Iterator[Program]:
    program = Program(module, redis_port, **env)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
        if program.process.stdout:
            program.process.stdout.close()
        program.process.wait(timeout=10)


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not await condition():
        assert time.monotonic() < deadline, "condition not met in time"
        await asyncio.sleep(0.05)


async def ready(session: ClientSession, program: Program) -> None:
    async def answers() -> bool:
        assert program.process.poll() is None, "the program ended"
        try:
            async with session.get(f"{program.url}/readyz") as response:
                return response.status == 200
        except ClientConnectionError:
            return False

    await eventually(answers)


async def samples(session: ClientSession, program: Program) -> dict[str, float]:
    """Return the samples of /metrics by name and label values."""
    async with session.get(f"{program.url}/metrics") as response:
        text = await response.text()
    return {
        ".".join([s.name, *s.labels.values()]): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def session_of() -> ClientSession:
    return ClientSession(timeout=ClientTimeout(total=15))
