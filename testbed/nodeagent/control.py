"""The agent's control port for `gameday testbed exec`: loopback only, a bearer token for everything but /healthz.

`POST /exec` takes `{"namespace", "pod", "container" (optional), "command": [...], "timeout_s" (optional)}` and answers
200 with one JSON object per line: `{"output": "<base64>"}` as the command writes, at last `{"exit_code": N}` or
`{"error": "..."}`. Before that, 400, 401, 404 and 409 carry `{"error": "..."}`. The command runs with the container's
environment, working directory and limits; its standard output and error are one stream.
"""

import asyncio
import base64
import json
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from aiohttp import web

from testbed.nodeagent.kubelet_server import find_container
from testbed.nodeagent.launcher import Launcher
from testbed.nodeagent.pod import Pod
from testbed.nodeagent.runtime import Attempt
from testbed.nodeagent.supervision import run_inside

EXEC_TIMEOUT_S_MAX = 3600.0
SHUTDOWN_S = 1.0


def make_token(path: Path) -> str:
    """Write a new random token to `path`, readable by its owner only, and return it."""
    token = secrets.token_urlsafe(32)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(token)
    return token


class ExecRequest:
    """A checked request to run a command.

    Raises:
        ValueError: something is missing or of another type.
    """

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise ValueError("the body must be a JSON object")
        self.namespace, self.pod = _text(body, "namespace"), _text(body, "pod")
        self.container = _text(body, "container") if body.get("container") else ""
        command = body.get("command")
        if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
            raise ValueError("command: give a non-empty list of texts")
        self.command: list[str] = command
        timeout_s = body.get("timeout_s", EXEC_TIMEOUT_S_MAX)
        if not isinstance(timeout_s, int | float) or not 0 < timeout_s <= EXEC_TIMEOUT_S_MAX:
            raise ValueError(f"timeout_s: give seconds above 0 and up to {EXEC_TIMEOUT_S_MAX:g}")
        self.timeout_s = float(timeout_s)


def _text(body: dict[object, object], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key}: give a text")
    return value


class ControlServer:
    """Serves the control port."""

    def __init__(self, port: int, token: str, launcher: Launcher, pods: Callable[[], Iterable[Pod]]) -> None:
        self._port, self._token, self._launcher, self._pods = port, token, launcher, pods
        self._runner: web.AppRunner | None = None
        self.ready = False

    async def open(self) -> None:
        """Listen on 127.0.0.1.

        Raises:
            OSError: the port cannot be had.
        """
        app = web.Application()
        app.add_routes([web.get("/healthz", self._healthz), web.post("/exec", self._exec)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def close(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        if self.ready:
            return web.Response(text="ok")
        return web.Response(status=503, text="nodes are not registered yet")

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return _refusal(401, "give the token of nodeagent.token as `Authorization: Bearer TOKEN`")
        try:
            wanted = ExecRequest(json.loads(await request.text()))
            container = find_container(self._pods(), wanted.namespace, wanted.pod, wanted.container)
        except ValueError as error:
            return _refusal(400, str(error))
        except LookupError as error:
            return _refusal(404, str(error.args[0]))
        if container.attempt is None:
            return _refusal(409, f"container {container.spec.name} of pod {wanted.pod} is not running")
        return await self._stream(request, container.attempt, wanted)

    async def _stream(self, request: web.Request, attempt: Attempt, wanted: ExecRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        running = asyncio.create_task(
            run_inside(self._launcher, attempt, wanted.command, wanted.timeout_s, chunks.put_nowait)
        )
        running.add_done_callback(lambda _: chunks.put_nowait(None))
        try:
            while (chunk := await chunks.get()) is not None:
                await response.write(_line({"output": base64.b64encode(chunk).decode()}))
            await response.write(_line(await _outcome(running, wanted.timeout_s)))
            await response.write_eof()
        finally:
            running.cancel()  # the reader left: the command goes too
        return response


async def _outcome(running: "asyncio.Task[tuple[int, bytes]]", timeout_s: float) -> dict[str, object]:
    try:
        code, _ = await running
    except TimeoutError:
        return {"error": f"the command took longer than {timeout_s:g} s and was killed"}
    except OSError as error:
        return {"error": str(error)}
    return {"exit_code": code}


def _line(message: dict[str, object]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
