"""The gateway: a real Envoy in front of real planners, with endpoints from files as the node agent writes them."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession
from redis.asyncio import Redis
from redis.exceptions import RedisError

from testbed.nodeagent.policed_listeners import listener
from testbed.nodeagent.volumes import write_files
from testbed.platform import gateway, queue_state, redis_link
from testbed.platform.settings import HostPort, SettingsError
from tests.contract.platform_programs import Program, eventually, free_port, ready, samples, session_of, started
from tests.contract.platform_redis import RedisServer, running

TEMPLATE = Path(__file__).parents[2] / "testbed/manifests/base/platform-infra/bootstrap.yaml.j2"
TURN = {"conversation_id": "c", "turn": 0, "payload": "hello"}


class Gateway:
    """An Envoy started by the launcher, and the endpoint files that it watches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.eds_dir = folder / "eds"
        self.eds_dir.mkdir()
        self.faults_dir = folder / "faults"
        write_files(self.faults_dir, {})
        ports = {
            name: free_port() for name in ("gateway", "envoy_admin", "prometheus", "redis", "inference", "tool_api")
        }
        self.redis_port = ports["redis"]
        self.policed_port = free_port()
        self.tool_api = f"http://127.0.0.1:{ports['tool_api']}"
        self.entry = f"http://127.0.0.1:{ports['gateway']}"
        self.metrics_port = free_port()
        self.env = {f"{name.upper()}_PORT": str(port) for name, port in ports.items()} | {
            "GATEWAY_BIND": "127.0.0.1",
            "METRICS_PORT": str(self.metrics_port),
            "GAMEDAY_EDS_DIR": str(self.eds_dir),
            "ENVOY_TEMPLATE": str(TEMPLATE),
            "ENVOY_FAULTS": str(self.faults_dir),
            "TMPDIR": str(folder),
        }
        for key, _port in gateway.SERVICES.values():
            self.endpoints(key, [])
        self.policed(way_open=True)

    def policed(self, *, way_open: bool) -> None:
        """Open or shut the planner's own way to Redis, as the node agent does."""
        shown = [listener("planner_redis", self.policed_port, "redis")] if way_open else []
        part = self.eds_dir / ".listeners.part"
        part.write_text(json.dumps({"resources": shown}))
        os.replace(part, self.eds_dir / gateway.LISTENERS)

    def faults(self, **values: int) -> None:
        """Show the ConfigMap gateway-faults as the node agent does; keys of the manager `gateway`."""
        write_files(self.faults_dir, {f"gameday.gateway.{key}": f"{value}".encode() for key, value in values.items()})

    def endpoints(self, key: str, ports: list[int]) -> None:
        """Replace the endpoints of a Service, as the node agent does: a rename within the folder."""
        addresses = [{"socket_address": {"address": "127.0.0.1", "port_value": port}} for port in ports]
        assignment = {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": key,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}],
        }
        part = self.eds_dir / f".{key}.part"
        part.write_text(json.dumps({"resources": [assignment]}))
        os.replace(part, self.eds_dir / f"{key}.yaml")


@contextmanager
def running_gateway(folder: Path) -> Iterator[tuple[Gateway, Program]]:
    front = Gateway(folder)
    with started("gateway", 1, **front.env) as program:
        program.url = f"http://127.0.0.1:{front.metrics_port}"
        yield front, program


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    yield from running(folder)


async def listening(session: ClientSession, front: Gateway) -> None:
    async def answers() -> bool:
        try:
            async with session.get(f"http://127.0.0.1:{front.metrics_port}/healthz") as response:
                return response.status == 200
        except ClientConnectionError:
            return False

    await eventually(answers)


async def plan(session: ClientSession, front: Gateway) -> int:
    async with session.post(f"{front.entry}/v1/plan", json=TURN) as response:
        await response.read()
        return response.status


async def answers_well(session: ClientSession, front: Gateway) -> None:
    async def good() -> bool:
        return await plan(session, front) == 200

    await eventually(good)


async def metrics_of(session: ClientSession, front: Gateway) -> dict[str, float]:
    url = f"http://127.0.0.1:{front.metrics_port}/stats/prometheus"
    async with session.get(url) as response:
        assert response.status == 200
        text = await response.text()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line[:1] != "#" and line
    }


def test_requests_go_on_when_a_planner_is_killed_and_its_endpoint_is_still_listed(
    tmp_path: Path, server: RedisServer
) -> None:
    """A connection that is refused is tried on another host; nothing else is retried."""

    async def story(front: Gateway, planners: list[Program]) -> None:
        async with session_of() as session:
            for program in planners:
                await ready(session, program)
            await listening(session, front)
            front.endpoints("agents.planner.http", [p.port for p in planners])
            await answers_well(session, front)
            planners[0].process.kill()
            planners[0].process.wait(timeout=10)
            assert [await plan(session, front) for _ in range(20)] == [200] * 20
            seen = await metrics_of(session, front)
            retries = 'envoy_cluster_upstream_rq_retry{envoy_cluster_name="planner"}'
            assert seen[retries] >= 1

    with ExitStack() as stack:
        front, _ = stack.enter_context(running_gateway(tmp_path))
        planners = [stack.enter_context(started("planner", server.port)) for _ in range(3)]
        asyncio.run(story(front, planners))


def test_every_request_is_counted_once_by_code_and_health_checks_are_not(tmp_path: Path, server: RedisServer) -> None:
    async def story(front: Gateway, planner: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)
            await listening(session, front)
            for _ in range(3):
                async with session.get(f"{front.entry}/healthz") as response:
                    assert response.status == 200
            assert await plan(session, front) == 503  # no endpoint yet
            before = await metrics_of(session, front)
            assert (before[code_counter(2)], before[code_counter(5)]) == (0, 1)
            front.endpoints("agents.planner.http", [planner.port])
            await answers_well(session, front)
            for _ in range(4):
                assert await plan(session, front) == 200
            async with session.get(f"{front.entry}/v1/plan") as response:
                assert response.status == 404
            planners = await samples(session, planner)
            after = await metrics_of(session, front)
            assert after[code_counter(2)] == planners["planner_requests_total.200"] >= 5
            assert after[code_counter(4)] == 1

    with running_gateway(tmp_path) as (front, _), started("planner", server.port) as planner:
        asyncio.run(story(front, planner))


def test_faults_begin_and_end_with_the_files_of_their_volume_and_are_counted_at_the_entry(
    tmp_path: Path, server: RedisServer
) -> None:
    async def answers(session: ClientSession, front: Gateway, status: int) -> None:
        async def so() -> bool:
            return await plan(session, front) == status

        await eventually(so)

    async def story(front: Gateway, planner: Program) -> None:
        async with session_of() as session:
            await ready(session, planner)
            await listening(session, front)
            front.endpoints("agents.planner.http", [planner.port])
            await answers_well(session, front)
            before = await metrics_of(session, front)
            front.faults(abort_percent=100, abort_status=504)
            await answers(session, front, 504)
            assert [await plan(session, front) for _ in range(5)] == [504] * 5
            async with session.get(f"{front.entry}/healthz") as response:
                assert response.status == 200  # the gateway itself is well
            seen = await metrics_of(session, front)
            assert seen[code_counter(5)] - before[code_counter(5)] == seen[ABORTS] == 6
            front.faults(delay_percent=100, delay_ms=700)
            await answers(session, front, 200)
            began_s = time.monotonic()
            assert await plan(session, front) == 200
            assert time.monotonic() - began_s >= 0.7
            front.faults()
            await answers(session, front, 200)
            delays = (await metrics_of(session, front))[DELAYS]
            assert delays >= 2
            assert [await plan(session, front) for _ in range(5)] == [200] * 5
            assert (await metrics_of(session, front))[DELAYS] <= delays + 1  # the one that raced the end

    with running_gateway(tmp_path) as (front, _), started("planner", server.port) as planner:
        asyncio.run(story(front, planner))


_ENTRY = '{envoy_http_conn_manager_prefix="gateway"}'
ABORTS, DELAYS = f"envoy_http_fault_aborts_injected{_ENTRY}", f"envoy_http_fault_delays_injected{_ENTRY}"


def test_tool_calls_through_the_gateway_meet_its_faults_and_the_ledger_stays_exact(
    tmp_path: Path, server: RedisServer
) -> None:
    """Over the rate limit calls back off, then fail and are delivered again; none is lost."""

    async def story(front: Gateway, adapter: Program, planner: Program, tools: Program) -> None:
        async with session_of() as session:
            for program in (adapter, planner, tools):
                await ready(session, program)
            await listening(session, front)
            front.endpoints("agents.tool-api.http", [tools.port])
            key = "gameday.tool_api.abort_"
            write_files(front.faults_dir, {f"{key}percent": b"100", f"{key}status": b"429"})

            async def limited() -> bool:
                async with session.post(f"{front.tool_api}/v1/tool", json={"task_id": "t"}) as response:
                    return response.status == 429

            await eventually(limited)
            turn = TURN | {"tool_calls": 12}
            async with session.post(f"{planner.url}/v1/plan", json=turn) as response:
                assert response.status == 200

            async def gave_up() -> bool:
                return (await samples(session, adapter))["tasks_failed_total"] >= 4

            await eventually(gave_up)
            seen = await samples(session, adapter)
            assert seen["tool_api_requests_total.429"] >= 2 * seen["tasks_failed_total"]
            front.faults()

            async def done() -> bool:
                return (await samples(session, adapter))["tasks_done_total"] == 12

            await eventually(done)
            async with redis_link.connect(HostPort("127.0.0.1", server.port)) as redis:
                state = await queue_state.read(redis)
            assert (state.done, state.dead, state.depth, state.lost) == (12, 0, 0, 0)
            seen = await samples(session, adapter)
            assert seen["tool_api_requests_total.200"] == 12
            assert (await samples(session, tools))["tool_api_served_total.200"] == 12

    with ExitStack() as stack:
        front, _ = stack.enter_context(running_gateway(tmp_path))
        env = {
            "TOOL_API_URL": front.tool_api,
            "TOOL_LATENCY_MS": "5",
            "TOOL_API_BUDGET_S": "0.4",
            "TOOL_API_TIMEOUT_S": "0.5",
            "TASK_CLAIM_IDLE_MS": "1000",
            "TASK_CLAIM_INTERVAL_S": "0.1",
            "TASK_DELIVERIES_MAX": "50",
        }
        adapter = stack.enter_context(started("tool_adapter", server.port, **env))
        planner = stack.enter_context(started("planner", server.port))
        tools = stack.enter_context(started("tool_api", server.port, TOOL_API_LATENCY_MS="5"))
        asyncio.run(story(front, adapter, planner, tools))


def code_counter(first_digit: int) -> str:
    labels = f'envoy_response_code_class="{first_digit}",envoy_http_conn_manager_prefix="gateway"'
    return f"envoy_http_downstream_rq_xx{{{labels}}}"


def test_redis_is_reached_through_the_gateway_and_follows_its_endpoint(tmp_path: Path, server: RedisServer) -> None:
    async def story(front: Gateway) -> None:
        async with session_of() as session:
            await listening(session, front)
            front.endpoints("platform-infra.redis.redis", [server.port])

            async def pong() -> bool:
                async with Redis(port=front.redis_port, socket_timeout=2) as redis:
                    try:
                        return bool(await redis.ping())
                    except (ConnectionError, OSError, RedisError):
                        return False

            await eventually(pong)

    with running_gateway(tmp_path) as (front, _):
        asyncio.run(story(front))


def test_a_way_that_policies_shut_refuses_new_connections_ends_old_ones_and_opens_again(
    tmp_path: Path, server: RedisServer
) -> None:
    async def story(front: Gateway) -> None:
        async with session_of() as session:
            await listening(session, front)
        front.endpoints("platform-infra.redis.redis", [server.port])

        async def pong() -> bool:
            try:
                async with Redis(port=front.policed_port, socket_timeout=2) as redis:
                    return bool(await redis.ping())
            except (ConnectionError, OSError, RedisError):
                return False

        async def no_pong() -> bool:
            return not await pong()

        await eventually(pong)
        reader, writer = await asyncio.open_connection("127.0.0.1", front.policed_port)
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"+PONG\r\n"
        front.policed(way_open=False)
        await eventually(no_pong)
        assert await asyncio.wait_for(reader.read(), 15) == b""  # within the drain time
        writer.close()
        async with Redis(port=front.redis_port, socket_timeout=2) as others:
            assert await others.ping()
        front.policed(way_open=True)
        await eventually(pong)

    with running_gateway(tmp_path) as (front, _):
        asyncio.run(story(front))


def test_draining_fails_the_health_check_and_sigterm_ends_the_gateway(tmp_path: Path) -> None:
    async def story(front: Gateway, program: Program) -> None:
        async with session_of() as session:
            await listening(session, front)
            with started("gateway_drain", 1, **front.env) as drain:
                assert await asyncio.to_thread(drain.process.wait, 20) == 0
            admin = front.env["ENVOY_ADMIN_PORT"]
            async with session.get(f"http://127.0.0.1:{admin}/ready") as response:
                assert (await response.text()).strip() == "DRAINING"
            program.process.terminate()
            deadline = time.monotonic() + 10
            while program.process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
            assert program.process.poll() == 0

    with running_gateway(tmp_path) as (front, program):
        asyncio.run(story(front, program))


def test_a_drain_without_an_envoy_is_an_error(tmp_path: Path) -> None:
    with started("gateway_drain", 1, ENVOY_ADMIN_PORT=str(free_port())) as drain:
        output, _ = drain.process.communicate(timeout=20)
    assert drain.process.returncode == 1
    assert "admin port does not answer" in output


def test_a_gateway_waits_for_the_ports_of_the_one_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()

    async def story(front: Gateway, old: Program) -> None:
        async with session_of() as session:
            await listening(session, front)
            with started("gateway", 1, **front.env | {"TMPDIR": str(tmp_path / "new")}) as new:
                await asyncio.sleep(1.0)
                assert new.process.poll() is None, "it ended instead of waiting"
                old.process.terminate()
                await asyncio.to_thread(old.process.wait, 10)
                await listening(session, front)
                assert (await metrics_of(session, front))[code_counter(2)] == 0

    with running_gateway(tmp_path) as (front, old):
        asyncio.run(story(front, old))


def test_a_gateway_whose_admin_port_stays_taken_says_so() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        with pytest.raises(SettingsError, match="still taken"):
            gateway.wait_for_admin_port(holder.getsockname()[1], wait_s=0.1)
