"""The tool API's double: ``POST /v1/tool`` stands for the outside service that tools call.

It answers after a fixed latency and never refuses: rate limits, errors and delays are the gateway's faults in front of
it. Adapters reach it through the gateway only. Run: ``python -m testbed.platform.tool_api``.
"""

import asyncio
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram

from testbed.platform import bodies, serving
from testbed.platform.settings import Environment

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CODES = ("200", "400", "500")


@dataclass(frozen=True)
class ToolApiSettings:
    """Configuration of one process of the double."""

    bind_ip: str
    port: int
    latency_ms: int

    @classmethod
    def from_env(cls, env: Environment) -> "ToolApiSettings":
        """Read the settings; raises SettingsError."""
        return cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 8080),
            latency_ms=env.integer("TOOL_API_LATENCY_MS", 50, 0, 60_000),
        )


class ToolApi:
    """Answers tool calls."""

    def __init__(self, settings: ToolApiSettings, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._served = Counter("tool_api_served", "Tool calls answered, by code.", ["code"], registry=registry)
        self._duration = Histogram(
            "tool_api_serve_duration_seconds", "Time to answer.", buckets=BUCKETS_S, registry=registry
        )
        for code in CODES:
            self._served.labels(code)

    async def tool(self, request: web.Request) -> web.Response:
        """``POST /v1/tool``: 200 with the task's id, 400 for a bad body."""
        return await serving.counted(self._answer(request), self._served, self._duration)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            task_id = bodies.tool_call_of(await bodies.json_object(request))
        except bodies.BadBody as error:
            return web.json_response({"error": "bad_request", "reason": str(error)}, status=400)
        await asyncio.sleep(self._settings.latency_ms / 1000)
        return web.json_response({"task_id": task_id, "result": "done"})


async def main(env: Environment) -> int:
    """Serve until told to stop."""
    settings = ToolApiSettings.from_env(env)
    registry = CollectorRegistry()
    lifecycle = serving.Lifecycle()
    app = serving.application(lifecycle, serving.metrics_page(registry))
    app.router.add_post("/v1/tool", ToolApi(settings, registry).tool)
    serving.name_pod(app, env)
    return await serving.serve_until_stopped(app, lifecycle, settings.bind_ip, settings.port)


if __name__ == "__main__":
    serving.run("tool-api", main)
