"""The discovery sidecar against an API server over verified TLS: it lists, follows changes, and keeps what it knows."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientConnectionError, ClientSession, web

from testbed.platform import kube_access, serving
from testbed.platform.discovery import Discovery, DiscoverySettings
from tests.contract.platform_programs import eventually


class ApiServer:
    """Just enough of the API server: one list, one watch, one token."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        (folder / "token").write_text("secret\n")
        self._ca.cert_pem.write_to_path(str(folder / "ca.crt"))
        self.pods: dict[str, list[dict[str, object]]] = {"agents": [], "platform-infra": []}
        self.lists = 0
        self.port = 0
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{namespace}/pods", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert("127.0.0.1").configure_cert(context)
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner is not None
        self._changed.set()
        await self._runner.cleanup()

    def change(self, namespace: str, pods: list[dict[str, object]]) -> None:
        self.pods[namespace] = pods
        self._changed.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer secret":
            return web.Response(status=401)
        if "watch" not in request.query:
            self.lists += 1
            items = self.pods[request.match_info["namespace"]]
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": items})
        assert request.query["resourceVersion"] == "7"
        response = web.StreamResponse()
        await response.prepare(request)
        self._changed.clear()
        await self._changed.wait()
        await response.write(b'{"type":"MODIFIED","object":{}}\n')
        return response


def pod(name: str, ip: str) -> dict[str, object]:
    return {
        "metadata": {"name": name, "namespace": "agents", "uid": name},
        "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"podIP": ip, "phase": "Running"},
    }


def settings_of(folder: Path, port: int) -> DiscoverySettings:
    access = kube_access.KubeAccess(f"https://127.0.0.1:{port}", folder / "token", folder / "ca.crt")
    return DiscoverySettings("127.0.0.1", 0, ("agents", "platform-infra"), folder / "pods.json", access)


def follow(folder: Path, story: Callable[[ApiServer, serving.Lifecycle], Awaitable[None]]) -> None:
    async def told() -> None:
        api, lifecycle = ApiServer(folder), serving.Lifecycle()
        lifecycle.unready_reason = "not yet"
        await api.start()
        settings = settings_of(folder, api.port)
        async with asyncio.timeout(30), ClientSession(connector=kube_access.connector(settings.api)) as session:
            found = Discovery(settings, session, lifecycle)
            followers = [asyncio.create_task(found.follow(name)) for name in settings.namespaces]
            await story(api, lifecycle)
            for task in followers:
                task.cancel()
            await asyncio.gather(*followers, return_exceptions=True)
        await api.stop()

    asyncio.run(told())


def targets(folder: Path) -> list[str]:
    return [t["targets"][0] for t in json.loads((folder / "pods.json").read_text())]


def test_a_change_in_the_cluster_reaches_the_target_file(tmp_path: Path) -> None:
    async def story(api: ApiServer, lifecycle: serving.Lifecycle) -> None:
        async def is_ready() -> bool:
            return lifecycle.unready_reason is None

        await eventually(is_ready)
        assert targets(tmp_path) == []
        api.change("agents", [pod("a", "198.18.1.1"), pod("b", "198.18.1.2")])

        async def seen() -> bool:
            return targets(tmp_path) == ["198.18.1.1:8080", "198.18.1.2:8080"]

        await eventually(seen)
        assert api.lists < 12, "a quiet cluster is not polled"

    follow(tmp_path, story)


def test_known_targets_stay_while_the_api_server_is_away_and_are_renewed_after(tmp_path: Path) -> None:
    """An API outage must not look like an empty platform."""

    async def story(api: ApiServer, _lifecycle: serving.Lifecycle) -> None:
        api.pods["agents"] = [pod("a", "198.18.1.1")]

        async def seen() -> bool:
            return (tmp_path / "pods.json").exists() and targets(tmp_path) == ["198.18.1.1:8080"]

        await eventually(seen)
        await api.stop()
        await asyncio.sleep(0.5)
        assert targets(tmp_path) == ["198.18.1.1:8080"]
        api.pods["agents"] = [pod("c", "198.18.1.3")]
        await api.start()

        async def renewed() -> bool:
            return targets(tmp_path) == ["198.18.1.3:8080"]

        await eventually(renewed)

    follow(tmp_path, story)


def test_an_api_server_with_another_ca_is_not_trusted(tmp_path: Path) -> None:
    async def told() -> None:
        api = ApiServer(tmp_path)
        await api.start()
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        access = settings_of(tmp_path, api.port).api
        async with ClientSession(connector=kube_access.connector(access)) as session:
            with pytest.raises(ClientConnectionError):
                await session.get(f"{access.url}/api/v1/namespaces/agents/pods")
        await api.stop()

    asyncio.run(told())
