"""Counting of probe results by table, and real probes against loopback servers of the test."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from testbed.nodeagent.objects import Obj
from testbed.nodeagent.probes import (
    ProbeFailedError,
    ProbeKind,
    ProbeState,
    ProbeTarget,
    endpoint,
    pause_s,
    probe_once,
)


@pytest.mark.parametrize(
    ("kind", "probe", "results", "verdicts"),
    [
        ("readiness", {}, [True], [True]),
        ("readiness", {"successThreshold": 2}, [True, True], [False, True]),
        ("readiness", {"successThreshold": 2}, [True, False, True], [False, False, False]),
        ("readiness", {}, [True, False, False, False], [True, True, True, False]),
        ("readiness", {"failureThreshold": 2}, [True, False, True, False], [True, True, True, True]),
        ("liveness", {}, [False, False, False], [True, True, False]),
        ("startup", {"failureThreshold": 2}, [False, True], [None, True]),
        ("startup", {"failureThreshold": 2}, [False, False], [None, False]),
    ],
)
def test_a_result_counts_once_it_came_often_enough_in_a_row(
    kind: ProbeKind, probe: Obj, results: list[bool], verdicts: list[bool | None]
) -> None:
    state, seen = ProbeState.of(kind, probe), []
    for result in results:
        state.observe(result)
        seen.append(state.passed)
    assert seen == verdicts


@pytest.mark.parametrize(
    ("kind", "passed", "elapsed_s", "expected_s"),
    [
        ("readiness", False, 0.0, 0.15),
        ("readiness", False, 0.6, 0.6),
        ("readiness", False, 5.0, 1.0),
        ("readiness", False, 30.0, 10.0),
        ("readiness", True, 5.0, 10.0),
        ("liveness", True, 0.0, 10.0),
        ("startup", None, 0.0, 10.0),
    ],
)
def test_only_a_readiness_probe_that_never_passed_looks_more_often(
    kind: ProbeKind, passed: bool | None, elapsed_s: float, expected_s: float
) -> None:
    assert pause_s(kind, {"periodSeconds": 10}, ProbeState(1, 3, passed), elapsed_s) == expected_s


def target(port: int, *, owns: bool = True, exit_code: int = 0) -> ProbeTarget:
    async def run(_command: list[str], _timeout_s: float) -> int:
        return exit_code

    return ProbeTarget("127.0.0.1", lambda _: port, run, lambda _host, _port: owns)


def against_server(check: Callable[[int, aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await asyncio.sleep(5)
        status = {"/moved": 302, "/broken": 500}.get(request.path, 200)
        headers = {"Location": "http://192.0.2.1/"} if status == 302 else {}
        return web.Response(status=status, headers=headers, text=request.headers.get("X-Probe", ""))

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/{rest:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as http:
            await check(port, http)
        await runner.cleanup()

    asyncio.run(run())


def test_http_probes_pass_on_2xx_and_on_redirects_without_following_them() -> None:
    async def check(port: int, http: aiohttp.ClientSession) -> None:
        for path in ("/ok", "/moved"):
            await probe_once({"httpGet": {"path": path, "port": 1}}, target(port), http, verify_owner=True)

    against_server(check)


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ({"httpGet": {"path": "/broken", "port": 1}}, "statuscode: 500"),
        ({"httpGet": {"path": "/slow", "port": 1}, "timeoutSeconds": 0.2}, "TimeoutError"),
        ({"exec": {"command": ["x"]}}, "exited with 1"),
        ({"grpc": {"port": 1}}, "exec, httpGet and tcpSocket"),
    ],
)
def test_a_failed_probe_says_why(probe: Obj, said: str) -> None:
    async def check(port: int, http: aiohttp.ClientSession) -> None:
        with pytest.raises(ProbeFailedError, match=said):
            await probe_once(probe, target(port, exit_code=1), http, verify_owner=True)

    against_server(check)


@pytest.mark.parametrize("action", ["httpGet", "tcpSocket"])
def test_a_listener_that_is_not_of_the_container_does_not_make_it_ready(action: str) -> None:
    async def check(port: int, http: aiohttp.ClientSession) -> None:
        with pytest.raises(ProbeFailedError, match="a process that is not of this container"):
            await probe_once({action: {"port": 1}}, target(port, owns=False), http, verify_owner=True)
        await probe_once({action: {"port": 1}}, target(port, owns=False), http, verify_owner=False)

    against_server(check)


def test_nothing_outside_loopback_is_ever_probed() -> None:
    for host in ("10.96.0.1", "192.0.2.1", "example.com"):
        with pytest.raises(ProbeFailedError, match="refused"):
            endpoint({"host": host, "port": 80}, target(80))


def test_a_pod_address_is_probed_at_its_loopback_address() -> None:
    where = ProbeTarget("198.18.3.7", int, target(1).run, target(1).owns)
    assert endpoint({"port": 8080}, where) == ("127.44.3.7", 8080)
