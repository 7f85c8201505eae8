"""The GPU mock: a device plugin for devices that do not exist. Run: ``python -m testbed.kind.device_plugin``.

It serves the kubelet of its node, follows its orders (`testbed.kind.devices`), starts anew when the kubelet has, and
tells the devices' health under DCGM's names. It touches no real device and changes nothing in the cluster.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc
from aiohttp import ClientError, ClientSession, ClientTimeout
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from testbed.kind.device_api import HEALTHY, KUBELET_SOCKET, UNHEALTHY, message, plugin_service, register
from testbed.kind.devices import DEFAULT_ORDER, RESOURCE, DeviceState, Mode, OrderError, order_text, read_order
from testbed.platform import jsonlog, kube_access, serving
from testbed.platform.settings import Environment

ENDPOINT = "gameday-gpu.sock"
LOOK_EVERY_S = 1.0
REQUEST_TIMEOUT_S = 5.0
WATCH_S = 60
LINE_BYTES_MAX = 2**20
XID_FALLEN_OFF_THE_BUS = 79
LABELS = ("gpu", "UUID", "modelName", "Hostname")


@dataclass(frozen=True)
class PluginSettings:
    """Configuration of the plugin."""

    bind_ip: str
    port: int
    node: str
    folder: Path
    order_file: Path | None  # instead of the ConfigMap; then no API server is needed
    namespace: str
    configmap: str

    @classmethod
    def from_env(cls, env: Environment) -> PluginSettings:
        """Read the settings; raises SettingsError."""
        order_file = env.text("DEVICES_FILE", "")
        return cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 9400),
            node=env.text("NODE_NAME"),
            folder=Path(env.text("PLUGINS_DIR", "/var/lib/kubelet/device-plugins")),
            order_file=Path(order_file) if order_file else None,
            namespace=env.text("DEVICES_NAMESPACE", "gameday-devices"),
            configmap=env.text("DEVICES_CONFIGMAP", "gpu-mock"),
        )


class Plugin:
    """What the kubelet is answered."""

    def __init__(self, state: DeviceState) -> None:
        self._state = state
        self.allocated = 0

    async def options(self, _request: Any, _context: Any) -> Any:
        """Nothing is needed before a container starts, and no choice is preferred."""
        return message("DevicePluginOptions")()

    async def list_and_watch(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        """Tell the devices, and tell them again whenever they change; nothing while it hangs."""
        told = None
        while True:
            now = self._state.devices
            if now != told and self._state.order.mode is Mode.SERVE:
                told = now
                health = {True: HEALTHY, False: UNHEALTHY}
                devices = [message("Device")(ID=one.uuid, health=health[one.healthy]) for one in now]
                yield message("ListAndWatchResponse")(devices=devices)
            await self._state.change()

    async def allocate(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """Hand out devices by naming them in the container's environment; wait for ever while it hangs."""
        while self._state.order.mode is Mode.HANG:
            await self._state.change()
        known = {one.uuid for one in self._state.devices}
        asked = [list(one.devices_ids) for one in request.container_requests]
        unknown = sorted({uuid for ids in asked for uuid in ids} - known)
        if unknown:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no such device: {', '.join(unknown)}")
        self.allocated += sum(len(ids) for ids in asked)
        return message("AllocateResponse")(container_responses=[_environment(ids) for ids in asked])

    async def pre_start(self, _request: Any, _context: Any) -> Any:
        """Nothing is to be done; never asked for."""
        return message("Empty")()

    def service(self) -> grpc.GenericRpcHandler:
        """Return it as a gRPC service."""
        methods = {
            "GetDevicePluginOptions": self.options,
            "ListAndWatch": self.list_and_watch,
            "Allocate": self.allocate,
            "PreStartContainer": self.pre_start,
        }
        return plugin_service(methods)


def _environment(uuids: Sequence[str]) -> Any:
    entry = message("Entry")(key="NVIDIA_VISIBLE_DEVICES", value=",".join(uuids))
    return message("ContainerAllocateResponse")(envs=[entry])


class KubeletLink:
    """Keeps the plugin's socket there and known to the kubelet, whenever the order does not say that it is gone."""

    def __init__(self, folder: Path, plugin: Plugin, state: DeviceState) -> None:
        self._folder = folder
        self._plugin = plugin
        self._state = state
        self._server: grpc.aio.Server | None = None
        self.registered = False

    @property
    def _socket(self) -> Path:
        return self._folder / ENDPOINT

    async def look(self) -> None:
        """Do what is to be done now: start, register, start anew (a kubelet that starts clears the folder), or go."""
        if self._state.order.mode is Mode.GONE:
            await self.stop()
        elif not self._socket.exists() or not self.registered:
            await self.stop()
            await self._start()

    async def _start(self) -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self._plugin.service(),))
        server.add_insecure_port(f"unix://{self._socket}")
        await server.start()
        self._server = server
        try:
            await register(str(self._folder / KUBELET_SOCKET), ENDPOINT, RESOURCE, REQUEST_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            jsonlog.log(logging.WARNING, "kubelet not reached", why=str(error.details()))
            return
        self.registered = True
        jsonlog.log(logging.INFO, "registered", resource=RESOURCE, devices=len(self._state.devices))

    async def stop(self) -> None:
        """Close the socket and take it away."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
        self._socket.unlink(missing_ok=True)
        self.registered = False


class Cluster(Protocol):
    """Where orders come from."""

    async def order(self) -> str:
        """Return the order's text as it is now."""
        ...


@dataclass(frozen=True)
class OrderFile:
    """An order in a file; a missing one is the default."""

    path: Path

    async def order(self) -> str:
        """Return the file's text."""
        return self.path.read_text(encoding="utf-8") if self.path.exists() else DEFAULT_ORDER


class ApiServer:
    """The order in the ConfigMap, and the node's status as others write it."""

    def __init__(self, settings: PluginSettings, access: kube_access.KubeAccess, session: ClientSession) -> None:
        self._settings = settings
        self._access = access
        self._session = session

    def _get(self, path: str, limit_s: float = REQUEST_TIMEOUT_S, **query: str) -> Any:
        headers = {"Authorization": f"Bearer {self._access.token()}"}
        limit = ClientTimeout(total=limit_s)
        url = f"{self._access.url}{path}"
        return self._session.get(url, params=query, headers=headers, timeout=limit, raise_for_status=True)

    async def order(self) -> str:
        """Return the order's text: the node's own key of the ConfigMap, else ``default``."""
        path = f"/api/v1/namespaces/{self._settings.namespace}/configmaps/{self._settings.configmap}"
        async with self._get(path) as response:
            return order_text((await response.json()).get("data") or {}, self._settings.node)

    async def follow_node(self, see: Callable[[Any], bool]) -> None:
        """Show every version of the node to `see` until the watch ends: what the kubelet overwrites must be seen."""
        selector = f"metadata.name={self._settings.node}"
        async with self._get("/api/v1/nodes", fieldSelector=selector) as response:
            listed = await response.json()
        for node in listed["items"]:
            see(node)
        query = {"watch": "1", "fieldSelector": selector, "resourceVersion": listed["metadata"]["resourceVersion"]}
        async with self._get(
            "/api/v1/nodes", WATCH_S + REQUEST_TIMEOUT_S, timeoutSeconds=str(WATCH_S), **query
        ) as watch:
            async for line in watch.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                see(event["object"])


class DeviceCollector:
    """The devices' health as DCGM would name it."""

    def __init__(self, state: DeviceState, plugin: Plugin, link: KubeletLink) -> None:
        self._state = state
        self._plugin = plugin
        self._link = link

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; a device that is gone has no series, as on a real node."""
        xid = GaugeMetricFamily("DCGM_FI_DEV_XID_ERRORS", "Last XID error; 79: fallen off the bus.", labels=LABELS)
        for number, device in enumerate(self._state.devices):
            value = 0 if device.healthy else XID_FALLEN_OFF_THE_BUS
            xid.add_metric([str(number), device.uuid, "simulated", self._state.node], value)
        yield xid
        devices = GaugeMetricFamily("gpu_mock_devices", "Devices by health.", labels=["health"])
        for name, healthy in (("healthy", True), ("sick", False)):
            devices.add_metric([name], sum(one.healthy is healthy for one in self._state.devices))
        yield devices
        modes = GaugeMetricFamily("gpu_mock_mode", "1 for the mode that is on.", labels=["mode"])
        for mode in Mode:
            modes.add_metric([mode], self._state.order.mode is mode)
        yield modes
        yield GaugeMetricFamily("gpu_mock_registered", "1 when the kubelet knows the plugin.", self._link.registered)
        yield CounterMetricFamily(
            "gpu_mock_allocated", "Devices handed out to containers.", value=self._plugin.allocated
        )


async def follow_orders(source: Cluster, state: DeviceState, lifecycle: serving.Lifecycle) -> None:
    """Follow the orders until told to stop; one that cannot be read or followed leaves the last one standing."""
    complaint = ""
    while not lifecycle.stopping.is_set():
        said = ""
        try:
            if state.take_order(read_order(await source.order())):
                jsonlog.log(logging.INFO, "order", mode=state.order.mode, devices=len(state.devices))
        except (OrderError, OSError, ClientError, TimeoutError) as error:
            said = jsonlog.why(error)
        if said and said != complaint:
            jsonlog.log(logging.WARNING, "order not followed", why=said)
        complaint = said
        await lifecycle.pause(LOOK_EVERY_S)


async def follow_node(server: ApiServer, state: DeviceState, lifecycle: serving.Lifecycle) -> None:
    """Follow what others write to the node's status until told to stop."""
    while not lifecycle.stopping.is_set():
        try:
            await server.follow_node(lambda node: _seen(state, node))
        except (ClientError, TimeoutError, ValueError) as error:
            jsonlog.log(logging.WARNING, "node not followed", why=jsonlog.why(error))
            await lifecycle.pause(LOOK_EVERY_S)


def _seen(state: DeviceState, node: Any) -> bool:
    changed = state.see_node(node)
    if changed:
        jsonlog.log(logging.INFO, "the node's status says", devices=len(state.devices))
    return changed


async def keep_registered(link: KubeletLink, state: DeviceState, lifecycle: serving.Lifecycle) -> None:
    """Keep the kubelet's link as the order wants it, until told to stop."""
    while not lifecycle.stopping.is_set():
        await link.look()
        gone = state.order.mode is Mode.GONE
        lifecycle.unready_reason = None if link.registered or gone else "the kubelet does not know the plugin yet"
        await lifecycle.pause(LOOK_EVERY_S)
    await link.stop()


async def main(env: Environment) -> int:
    """Serve the kubelet until told to stop."""
    settings = PluginSettings.from_env(env)
    state, lifecycle = DeviceState(settings.node), serving.Lifecycle()
    plugin = Plugin(state)
    link = KubeletLink(settings.folder, plugin, state)
    registry = CollectorRegistry()
    registry.register(DeviceCollector(state, plugin, link))
    lifecycle.unready_reason = "the kubelet does not know the plugin yet"
    runner = await serving.start(
        serving.application(lifecycle, serving.metrics_page(registry)), settings.bind_ip, settings.port
    )
    lifecycle.watch_signals()
    work: list[Awaitable[None]] = [keep_registered(link, state, lifecycle)]
    if settings.order_file is not None:
        await asyncio.gather(follow_orders(OrderFile(settings.order_file), state, lifecycle), *work)
    else:
        access = kube_access.from_env(env)
        connector = kube_access.connector(access)
        async with ClientSession(connector=connector, read_bufsize=LINE_BYTES_MAX) as session:
            server = ApiServer(settings, access, session)
            watch = asyncio.ensure_future(follow_node(server, state, lifecycle))
            await asyncio.gather(follow_orders(server, state, lifecycle), *work)
            watch.cancel()
    await runner.cleanup()
    return serving.EXIT_OK


if __name__ == "__main__":
    serving.run("gpu-mock", main)
