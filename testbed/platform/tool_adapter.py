"""The tool adapter: takes tool calls from the queue, calls the tool for each, and marks them done.

An entry is acknowledged only in the step that counts its task as done, so a crash leaves it pending and another adapter
takes it over; a task that was delivered too often becomes a dead letter. It outlives Redis restarts (bounded back-off).
It must never hold more entries than it is working on. Run: ``python -m testbed.platform.tool_adapter``.
"""

import asyncio
import logging
import time
import zlib
from dataclasses import dataclass

from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from redis.backoff import ExponentialWithJitterBackoff

from testbed.platform import jsonlog, redis_link, serving
from testbed.platform.settings import Environment, HostPort, SettingsError
from testbed.platform.tasks import Delivery, TaskQueue
from testbed.platform.tool_calls import ToolApiSettings, ToolCallError, ToolClient

BLOCK_MS = 1000
BACKOFF = ExponentialWithJitterBackoff(cap=2.0, base=0.1)
STALLED_S_MAX = 60.0
BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class AdapterSettings:
    """Configuration of one adapter process.

    One adapter does ``concurrency * 1000 / (latency_ms + the tool API's)`` tasks a second.
    """

    bind_ip: str
    port: int
    redis_address: HostPort
    consumer: str
    latency_ms: int
    concurrency: int
    failure_ratio: float  # share of attempts that fail, chosen by task id and attempt: the same in every run
    deliveries_max: int
    claim_idle_ms: int  # a pending entry older than this is taken over; must exceed the longest honest tool call
    claim_interval_s: float
    late_after_s: float  # the objective for the age of a finished task
    tool_api: ToolApiSettings | None  # None: a tool is only its latency

    @classmethod
    def from_env(cls, env: Environment) -> "AdapterSettings":
        """Read the settings; raises SettingsError."""
        settings = cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 8080),
            redis_address=env.host_port("REDIS_ADDRESS"),
            consumer=env.text("POD_NAME"),
            latency_ms=env.integer("TOOL_LATENCY_MS", 200, 0, 600_000),
            concurrency=env.integer("TOOL_CONCURRENCY", 4, 1, 256),
            failure_ratio=env.number("TOOL_FAILURE_RATIO", 0.0, 0.0, 1.0),
            deliveries_max=env.integer("TASK_DELIVERIES_MAX", 5, 1, 100),
            claim_idle_ms=env.integer("TASK_CLAIM_IDLE_MS", 5000, 100, 3_600_000),
            claim_interval_s=env.number("TASK_CLAIM_INTERVAL_S", 2.0, 0.05, 600),
            late_after_s=env.number("TASK_LATE_AFTER_S", 300, 1, 86_400),
            tool_api=ToolApiSettings.from_env(env),
        )
        settings._refuse_early_takeover()
        return settings

    def _refuse_early_takeover(self) -> None:
        call_ms = self.tool_api.longest_ms if self.tool_api else 0
        if self.claim_idle_ms < 2 * self.latency_ms + call_ms:
            raise SettingsError(
                f"TASK_CLAIM_IDLE_MS={self.claim_idle_ms} must be at least twice TOOL_LATENCY_MS={self.latency_ms}"
                f"{f' and the {call_ms} ms of TOOL_API_BUDGET_S + TOOL_API_TIMEOUT_S' if call_ms else ''}: "
                "else healthy work is taken over"
            )


class AdapterMetrics:
    """The adapter's own counters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter("tasks_started", "Attempts begun.", registry=registry)
        self.done = Counter("tasks_done", "Tasks finished and counted for the first time.", registry=registry)
        self.failed = Counter("tasks_failed", "Attempts that failed; the task stays pending.", registry=registry)
        self.duplicate = Counter("tasks_duplicate", "Attempts that finished a finished task.", registry=registry)
        self.dead = Counter("tasks_dead", "Tasks moved to the dead letters.", registry=registry)
        self.late = Counter("tasks_late", "Tasks finished later than the objective.", registry=registry)
        self.reclaimed = Counter("tasks_reclaimed", "Entries taken over from a silent consumer.", registry=registry)
        self.running = Gauge("tasks_running", "Attempts in progress.", registry=registry)
        self.age = Histogram("task_age_at_done_seconds", "Enqueued to done.", buckets=BUCKETS_S, registry=registry)


@dataclass(frozen=True)
class Means:
    """Where the adapter counts, and how it calls tools; None where a tool is only its latency."""

    registry: CollectorRegistry
    tool: ToolClient | None


class ToolAdapter:
    """Consumes the queue until told to stop, then finishes what it holds."""

    def __init__(
        self, settings: AdapterSettings, queue: TaskQueue, lifecycle: serving.Lifecycle, means: "Means"
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._lifecycle = lifecycle
        self._tool = means.tool
        self._metrics = AdapterMetrics(means.registry)
        self._metrics.running.set_function(lambda: len(self._running))
        self._running: dict[str, asyncio.Task[None]] = {}
        self._passed_at_s = time.monotonic()
        self._reclaim_at_s = 0.0

    def stalled(self) -> str | None:
        """Return why the consuming loop counts as dead, or None."""
        silent_s = time.monotonic() - self._passed_at_s
        return f"no pass of the consuming loop for {silent_s:.0f} s" if silent_s > STALLED_S_MAX else None

    async def run(self) -> None:
        """Consume until told to stop; Redis being away only slows this down."""
        failures = 0
        declared = False
        while not self._lifecycle.stopping.is_set():
            self._passed_at_s = time.monotonic()
            try:
                if not declared:
                    await self._queue.declare()
                    declared = True
                await self._pass()
                failures = 0
            except redis_link.RedisError as error:
                declared = False
                failures += 1
                delay_s = BACKOFF.compute(failures)
                jsonlog.log(
                    logging.WARNING,
                    "queue unreachable",
                    why=jsonlog.why(error),
                    failures=failures,
                    retry_in_s=round(delay_s, 2),
                )
                await self._lifecycle.pause(delay_s)
        await self._drain()

    async def _pass(self) -> None:
        """Take over stale entries when it is time, else read new ones, as many as there are free slots."""
        free = self._settings.concurrency - len(self._running)
        if free == 0:
            await asyncio.wait(self._running.values(), timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            return
        if time.monotonic() >= self._reclaim_at_s:
            self._reclaim_at_s = time.monotonic() + self._settings.claim_interval_s
            await self._take_over(free)
            return
        for delivery in await self._queue.read(free, BLOCK_MS):
            self._start(delivery)

    async def _take_over(self, count: int) -> None:
        for delivery in await self._queue.reclaim(self._settings.claim_idle_ms, count):
            if delivery.entry_id in self._running:
                continue
            self._metrics.reclaimed.inc()
            jsonlog.log(logging.INFO, "task taken over", task_id=delivery.task.task_id, deliveries=delivery.deliveries)
            if delivery.deliveries > self._settings.deliveries_max:
                await self._bury(delivery)
            else:
                self._start(delivery)

    def _start(self, delivery: Delivery) -> None:
        self._metrics.started.inc()
        attempt = asyncio.create_task(self._attempt(delivery), name=delivery.task.task_id)
        self._running[delivery.entry_id] = attempt
        attempt.add_done_callback(lambda _: self._running.pop(delivery.entry_id, None))

    async def _attempt(self, delivery: Delivery) -> None:
        await asyncio.sleep(self._settings.latency_ms / 1000)
        task = delivery.task
        if why := await self._failure(delivery):
            self._metrics.failed.inc()
            jsonlog.log(
                logging.WARNING, "tool call failed", task_id=task.task_id, deliveries=delivery.deliveries, why=why
            )
            return
        try:
            completion = await self._queue.complete(delivery)
        except redis_link.RedisError as error:
            # The entry stays pending and is taken over; the ledger makes a second execution a duplicate.
            self._metrics.failed.inc()
            jsonlog.log(logging.WARNING, "completion not stored", task_id=task.task_id, why=jsonlog.why(error))
            return
        self._count(delivery, completion.outcome, completion.age_ms)

    async def _failure(self, delivery: Delivery) -> str:
        """Call the tool; return why that failed, empty when it did not. A failed task stays pending."""
        if attempt_fails(delivery, self._settings.failure_ratio):
            return "by TOOL_FAILURE_RATIO"
        if self._tool is None:
            return ""
        try:
            await self._tool.call(delivery.task.task_id)
        except ToolCallError as error:
            return str(error)
        return ""

    def _count(self, delivery: Delivery, outcome: str, age_ms: int) -> None:
        if outcome == "duplicate":
            self._metrics.duplicate.inc()
        else:
            self._metrics.done.inc()
            self._metrics.age.observe(age_ms / 1000)
        if outcome == "late":
            self._metrics.late.inc()
        level = logging.DEBUG if outcome == "done" else logging.WARNING
        jsonlog.log(level, f"task {outcome}", task_id=delivery.task.task_id, age_ms=age_ms)

    async def _bury(self, delivery: Delivery) -> None:
        if await self._queue.bury(delivery):
            self._metrics.dead.inc()
            jsonlog.log(
                logging.ERROR, "task is a dead letter", task_id=delivery.task.task_id, deliveries=delivery.deliveries
            )

    async def _drain(self) -> None:
        if self._running:
            await asyncio.wait(self._running.values(), timeout=serving.DRAIN_S_MAX)
        try:
            await self._queue.leave()
        except redis_link.RedisError as error:
            jsonlog.log(logging.WARNING, "did not leave the group", why=jsonlog.why(error))
        jsonlog.log(logging.INFO, "drained", left=len(self._running))


def attempt_fails(delivery: Delivery, failure_ratio: float) -> bool:
    """Whether this attempt fails: a fixed function of task id and attempt, uniform over ``failure_ratio``."""
    key = f"{delivery.task.task_id}:{delivery.deliveries}".encode()
    return zlib.crc32(key) / 2**32 < failure_ratio


async def main(env: Environment) -> int:
    """Consume until told to stop, then finish what is in progress."""
    settings = AdapterSettings.from_env(env)
    registry = CollectorRegistry()
    lifecycle = serving.Lifecycle()
    async with redis_link.connect(settings.redis_address) as redis, ClientSession() as session:
        queue = TaskQueue(redis, settings.consumer, int(settings.late_after_s * 1000))
        tool = ToolClient(settings.tool_api, session, registry) if settings.tool_api else None
        adapter = ToolAdapter(settings, queue, lifecycle, Means(registry, tool))
        lifecycle.dead_reason = adapter.stalled
        app = serving.application(lifecycle, serving.metrics_page(registry))
        runner = await serving.start(app, settings.bind_ip, settings.port)
        lifecycle.watch_signals()
        await adapter.run()
        await runner.cleanup()
    return serving.EXIT_OK


if __name__ == "__main__":
    serving.run("tool-adapter", main)
