"""The planner: ``POST /v1/plan`` costs CPU for each turn and enqueues the tool calls that the turn asks for.

It sheds with 503 + Retry-After when it is full, and answers 503 with the reason when tool calls were asked and Redis is
away. It never holds a request longer than its queue is long. Run: ``python -m testbed.platform.planner``.
"""

import logging
import time
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from testbed.platform import bodies, cpu_work, jsonlog, redis_link, serving
from testbed.platform.admission import Admission, Shed
from testbed.platform.settings import Environment, HostPort
from testbed.platform.tasks import Task, TaskQueue

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CODES = ("200", "400", "500", "503")
COMPLETION_TOKENS = 48


@dataclass(frozen=True)
class PlannerSettings:
    """Configuration of one planner process."""

    bind_ip: str
    port: int
    redis_address: HostPort
    cpu_ms_per_turn: float  # thread CPU time; the HTTP work round it comes on top
    concurrency_max: int
    queue_max: int  # requests that may wait for a slot; 16 are 0.5 s of work at a 400m CPU limit
    retry_after_s: int
    tool_calls_max: int

    @classmethod
    def from_env(cls, env: Environment) -> "PlannerSettings":
        """Read the settings; raises SettingsError."""
        return cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 8080),
            redis_address=env.host_port("REDIS_ADDRESS"),
            cpu_ms_per_turn=env.number("PLANNER_CPU_MS_PER_TURN", 9.5, 0, 1000),
            concurrency_max=env.integer("PLANNER_CONCURRENCY_MAX", 4, 1, 256),
            queue_max=env.integer("PLANNER_QUEUE_MAX", 16, 0, 10_000),
            retry_after_s=env.integer("PLANNER_RETRY_AFTER_S", 1, 1, 60),
            tool_calls_max=env.integer("PLANNER_TOOL_CALLS_MAX", 32, 0, 1000),
        )


class PlannerMetrics:
    """The planner's own counters; every label value exists from the start, so that a first error is an increase."""

    def __init__(self, registry: CollectorRegistry, admission: Admission) -> None:
        self.requests = Counter("planner_requests", "Turns answered, by code.", ["code"], registry=registry)
        self.duration = Histogram(
            "planner_request_duration_seconds", "Time to answer a turn.", buckets=BUCKETS_S, registry=registry
        )
        self.shed = Counter("planner_shed", "Turns refused because the planner was full.", registry=registry)
        self.tokens = Counter("planner_tokens", "Tokens, by kind.", ["kind"], registry=registry)
        self.enqueued = Counter("tasks_enqueued", "Tool calls appended to the queue.", registry=registry)
        self.queue_unavailable = Counter(
            "planner_queue_unavailable", "Turns whose tool calls the queue could not be given.", registry=registry
        )
        inflight = Gauge("planner_inflight", "Turns inside the planner, waiting ones too.", registry=registry)
        inflight.set_function(lambda: admission.inside)
        for code in CODES:
            self.requests.labels(code)
        for kind in ("prompt", "completion"):
            self.tokens.labels(kind)


class Planner:
    """Answers turns."""

    def __init__(self, settings: PlannerSettings, queue: TaskQueue, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._queue = queue
        self._admission = Admission(settings.concurrency_max, settings.queue_max)
        self._metrics = PlannerMetrics(registry, self._admission)

    async def plan(self, request: web.Request) -> web.Response:
        """``POST /v1/plan``: 200 with task ids and tokens, 400 for a bad body, 503 when full or Redis is away."""
        return await serving.counted(self._answer(request), self._metrics.requests, self._metrics.duration)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            turn = bodies.turn_of(await bodies.json_object(request), self._settings.tool_calls_max)
        except bodies.BadBody as error:
            return web.json_response({"error": "bad_request", "reason": str(error)}, status=400)
        try:
            async with self._admission.slot():
                return await self._run(turn)
        except Shed:
            self._metrics.shed.inc()
            return self._unavailable("overloaded", "all slots and the queue are taken")

    async def _run(self, turn: bodies.Turn) -> web.Response:
        await cpu_work.spend(self._settings.cpu_ms_per_turn / 1000)
        tasks = tasks_of(turn, now_ms=int(time.time() * 1000))
        if tasks:
            try:
                self._metrics.enqueued.inc(await self._queue.enqueue(tasks))
            except redis_link.RedisError as error:
                self._metrics.queue_unavailable.inc()
                jsonlog.log(
                    logging.WARNING,
                    "enqueue failed",
                    conversation_id=turn.conversation_id,
                    turn=turn.turn,
                    why=jsonlog.why(error),
                )
                return self._unavailable("queue_unavailable", "the tool-call queue cannot be reached")
        return self._planned(turn, [task.task_id for task in tasks])

    def _planned(self, turn: bodies.Turn, task_ids: list[str]) -> web.Response:
        tokens = {"prompt": bodies.tokens_of(turn.payload), "completion": COMPLETION_TOKENS}
        for kind, count in tokens.items():
            self._metrics.tokens.labels(kind).inc(count)
        jsonlog.log(logging.DEBUG, "planned", conversation_id=turn.conversation_id, turn=turn.turn, tasks=len(task_ids))
        answer = {"conversation_id": turn.conversation_id, "turn": turn.turn, "task_ids": task_ids, "tokens": tokens}
        return web.json_response(answer)

    def _unavailable(self, error: str, reason: str) -> web.Response:
        headers = {"Retry-After": str(self._settings.retry_after_s)}
        return web.json_response({"error": error, "reason": reason}, status=503, headers=headers)


def tasks_of(turn: bodies.Turn, now_ms: int) -> list[Task]:
    """Return the turn's tool calls; the same turn always gives the same task ids."""
    prefix = f"{turn.conversation_id}:{turn.turn}"
    return [Task(f"{prefix}:{i}", turn.conversation_id, turn.turn, now_ms) for i in range(turn.tool_calls)]


async def main(env: Environment) -> int:
    """Serve until told to stop."""
    settings = PlannerSettings.from_env(env)
    registry = CollectorRegistry()
    lifecycle = serving.Lifecycle()
    async with redis_link.connect(settings.redis_address) as redis:
        planner = Planner(settings, TaskQueue(redis), registry)
        app = serving.application(lifecycle, serving.metrics_page(registry))
        app.router.add_post("/v1/plan", planner.plan)
        serving.name_pod(app, env)
        return await serving.serve_until_stopped(app, lifecycle, settings.bind_ip, settings.port)


if __name__ == "__main__":
    serving.run("planner", main)
