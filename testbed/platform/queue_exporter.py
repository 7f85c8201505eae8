"""The queue exporter: the state of the tool-call queue and its ledger, read from Redis at each scrape.

When Redis cannot be reached only ``queue_up 0`` is exported: a stale depth is never shown. It writes nothing to Redis.
Run: ``python -m testbed.platform.queue_exporter``.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from testbed.platform import jsonlog, queue_state, redis_link, serving
from testbed.platform.queue_state import QueueState
from testbed.platform.settings import Environment, HostPort

READ_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class ExporterSettings:
    """Configuration of the exporter."""

    bind_ip: str
    port: int
    redis_address: HostPort
    cache_s: float  # two scrapers within this time share one read

    @classmethod
    def from_env(cls, env: Environment) -> "ExporterSettings":
        """Read the settings; raises SettingsError."""
        return cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 8080),
            redis_address=env.host_port("REDIS_ADDRESS"),
            cache_s=env.number("EXPORTER_CACHE_S", 1.0, 0.0, 60.0),
        )


class QueueCollector:
    """Turns the last state that was read into metrics; ``state`` None means that Redis could not be read."""

    def __init__(self) -> None:
        self.state: QueueState | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; those whose value is not known are absent."""
        yield GaugeMetricFamily("queue_up", "1 when Redis was read.", value=float(self.state is not None))
        if self.state is None:
            return
        for name, (value, text) in gauges_of(self.state).items():
            if value is not None:
                yield GaugeMetricFamily(name, text, value=value)


def gauges_of(state: QueueState) -> dict[str, tuple[float | None, str]]:
    """Return value and help text by metric name; a value of None is not exported."""
    return {
        "queue_depth": (state.depth, "Tasks not yet finished (stream length)."),
        "queue_pending": (state.pending, "Tasks delivered and not acknowledged."),
        "queue_lag": (state.lag, "Tasks not yet delivered."),
        "queue_dead_letters": (state.dead_letters, "Entries of the dead letter stream."),
        "queue_oldest_task_age_seconds": (state.oldest_age_s, "Age of the oldest unfinished task; 0 when none."),
        "tasks_unique_enqueued": (state.enqueued, "Task ids enqueued since Redis started."),
        "tasks_unique_done": (state.done, "Task ids finished."),
        "tasks_unique_dead": (state.dead, "Task ids that became dead letters."),
        "tasks_unique_late": (state.late, "Task ids finished later than the objective."),
        "tasks_unique_lost": (state.lost, "Task ids that are neither finished, dead nor in the queue."),
        "tasks_duplicates": (state.duplicate, "Executions and enqueues beyond the first."),
    }


class Exporter:
    """Reads the queue when it is scraped, at most once in ``cache_s``."""

    def __init__(self, reader: queue_state.Reader, collector: QueueCollector, cache_s: float) -> None:
        self._read = reader
        self._collector = collector
        self._cache_s = cache_s
        self._read_at_s = float("-inf")
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Read the queue again unless the last read is young enough."""
        async with self._lock:
            if time.monotonic() - self._read_at_s < self._cache_s:
                return
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    self._collector.state = await self._read()
            except (redis_link.RedisError, TimeoutError) as error:
                self._collector.state = None
                jsonlog.log(logging.WARNING, "redis cannot be read", why=jsonlog.why(error))
            self._read_at_s = time.monotonic()


async def main(env: Environment) -> int:
    """Serve until told to stop."""
    settings = ExporterSettings.from_env(env)
    collector = QueueCollector()
    registry = CollectorRegistry()
    registry.register(collector)
    page = serving.metrics_page(registry)
    lifecycle = serving.Lifecycle()
    async with redis_link.connect(settings.redis_address, command_timeout_s=READ_TIMEOUT_S) as redis:
        exporter = Exporter(lambda: queue_state.read(redis), collector, settings.cache_s)

        async def metrics(request: web.Request) -> web.StreamResponse:
            await exporter.refresh()
            return await page(request)

        app = serving.application(lifecycle, metrics)
        return await serving.serve_until_stopped(app, lifecycle, settings.bind_ip, settings.port)


if __name__ == "__main__":
    serving.run("queue-exporter", main)
