"""Puts the agent together: nodes, pods, watches, servers. The only module that knows all parts.

Which object belongs to which worker is decided here; what a worker does with it is not.
"""

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp

from testbed.layout import Layout
from testbed.nodeagent.address_pool import NoAddressError
from testbed.nodeagent.api import ApiClient, patiently
from testbed.nodeagent.authentication import Authenticator
from testbed.nodeagent.cgroups import Hierarchy, detect
from testbed.nodeagent.control import ControlServer, make_token
from testbed.nodeagent.endpoints import EndpointWriter
from testbed.nodeagent.environment import PodFacts
from testbed.nodeagent.kubelet_server import KubeletServer, server_tls
from testbed.nodeagent.launcher import Launcher
from testbed.nodeagent.node import STOPPED, NodeKeeper
from testbed.nodeagent.objects import Obj, title, uid_of
from testbed.nodeagent.pod import Pod, PodMeans, remove_folder
from testbed.nodeagent.policed_listeners import Police
from testbed.nodeagent.process_table import MARK, kill_strays
from testbed.nodeagent.runtime import PodPlace, Runtime
from testbed.nodeagent.watching import DELETED, Handler, follow

_log = logging.getLogger(__name__)
START_PATIENCE_S = 60.0
STOP_TIMEOUT_S = 8.0
TOKEN_CHECK_S = 60.0
BOUND = {"fieldSelector": "spec.nodeName!="}


class NodeAgent:
    """The kubelets of every node of an instance."""

    def __init__(self, layout: Layout, api: ApiClient, runtime: Runtime, version: str) -> None:
        self._layout, self._api, self._runtime = layout, api, runtime
        self._objects: dict[str, Obj] = {}
        self._pods: dict[str, Pod] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped: set[str] = set()
        self._power = {node.name: asyncio.Lock() for node in layout.nodes}
        authenticator, tls = Authenticator(api), server_tls(layout)
        self._nodes = {node.name: NodeKeeper(node, api, version) for node in layout.nodes}
        self._servers = {
            node.name: KubeletServer(node.name, node.internal_ip, tls, authenticator, self._pods_of(node.name))
            for node in layout.nodes
        }
        self._control = ControlServer(
            layout.ports.nodeagent_control,
            make_token(layout.nodeagent_token),
            runtime.launcher,
            lambda: list(self._pods.values()),
        )
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _pods_of(self, node: str) -> Callable[[], list[Pod]]:
        return lambda: [pod for pod in self._pods.values() if pod.place.node == node]

    async def start(self) -> None:
        """Serve, register the nodes and begin to watch."""
        await self._control.open()
        self._stopped = await self._stopped_nodes()
        await asyncio.gather(*(self._boot(name) for name in self._nodes if name not in self._stopped))
        endpoints, police = EndpointWriter(self._layout.eds_dir), Police(self._layout.eds_dir, self._layout.ports)
        self._watch("/api/v1/nodes", _NodeHandler(self))
        self._watch("/api/v1/pods", _Several(_PodHandler(self), police.pods), BOUND)
        self._watch("/api/v1/namespaces", police.namespaces)
        self._watch("/apis/networking.k8s.io/v1/networkpolicies", police.policies)
        self._watch("/api/v1/services", endpoints.services)
        self._watch("/apis/discovery.k8s.io/v1/endpointslices", endpoints.slices)
        self._watch("/api/v1/configmaps", _SourceHandler(self, "ConfigMap"))
        self._watch("/api/v1/secrets", _SourceHandler(self, "Secret"))
        self._spawn(self._renew_tokens(), "token renewal")
        self._control.ready = True

    async def stop(self) -> None:
        """Stop heartbeats, kill every container, close every port."""
        self._control.ready = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*(keeper.halt() for keeper in self._nodes.values()))
        await asyncio.wait_for(asyncio.gather(*(pod.abandon() for pod in self._pods.values())), STOP_TIMEOUT_S)
        await asyncio.gather(*(server.close() for server in self._servers.values()), self._control.close())

    def _watch(self, path: str, handler: Handler, params: dict[str, str] | None = None) -> None:
        self._spawn(follow(self._api, path, handler, params), f"watch of {path}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` beside everything else; what it raises ends the agent, which its supervisor starts again."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self.failed.done():
            _log.error("%s failed", task.get_name(), exc_info=error)
            self.failed.set_exception(error)

    async def _stopped_nodes(self) -> set[str]:
        async for trial in patiently(START_PATIENCE_S):
            with trial:
                listed = await self._api.request("GET", "/api/v1/nodes")
        return {node["metadata"]["name"] for node in listed["items"] if is_stopped(node)}

    async def _boot(self, name: str) -> None:
        _log.info("node %s boots", name)
        await self._servers[name].open()
        await self._nodes[name].boot()

    async def _switch(self, name: str) -> None:
        """Bring a node to what its annotation says now; one switch of a node at a time."""
        async with self._power[name]:
            if name in self._stopped and self._nodes[name].running:
                await self._halt(name)
            elif name not in self._stopped and not self._nodes[name].running:
                await self._reboot(name)

    async def _halt(self, name: str) -> None:
        _log.info("node %s stops", name)
        await self._nodes[name].halt()
        await self._servers[name].close()
        pods = [pod for pod in self._pods.values() if pod.place.node == name]
        for pod in pods:
            del self._pods[pod.place.uid]
        await asyncio.gather(*(pod.abandon() for pod in pods))

    async def _reboot(self, name: str) -> None:
        await self._boot(name)
        for obj in list(self._objects.values()):
            if obj["spec"].get("nodeName") == name:
                self.see_pod(obj)

    def see_node(self, obj: Obj) -> None:
        """A Node is there or changed."""
        keeper = self._nodes.get(obj["metadata"]["name"])
        if keeper is None:
            return
        keeper.seen(obj)
        name = keeper.node.name
        if is_stopped(obj):
            self._stopped.add(name)
        else:
            self._stopped.discard(name)
        if is_stopped(obj) == keeper.running:
            self._spawn(self._switch(name), f"switching {name} off or on")

    def see_pods(self, objects: list[Obj]) -> None:
        """These are all pods that are bound to a node."""
        present = {uid_of(obj) for obj in objects}
        for uid in [uid for uid in self._objects if uid not in present]:
            self.lose_pod(self._objects[uid])
        self._sweep_folders(present)
        for obj in objects:
            self.see_pod(obj)

    def see_pod(self, obj: Obj) -> None:
        """A bound pod is there or changed."""
        keeper = self._nodes.get(obj["spec"].get("nodeName", ""))
        if keeper is None:
            return
        uid = uid_of(obj)
        self._objects[uid] = obj
        if uid in self._pods:
            self._pods[uid].update(obj)
        elif keeper.running:
            try:
                self._pods[uid] = self._make_pod(obj, keeper)
            except NoAddressError as error:
                _log.error("pod %s waits for ever: %s", title(obj), error)

    def lose_pod(self, obj: Obj) -> None:
        """A pod's object is gone."""
        uid = uid_of(obj)
        self._objects.pop(uid, None)
        pod = self._pods.pop(uid, None)
        if pod is not None:
            pod.vanish()
        else:
            remove_folder(self._layout.pods_dir / uid)  # left by a node that was stopped

    def _make_pod(self, obj: Obj, keeper: NodeKeeper) -> Pod:
        meta = obj["metadata"]
        known = obj.get("status", {}).get("podIP", "")
        ip = known if known and keeper.addresses.claim(known) else keeper.addresses.take()
        folder = self._layout.pods_dir / uid_of(obj)
        place = PodPlace(uid_of(obj), meta["namespace"], meta["name"], keeper.node.name, ip, folder)
        facts = PodFacts(obj, ip, keeper.node.internal_ip, keeper.allocatable)
        means = PodMeans(place, self._runtime, self._api, keeper.addresses.lease(ip))
        pod = Pod(obj, facts, means)
        pod.done.add_done_callback(self._pod_done)
        return pod

    def _pod_done(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            _log.error("pod %s failed in the node agent", task.get_name(), exc_info=error)

    def _sweep_folders(self, present: set[str]) -> None:
        self._layout.pods_dir.mkdir(exist_ok=True)
        for folder in self._layout.pods_dir.iterdir():
            if folder.name not in present and folder.name not in self._pods:
                shutil.rmtree(folder)

    def see_source(self, kind: str, obj: Obj) -> None:
        """A ConfigMap or Secret changed."""
        meta = obj["metadata"]
        for pod in self._pods.values():
            if pod.place.namespace == meta["namespace"] and pod.shows(kind, meta["name"]):
                self._spawn(pod.refresh_volumes(), f"volumes of {title(pod.obj)}")

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_CHECK_S)
            for pod in list(self._pods.values()):
                await pod.renew_tokens()


def is_stopped(node: Obj) -> bool:
    """Tell whether a Node carries the annotation that stops it."""
    return bool((node["metadata"].get("annotations") or {}).get(STOPPED) == "true")


class _Several:
    """Feeds one watch to several handlers."""

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = handlers

    def synced(self, objects: list[Obj]) -> None:
        for handler in self._handlers:
            handler.synced(objects)

    def changed(self, kind: str, obj: Obj) -> None:
        for handler in self._handlers:
            handler.changed(kind, obj)


class _NodeHandler:
    """Feeds the watch of nodes to the agent."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent

    def synced(self, objects: list[Obj]) -> None:
        for obj in objects:
            self._agent.see_node(obj)

    def changed(self, kind: str, obj: Obj) -> None:
        if kind != DELETED:
            self._agent.see_node(obj)


class _PodHandler:
    """Feeds the watch of bound pods to the agent."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent

    def synced(self, objects: list[Obj]) -> None:
        self._agent.see_pods(objects)

    def changed(self, kind: str, obj: Obj) -> None:
        if kind == DELETED:
            self._agent.lose_pod(obj)
        else:
            self._agent.see_pod(obj)


class _SourceHandler:
    """Feeds the watch of ConfigMaps or Secrets to the agent."""

    def __init__(self, agent: NodeAgent, kind: str) -> None:
        self._agent, self._kind = agent, kind

    def synced(self, objects: list[Obj]) -> None:
        for obj in objects:
            self._agent.see_source(self._kind, obj)

    def changed(self, kind: str, obj: Obj) -> None:
        self._agent.see_source(self._kind, obj)


def write_state(layout: Layout, hierarchy: Hierarchy | None) -> None:
    """Write `nodeagent.json`: what can be enforced here, and the process id."""
    state = {
        "cpu_limits_enforced": hierarchy is not None and hierarchy.cpu,
        "memory_limits_enforced": hierarchy is not None and hierarchy.memory,
        "pid": os.getpid(),
    }
    fresh = layout.nodeagent_state.with_suffix(".tmp")
    fresh.write_text(json.dumps(state), encoding="utf-8")
    fresh.replace(layout.nodeagent_state)


async def run(layout: Layout, stopped: Awaitable[None]) -> None:
    """Run the agent of an instance until `stopped` is done.

    Raises:
        ApiError: the API server is not there or refuses the agent.
        OSError: an address or port cannot be had.
    """
    if mark := os.environ.get(MARK):
        kill_strays(mark)
    hierarchy = detect(f"gameday-{layout.name}-{layout.port_base}")
    if hierarchy is not None:
        hierarchy.sweep()
        hierarchy.group()
    write_state(layout, hierarchy)
    api, launcher = ApiClient.from_kubeconfig(layout.nodeagent_kubeconfig), Launcher()
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
    try:
        await launcher.start()
        async for trial in patiently(START_PATIENCE_S):
            with trial:
                version = (await api.request("GET", "/version"))["gitVersion"]
        agent = NodeAgent(layout, api, Runtime(layout, launcher, hierarchy, http), version)
        await agent.start()
        await asyncio.wait({asyncio.ensure_future(stopped), agent.failed}, return_when=asyncio.FIRST_COMPLETED)
        await agent.stop()
        if agent.failed.done():
            await agent.failed
    finally:
        await launcher.close()
        await http.close()
        await api.close()
        if hierarchy is not None:
            await asyncio.to_thread(hierarchy.sweep)
