"""The platform's programs as processes: they serve, shed, survive a Redis restart, and drain on SIGTERM."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError
from redis.asyncio import Redis

from testbed.platform import queue_state, redis_link
from testbed.platform.settings import HostPort
from tests.contract.platform_programs import WAIT_S_MAX, Program, eventually, ready, samples, session_of, started
from tests.contract.platform_redis import RedisServer, running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    yield from running(tmp_path)


def turn(number: int, tool_calls: int = 0) -> dict[str, object]:
    return {"conversation_id": f"c{number}", "turn": 0, "tool_calls": tool_calls, "payload": "hello world"}


def test_a_turn_is_answered_and_its_tool_calls_reach_the_adapters(server: RedisServer) -> None:
    async def story(planner: Program, adapter: Program, exporter: Program) -> None:
        async with session_of() as session, Redis(port=server.port) as redis:
            for program in (planner, adapter, exporter):
                await ready(session, program)
            async with session.post(f"{planner.url}/v1/plan", json=turn(1, tool_calls=3)) as response:
                assert response.status == 200
                answer = await response.json()
            assert answer["task_ids"] == ["c1:0:0", "c1:0:1", "c1:0:2"]
            assert answer["tokens"] == {"prompt": 2, "completion": 48}

            async def drained() -> bool:
                return (await queue_state.read(redis)).done == 3

            await eventually(drained)
            adapters = await samples(session, adapter)
            assert (adapters["tasks_started_total"], adapters["tasks_done_total"]) == (3, 3)
            planners = await samples(session, planner)
            assert (planners["tasks_enqueued_total"], planners["planner_requests_total.200"]) == (3, 1)

            async def shown() -> bool:
                return (await samples(session, exporter)).get("tasks_unique_done") == 3

            await eventually(shown)
            seen = await samples(session, exporter)
            assert (seen["queue_up"], seen["queue_depth"], seen["tasks_unique_lost"]) == (1, 0, 0)
            assert seen["queue_oldest_task_age_seconds"] == 0

    with (
        started("planner", server.port) as planner,
        started("tool_adapter", server.port, TOOL_LATENCY_MS="10") as adapter,
        started("queue_exporter", server.port, EXPORTER_CACHE_S="0.2") as exporter,
    ):
        asyncio.run(story(planner, adapter, exporter))
        assert planner.terminated()[0] == 0
        status, output = adapter.terminated()
        assert (status, '"left":0' in output) == (0, True)


def test_a_full_planner_sheds_with_retry_after_and_counts_it(server: RedisServer) -> None:
    async def story(planner: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)

            async def one(number: int) -> tuple[int, str | None]:
                async with session.post(f"{planner.url}/v1/plan", json=turn(number)) as response:
                    return response.status, response.headers.get("Retry-After")

            answers = await asyncio.gather(*(one(n) for n in range(12)))
            shed = [after for status, after in answers if status == 503]
            assert len(shed) >= 1
            assert set(shed) == {"1"}
            assert [status for status, _ in answers].count(200) == 12 - len(shed)
            seen = await samples(session, planner)
            assert seen["planner_shed_total"] == seen["planner_requests_total.503"] == len(shed)

    env = {"PLANNER_CONCURRENCY_MAX": "1", "PLANNER_QUEUE_MAX": "2", "PLANNER_CPU_MS_PER_TURN": "50"}
    with started("planner", server.port, **env) as planner:
        asyncio.run(story(planner))


def test_without_redis_only_turns_that_ask_for_tools_fail(server: RedisServer) -> None:
    async def story(planner: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)
            async with session.post(f"{planner.url}/v1/plan", json=turn(1)) as response:
                assert response.status == 200
            async with session.post(f"{planner.url}/v1/plan", json=turn(2, tool_calls=1)) as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                assert (await response.json())["error"] == "queue_unavailable"

    server.kill()
    with started("planner", server.port) as planner:
        asyncio.run(story(planner))


@pytest.mark.parametrize(
    ("body", "at_fault"),
    [
        (b"not json", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"turn": 1}', "conversation_id"),
        (b'{"conversation_id": "c", "tool_calls": 1000}', "tool_calls"),
        (b'{"conversation_id": "c", "turn": true}', "turn"),
    ],
)
def test_a_bad_body_is_a_400_that_names_the_field(server: RedisServer, body: bytes, at_fault: str) -> None:
    async def story(planner: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)
            async with session.post(f"{planner.url}/v1/plan", data=body) as response:
                assert response.status == 400
                assert at_fault in (await response.json())["reason"]

    with started("planner", server.port) as planner:
        asyncio.run(story(planner))


def test_the_exporter_shows_nothing_but_queue_up_zero_while_redis_is_away(server: RedisServer) -> None:
    async def story(exporter: Program) -> None:
        async with session_of() as session:
            await ready(session, exporter)
            assert (await samples(session, exporter))["queue_up"] == 1
            server.kill()

            async def away() -> bool:
                return await samples(session, exporter) == {"queue_up": 0}

            await eventually(away)
            server.start()

            async def back() -> bool:
                return (await samples(session, exporter)).get("queue_depth") == 0

            await eventually(back)

    with started("queue_exporter", server.port, EXPORTER_CACHE_S="0.01") as exporter:
        asyncio.run(story(exporter))


def test_an_adapter_outlives_a_redis_restart(server: RedisServer) -> None:
    async def story(planner: Program, adapter: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)
            await ready(session, adapter)
            server.kill()
            await asyncio.sleep(0.5)
            server.start()

            async def accepted() -> bool:
                async with session.post(f"{planner.url}/v1/plan", json=turn(1, tool_calls=2)) as response:
                    return response.status == 200

            await eventually(accepted)
            async with redis_link.connect(HostPort("127.0.0.1", server.port)) as redis:

                async def drained() -> bool:
                    return (await queue_state.read(redis)).done == 2

                await eventually(drained)

    with (
        started("planner", server.port) as planner,
        started("tool_adapter", server.port, TOOL_LATENCY_MS="10") as adapter,
    ):
        asyncio.run(story(planner, adapter))


def test_failing_tools_end_as_dead_letters_and_the_ledger_adds_up(server: RedisServer) -> None:
    async def story(planner: Program, adapter: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)
            await ready(session, adapter)
            async with session.post(f"{planner.url}/v1/plan", json=turn(1, tool_calls=20)) as response:
                assert response.status == 200
            async with redis_link.connect(HostPort("127.0.0.1", server.port)) as redis:

                async def settled() -> bool:
                    state = await queue_state.read(redis)
                    assert state.lost == 0
                    return state.enqueued == 20 and state.depth == 0

                await eventually(settled)
                state = await queue_state.read(redis)
            assert state.done + state.dead == 20
            assert state.dead > 0
            seen = await samples(session, adapter)
            assert seen["tasks_dead_total"] == state.dead
            assert seen["tasks_started_total"] == seen["tasks_done_total"] + seen["tasks_failed_total"]

    env = {
        "TOOL_LATENCY_MS": "5",
        "TOOL_FAILURE_RATIO": "0.7",
        "TASK_DELIVERIES_MAX": "2",
        "TASK_CLAIM_IDLE_MS": "100",
        "TASK_CLAIM_INTERVAL_S": "0.05",
    }
    with (
        started("planner", server.port) as planner,
        started("tool_adapter", server.port, **env) as adapter,
    ):
        asyncio.run(story(planner, adapter))


def test_tasks_of_a_killed_adapter_are_finished_by_another(server: RedisServer) -> None:
    """Killed between taking the task and the ack."""

    async def story(planner: Program, victim: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)
            await ready(session, victim)
            async with session.post(f"{planner.url}/v1/plan", json=turn(1, tool_calls=4)) as response:
                assert response.status == 200
            async with redis_link.connect(HostPort("127.0.0.1", server.port)) as redis:

                async def taken() -> bool:
                    return (await queue_state.read(redis)).pending == 4

                await eventually(taken)
                victim.process.kill()
                env = {"POD_NAME": "heir", "TOOL_LATENCY_MS": "10", "TASK_CLAIM_IDLE_MS": "200"}
                with started("tool_adapter", server.port, **env, TASK_CLAIM_INTERVAL_S="0.1"):

                    async def finished() -> bool:
                        return (await queue_state.read(redis)).done == 4

                    await eventually(finished)
                state = await queue_state.read(redis)
                assert (state.lost, state.depth, state.pending) == (0, 0, 0)

    with (
        started("planner", server.port) as planner,
        started("tool_adapter", server.port, TOOL_LATENCY_MS="60000", TASK_CLAIM_IDLE_MS="600000") as victim,
    ):
        asyncio.run(story(planner, victim))


def test_a_request_in_flight_survives_sigterm(server: RedisServer) -> None:
    async def story(service: Program) -> None:
        async with session_of() as session:
            await ready(session, service)

            async def asked() -> int:
                async with session.post(f"{service.url}/v1/infer", json={"prompt": "hi"}) as response:
                    return response.status

            request = asyncio.create_task(asked())
            await asyncio.sleep(0.3)
            service.process.send_signal(signal.SIGTERM)
            assert await request == 200
            assert await asyncio.to_thread(service.process.wait, WAIT_S_MAX) == 0
            with pytest.raises(ClientConnectionError):
                await session.get(f"{service.url}/readyz")

    with started("inference", server.port, INFERENCE_DEVICE_MS="1000") as service:
        asyncio.run(story(service))


def test_the_device_serves_one_request_at_a_time_and_reports_its_busy_share(server: RedisServer) -> None:
    async def story(service: Program) -> None:
        async with session_of() as session:
            await ready(session, service)

            async def asked() -> int:
                async with session.post(f"{service.url}/v1/infer", json={"prompt": "hi"}) as response:
                    return response.status

            codes = await asyncio.gather(*(asked() for _ in range(8)))
            assert sorted(set(codes)) == [200, 503]
            seen = await samples(session, service)
            (util,) = (value for name, value in seen.items() if name.startswith("DCGM_FI_DEV_GPU_UTIL"))
            assert 0 < util <= 100
            assert seen["inference_tokens_total.completion"] == 64 * codes.count(200)

    with started("inference", server.port, INFERENCE_DEVICE_MS="100", INFERENCE_QUEUE_MAX="3") as service:
        asyncio.run(story(service))


def test_an_evaluation_goes_on_from_its_checkpoint_after_sigterm(server: RedisServer) -> None:
    async def first_items(evaluation: Program) -> None:
        async with session_of() as session:
            await ready(session, evaluation)

            async def some_done() -> bool:
                return (await samples(session, evaluation))["evaluation_items_done"] >= 3

            await eventually(some_done)

    env = {"EVALUATION_RUN": "nightly-1", "EVALUATION_ITEMS": "12", "EVALUATION_CHECKPOINT_EVERY": "100"}
    with started("evaluation", server.port, EVALUATION_ITEM_MS="200", **env) as evaluation:
        asyncio.run(first_items(evaluation))
        status, output = evaluation.terminated()
        assert (status, "evaluation stopped" in output) == (143, True)
    with started("evaluation", server.port, EVALUATION_ITEM_MS="1", **env) as evaluation:
        output, _ = evaluation.process.communicate(timeout=WAIT_S_MAX)
        assert evaluation.process.returncode == 0
        assert '"from_item":0' not in output
        assert '"done":12' in output


def test_an_evaluation_without_redis_says_so_and_fails(server: RedisServer) -> None:
    server.kill()
    with started("evaluation", server.port, EVALUATION_RUN="r") as evaluation:
        output, _ = evaluation.process.communicate(timeout=WAIT_S_MAX)
        assert evaluation.process.returncode == 2
        assert "redis" in output


@pytest.mark.parametrize(
    ("module", "env", "message"),
    [
        ("planner", {"REDIS_ADDRESS": ""}, "REDIS_ADDRESS is not set"),
        ("planner", {"PLANNER_QUEUE_MAX": "many"}, "PLANNER_QUEUE_MAX='many' is not a number"),
        ("tool_adapter", {"TOOL_LATENCY_MS": "4000"}, "at least twice TOOL_LATENCY_MS"),
        ("inference", {"BIND_IP": ""}, "neither BIND_IP nor POD_IP is set"),
        ("queue_exporter", {"BIND_IP": "192.0.2.1"}, "cannot listen on 192.0.2.1"),
    ],
)
def test_bad_settings_are_one_line_and_exit_1(module: str, env: dict[str, str], message: str) -> None:
    with started(module, 1, **env) as program:
        output, _ = program.process.communicate(timeout=WAIT_S_MAX)
        assert program.process.returncode == 1
        assert message in output
        assert "Traceback" not in output
