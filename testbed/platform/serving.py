"""What every serving program shares: start, probes, metrics page, and a drain when it is told to stop.

Stopping (SIGTERM, SIGINT): not ready any more, the listening socket closes, requests in flight finish, exit 0.
No program's own logic belongs here.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from testbed.platform import jsonlog
from testbed.platform.settings import Environment, SettingsError

EXIT_OK = 0
EXIT_BAD_SETTINGS = 1
REQUEST_BYTES_MAX = 256 * 1024
DRAIN_S_MAX = 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Program = Callable[[Environment], Coroutine[Any, Any, int]]


async def counted(answer: Awaitable[web.Response], requests: Counter, duration: Histogram) -> web.Response:
    """Wait for an answer; count it by its code (500 where it raises) and observe how many seconds it took."""
    started = time.perf_counter()
    code = 500
    try:
        response = await answer
        code = response.status
    finally:
        requests.labels(str(code)).inc()
        duration.observe(time.perf_counter() - started)
    return response


class Lifecycle:
    """Whether this process is ready, alive, and asked to stop."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.unready_reason: str | None = None
        self.dead_reason: Callable[[], str | None] = lambda: None

    def watch_signals(self) -> None:
        """Turn SIGTERM and SIGINT into ``stopping``."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)

    async def pause(self, seconds: float) -> None:
        """Wait ``seconds``, or less when the process is asked to stop."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return

    async def healthz(self, _request: web.Request) -> web.Response:
        """Liveness: 200 while the program's own loop makes progress."""
        reason = self.dead_reason()
        return web.Response(text=reason or "ok", status=503 if reason else 200)

    async def readyz(self, _request: web.Request) -> web.Response:
        """Readiness: 503 while starting or stopping, with the reason."""
        reason = "stopping" if self.stopping.is_set() else self.unready_reason
        return web.Response(text=reason or "ok", status=503 if reason else 200)


def metrics_page(registry: CollectorRegistry) -> Handler:
    """Return the handler of ``GET /metrics``."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return metrics


def application(lifecycle: Lifecycle, metrics: Handler) -> web.Application:
    """Return an application with the probe and metrics routes; the program adds its own."""
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app.router.add_get("/healthz", lifecycle.healthz)
    app.router.add_get("/readyz", lifecycle.readyz)
    app.router.add_get("/metrics", metrics)
    return app


def name_pod(app: web.Application, env: Environment) -> None:
    """Let every answer say which pod gave it, in the header ``X-Gameday-Pod``; without POD_NAME there is no header."""
    pod = env.text("POD_NAME", "")

    async def add_header(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Gameday-Pod"] = pod

    if pod:
        app.on_response_prepare.append(add_header)


async def start(app: web.Application, bind_ip: str, port: int) -> web.AppRunner:
    """Listen on ``bind_ip:port``; raises SettingsError when the address cannot be bound."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=DRAIN_S_MAX)
    await runner.setup()
    try:
        await web.TCPSite(runner, bind_ip, port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingsError(f"cannot listen on {bind_ip}:{port}: {error.strerror or error}") from error
    jsonlog.log(logging.INFO, "listening", address=f"{bind_ip}:{port}")
    return runner


async def serve_until_stopped(app: web.Application, lifecycle: Lifecycle, bind_ip: str, port: int) -> int:
    """Serve until told to stop, then drain (at most DRAIN_S_MAX seconds); returns the exit status."""
    runner = await start(app, bind_ip, port)
    lifecycle.watch_signals()
    await lifecycle.stopping.wait()
    jsonlog.log(logging.INFO, "draining")
    await runner.cleanup()
    jsonlog.log(logging.INFO, "stopped")
    return EXIT_OK


def run(name: str, program: Program) -> NoReturn:
    """Run ``program`` with this process's environment and exit with its status; bad settings exit 1."""
    _exit_with(name, lambda env: asyncio.run(program(env)))


def run_launcher(name: str, launch: Callable[[Environment], NoReturn]) -> NoReturn:
    """Let ``launch`` replace this process by another program; bad settings exit 1."""
    _exit_with(name, launch)


def _exit_with(name: str, main: Callable[[Environment], int]) -> NoReturn:
    try:
        env = Environment(os.environ)
        jsonlog.configure(name, env)
        status = main(env)
    except SettingsError as error:
        sys.stderr.write(f"{name}: {error}\n")
        status = EXIT_BAD_SETTINGS
    sys.exit(status)
