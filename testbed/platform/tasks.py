"""The tool-call queue: a Redis stream with a consumer group, and the ledger that finds lost, duplicated and late tasks.

Delivery is at least once; the ledger counts each task id once (see ``task_scripts``). Every method raises
``redis.exceptions.RedisError`` when Redis cannot be reached; nothing here retries or sleeps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from testbed.platform import task_scripts

STREAM = "tool-tasks"
GROUP = "adapters"
DEAD_STREAM = "tool-tasks-dead"
DEAD_LENGTH_MAX = 10_000
LEDGER_TTL_S = 24 * 3600

ENQUEUED, DONE, DEAD = "tasks:enqueued", "tasks:done", "tasks:dead"
DUPLICATE, LATE, OPEN = "tasks:duplicate", "tasks:late", "tasks:open"


@dataclass(frozen=True)
class Task:
    """One tool call. ``task_id`` is ``conversation:turn:index``, the key of its idempotence."""

    task_id: str
    conversation_id: str
    turn: int
    enqueued_at_ms: int


@dataclass(frozen=True)
class Delivery:
    """One delivery of a task to one consumer; ``deliveries`` counts from 1."""

    entry_id: str
    task: Task
    deliveries: int = 1


@dataclass(frozen=True)
class Completion:
    """What the ledger said: outcome ``done``, ``late``, ``duplicate`` or ``unknown``, and the task's age."""

    outcome: str
    age_ms: int


class TaskQueue:
    """The stream, its group and the ledger, as seen by one consumer or producer."""

    def __init__(self, redis: Redis, consumer: str = "-", late_after_ms: int = 300_000) -> None:
        self._redis = redis
        self._consumer = consumer
        self._late_after_ms = late_after_ms
        self._enqueue = redis.register_script(task_scripts.ENQUEUE)
        self._complete = redis.register_script(task_scripts.COMPLETE)
        self._dead_letter = redis.register_script(task_scripts.DEAD_LETTER)

    async def declare(self) -> None:
        """Create the stream and the group if they are missing; the group starts at the stream's beginning."""
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def enqueue(self, tasks: Sequence[Task]) -> int:
        """Append ``tasks`` in one step and return how many were new; a known task id is not appended again.

        The first task of a fresh Redis makes the group too.
        """
        args: list[str | int] = [LEDGER_TTL_S, GROUP]
        for task in tasks:
            args += [task.task_id, task.conversation_id, task.turn, task.enqueued_at_ms]
        return int(await self._enqueue(keys=[STREAM, OPEN, ENQUEUED, DUPLICATE], args=args))

    async def read(self, count: int, block_ms: int) -> list[Delivery]:
        """Return up to ``count`` entries that no consumer has had, waiting at most ``block_ms``."""
        reply = await self._redis.xreadgroup(GROUP, self._consumer, {STREAM: ">"}, count=count, block=block_ms)
        return [_delivery(entry_id, fields) for entry_id, fields in _entries(reply)]

    async def reclaim(self, min_idle_ms: int, count: int) -> list[Delivery]:
        """Take over up to ``count`` entries whose consumer has not finished them for ``min_idle_ms``."""
        reply = await self._redis.xautoclaim(
            STREAM, GROUP, self._consumer, min_idle_time=min_idle_ms, start_id="0-0", count=count
        )
        claimed = [(entry_id, fields) for entry_id, fields in reply[1] if fields]
        if not claimed:
            return []
        counts = await self._delivery_counts(claimed[0][0], claimed[-1][0])
        return [_delivery(entry_id, fields, counts.get(entry_id, 1)) for entry_id, fields in claimed]

    async def complete(self, delivery: Delivery) -> Completion:
        """Count the task as done, acknowledge and remove its entry, in one step."""
        outcome, age_ms = await self._complete(
            keys=[STREAM, OPEN, DONE, DUPLICATE, LATE],
            args=[LEDGER_TTL_S, GROUP, delivery.entry_id, delivery.task.task_id, self._late_after_ms],
        )
        return Completion(str(outcome), int(age_ms))

    async def bury(self, delivery: Delivery) -> bool:
        """Move a task that was delivered too often to the dead letters; False when it was finished meanwhile."""
        args: list[str | int] = [
            LEDGER_TTL_S,
            GROUP,
            delivery.entry_id,
            delivery.task.task_id,
            delivery.deliveries,
            DEAD_LENGTH_MAX,
        ]
        return bool(await self._dead_letter(keys=[STREAM, OPEN, DEAD, DEAD_STREAM], args=args))

    async def leave(self) -> None:
        """Remove this consumer from the group, unless entries are still pending under its name."""
        for consumer in await self._redis.xinfo_consumers(STREAM, GROUP):
            if consumer["name"] == self._consumer and consumer["pending"] == 0:
                await self._redis.xgroup_delconsumer(STREAM, GROUP, self._consumer)

    async def _delivery_counts(self, first_id: str, last_id: str) -> dict[str, int]:
        pending = await self._redis.xpending_range(
            STREAM, GROUP, min=first_id, max=last_id, count=1000, consumername=self._consumer
        )
        return {str(entry["message_id"]): int(entry["times_delivered"]) for entry in pending}


def _entries(reply: object) -> list[tuple[str, Mapping[str, str]]]:
    """Return the entries of an XREADGROUP reply of one stream, in either protocol version's shape."""
    if isinstance(reply, Mapping):
        batches = reply.get(STREAM, [])
        return [entry for batch in batches for entry in batch]
    if isinstance(reply, list):
        return [entry for _stream, entries in reply for entry in entries]
    return []


def _delivery(entry_id: str, fields: Mapping[str, str], deliveries: int = 1) -> Delivery:
    task = Task(fields["task_id"], fields["conversation_id"], int(fields["turn"]), int(fields["enqueued_at_ms"]))
    return Delivery(entry_id, task, deliveries)
