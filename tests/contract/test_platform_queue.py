"""The task queue and its ledger against a real Redis: nothing is lost, nothing is counted twice, age is true."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from testbed.platform import queue_exporter, queue_state, redis_link, tasks
from testbed.platform.settings import HostPort
from testbed.platform.tasks import Task, TaskQueue
from tests.contract.platform_redis import RedisServer, running

TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    yield from running(tmp_path_factory.mktemp("redis"))


@asynccontextmanager
async def fresh(server: RedisServer) -> AsyncIterator[Redis]:
    async with redis_link.connect(HostPort("127.0.0.1", server.port)) as redis:
        await redis.flushall()
        yield redis


def run(server: RedisServer, story: Callable[[Redis], Awaitable[None]]) -> None:
    async def told() -> None:
        async with fresh(server) as redis, asyncio.timeout(TIMEOUT_S):
            await story(redis)

    asyncio.run(told())


def task(number: int) -> Task:
    return Task(f"c1:0:{number}", "c1", 0, 1_000)


async def declared(redis: Redis, consumer: str, late_after_ms: int = 300_000) -> TaskQueue:
    queue = TaskQueue(redis, consumer, late_after_ms)
    await queue.declare()
    return queue


def test_the_same_turn_sent_twice_enqueues_its_tasks_once(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        assert await queue.enqueue([task(0), task(1)]) == 2
        assert await queue.enqueue([task(0), task(1), task(2)]) == 1
        state = await queue_state.read(redis)
        assert (state.enqueued, state.depth, state.duplicate, state.lost) == (3, 3, 2, 0)

    run(server, story)


def test_declaring_the_group_twice_is_harmless_and_it_sees_tasks_from_before(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        await TaskQueue(redis).enqueue([task(0)])
        queue = await declared(redis, "a")
        await queue.declare()
        assert [d.task.task_id for d in await queue.read(10, block_ms=10)] == ["c1:0:0"]

    run(server, story)


def test_a_finished_task_is_counted_acknowledged_and_removed_in_one_step(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        await queue.enqueue([task(0)])
        (delivery,) = await queue.read(1, block_ms=10)
        before = await queue_state.read(redis)
        assert (before.pending, before.lag, before.depth, before.done) == (1, 0, 1, 0)
        assert (await queue.complete(delivery)).outcome == "done"
        after = await queue_state.read(redis)
        assert (after.pending, after.lag, after.depth, after.done, after.lost) == (0, 0, 0, 1, 0)
        assert await redis.hlen(tasks.OPEN) == 0

    run(server, story)


def test_a_crash_between_work_and_ack_gives_the_task_to_another_consumer(server: RedisServer) -> None:
    """At least once; the ledger still counts the task once."""

    async def story(redis: Redis) -> None:
        crashed, healthy = await declared(redis, "crashed"), await declared(redis, "healthy")
        await healthy.enqueue([task(0)])
        assert len(await crashed.read(1, block_ms=10)) == 1  # worked on, then killed before the ack
        assert await healthy.read(1, block_ms=10) == []
        await asyncio.sleep(0.06)
        (delivery,) = await healthy.reclaim(min_idle_ms=50, count=10)
        assert delivery.deliveries == 2
        assert (await healthy.complete(delivery)).outcome == "done"
        state = await queue_state.read(redis)
        assert (state.done, state.duplicate, state.depth, state.pending, state.lost) == (1, 0, 0, 0, 0)

    run(server, story)


def test_two_consumers_that_finish_one_task_count_one_done_and_one_duplicate(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        slow, other = await declared(redis, "slow"), await declared(redis, "other")
        await slow.enqueue([task(0)])
        (first,) = await slow.read(1, block_ms=10)
        await asyncio.sleep(0.06)
        (second,) = await other.reclaim(min_idle_ms=50, count=10)
        assert (await other.complete(second)).outcome == "done"
        assert (await slow.complete(first)).outcome == "duplicate"
        state = await queue_state.read(redis)
        assert (state.done, state.duplicate, state.lost) == (1, 1, 0)

    run(server, story)


def test_a_task_delivered_too_often_becomes_a_dead_letter_and_is_not_lost(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        await queue.enqueue([task(0)])
        await queue.read(1, block_ms=10)
        for expected in (2, 3):
            await asyncio.sleep(0.02)
            (delivery,) = await queue.reclaim(min_idle_ms=10, count=10)
            assert delivery.deliveries == expected
        assert await queue.bury(delivery)
        assert not await queue.bury(delivery)
        state = await queue_state.read(redis)
        assert (state.dead, state.dead_letters, state.depth, state.pending, state.lost) == (1, 1, 0, 0, 0)
        ((_, letter),) = await redis.xrange(tasks.DEAD_STREAM)
        assert (letter["task_id"], letter["deliveries"]) == ("c1:0:0", "3")

    run(server, story)


def test_a_task_finished_after_its_burial_is_a_duplicate(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        await queue.enqueue([task(0)])
        (delivery,) = await queue.read(1, block_ms=10)
        await queue.bury(delivery)
        assert (await queue.complete(delivery)).outcome == "duplicate"
        assert (await queue_state.read(redis)).lost == 0

    run(server, story)


def test_an_entry_deleted_behind_the_ledger_is_a_lost_task(server: RedisServer) -> None:
    """The check can fail: whatever removes an entry without finishing its task shows."""

    async def story(redis: Redis) -> None:
        await (await declared(redis, "a")).enqueue([task(0), task(1)])
        ((entry_id, _),) = await redis.xrange(tasks.STREAM, count=1)
        await redis.xdel(tasks.STREAM, entry_id)
        state = await queue_state.read(redis)
        assert state.lost == 1
        left = {fields["task_id"] for _, fields in await redis.xrange(tasks.STREAM)}
        assert set(await redis.hkeys(tasks.OPEN)) - left == {"c1:0:0"}

    run(server, story)


def test_a_task_done_after_the_objective_is_late(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a", late_after_ms=20)
        await queue.enqueue([task(0)])
        (delivery,) = await queue.read(1, block_ms=10)
        await asyncio.sleep(0.05)
        completion = await queue.complete(delivery)
        assert completion.outcome == "late"
        assert completion.age_ms >= 40
        assert (await queue_state.read(redis)).late == 1

    run(server, story)


def test_a_task_whose_ledger_is_gone_is_not_counted(server: RedisServer) -> None:
    """After a Redis restart without persistence an adapter may still hold a task."""

    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        await queue.enqueue([task(0)])
        (delivery,) = await queue.read(1, block_ms=10)
        await redis.flushall()
        assert (await queue.complete(delivery)).outcome == "unknown"
        assert (await queue_state.read(redis)).lost == 0

    run(server, story)


async def age_of_oldest(redis: Redis) -> float:
    return (await queue_state.read(redis)).oldest_age_s


def test_the_oldest_age_covers_undelivered_and_pending_tasks_and_is_zero_for_none(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        assert await age_of_oldest(redis) == 0
        await redis.xadd(tasks.STREAM, _fields(0), id="1000-0")  # very old
        undelivered_s = await age_of_oldest(redis)
        (delivery,) = await queue.read(1, block_ms=10)
        await queue.enqueue([task(1)])
        pending_s = await age_of_oldest(redis)
        assert undelivered_s > 1e9
        assert pending_s >= undelivered_s
        await queue.complete(delivery)
        assert await age_of_oldest(redis) < 5

    run(server, story)


def _fields(number: int) -> dict[str | bytes, str | int]:
    return {"task_id": task(number).task_id, "conversation_id": "c1", "turn": 0, "enqueued_at_ms": 1000}


def test_g11_lag_is_zero_when_all_is_delivered_and_unknown_when_redis_cannot_tell(server: RedisServer) -> None:
    """G11: the backlog is lag and pending, each told apart; an unknown lag is not a zero."""

    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        await queue.enqueue([task(n) for n in range(4)])
        assert (await queue_state.read(redis)).lag == 4
        await queue.read(2, block_ms=10)
        assert (await queue_state.read(redis)).lag == 2
        undelivered = await redis.xrange(tasks.STREAM)
        await redis.xdel(tasks.STREAM, undelivered[2][0])  # a hole ahead of the group: Redis answers null
        state = await queue_state.read(redis)
        assert state.lag is None
        assert state.pending == 2
        assert queue_exporter.gauges_of(state)["queue_lag"][0] is None

    run(server, story)


def test_g12_the_first_task_after_a_redis_restart_makes_the_group_that_the_scaler_asks_for(server: RedisServer) -> None:
    """G12: a missing group is an error for every trigger that counts pending entries."""

    async def story(redis: Redis) -> None:
        await TaskQueue(redis).enqueue([task(0)])
        assert (await redis.xpending(tasks.STREAM, tasks.GROUP))["pending"] == 0
        state = await queue_state.read(redis)
        assert (state.depth, state.lag, state.pending) == (1, 1, 0)

    run(server, story)


def test_without_a_stream_or_without_a_group_everything_in_the_stream_is_lag(server: RedisServer) -> None:
    """As KEDA reads it when the adapters have never run."""

    async def story(redis: Redis) -> None:
        empty = await queue_state.read(redis)
        assert (empty.depth, empty.lag, empty.pending, empty.oldest_age_s) == (0, 0, 0, 0)
        await redis.xadd(tasks.STREAM, _fields(0))
        state = await queue_state.read(redis)
        assert (state.depth, state.lag, state.pending) == (1, 1, 0)

    run(server, story)


def test_a_consumer_leaves_the_group_only_with_nothing_pending(server: RedisServer) -> None:
    async def story(redis: Redis) -> None:
        queue = await declared(redis, "a")
        await queue.enqueue([task(0)])
        (delivery,) = await queue.read(1, block_ms=10)
        await queue.leave()
        assert len(await redis.xinfo_consumers(tasks.STREAM, tasks.GROUP)) == 1
        await queue.complete(delivery)
        await queue.leave()
        assert await redis.xinfo_consumers(tasks.STREAM, tasks.GROUP) == []

    run(server, story)
