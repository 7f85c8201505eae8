"""The HTTPS API of one node's kubelet: logs, resource metrics, pods. Reads only; nothing here changes a pod.

exec, attach and port-forward need SPDY framing and are answered by a 501 that names what to use instead.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from testbed.layout import KUBELET_PORT, Layout
from testbed.nodeagent.accounting import NodeAccount
from testbed.nodeagent.api import ApiError
from testbed.nodeagent.authentication import Authenticator
from testbed.nodeagent.container import Container
from testbed.nodeagent.log_answer import send_log
from testbed.nodeagent.pod import Pod
from testbed.nodeagent.resource_metrics import PodReading, Reading, resource_text, summary

SHUTDOWN_S = 1.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def server_tls(layout: Layout) -> ssl.SSLContext:
    """Return the TLS settings of every kubelet API: our certificate; a client's, if it has one, must be of our CA."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(layout.kubelet_cert, layout.kubelet_key)
    tls.load_verify_locations(layout.ca_cert)
    tls.verify_mode = ssl.CERT_OPTIONAL
    return tls


class KubeletServer:
    """Serves one node."""

    def __init__(
        self,
        name: str,
        address: str,
        tls: ssl.SSLContext,
        authenticator: Authenticator,
        pods: Callable[[], Iterable[Pod]],
    ) -> None:
        self._name, self._address, self._tls = name, address, tls
        self._authenticator, self._pods = authenticator, pods
        self._account = NodeAccount()
        self._reading = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the address or port cannot be had.
        """
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/pods", self._list_pods),
                web.get("/metrics/resource", self._metrics),
                web.get("/stats/summary", self._summary),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._logs),
                *(
                    web.route("*", f"/{verb}/{{rest:.*}}", self._streaming)
                    for verb in ("exec", "attach", "portForward")
                ),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, KUBELET_PORT, ssl_context=self._tls).start()

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            refusal = await self._authenticator.refusal(request, self._name)
        except ApiError as error:
            return web.Response(status=503, text=f"cannot ask the API server who you are: {error}\n")
        if refusal:
            return web.Response(status=401 if refusal == "Unauthorized" else 403, text=f"{refusal}\n")
        return await handler(request)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _list_pods(self, _: web.Request) -> web.Response:
        items = [pod.obj for pod in self._pods()]
        return web.json_response({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items})

    async def _metrics(self, _: web.Request) -> web.Response:
        node, pods = await self._read()
        return web.Response(body=resource_text(node, pods), headers={"Content-Type": _METRICS_TYPE})

    async def _summary(self, _: web.Request) -> web.Response:
        return web.json_response(summary(self._name, *await self._read()))

    async def _read(self) -> tuple[Reading, list[PodReading]]:
        async with self._reading:
            return await asyncio.to_thread(self._account.read, list(self._pods()))

    async def _streaming(self, request: web.Request) -> web.Response:
        verb = request.path.split("/")[1]
        text = (
            f"{verb} is not offered by the node agent of the local testbed (it would need SPDY); "
            "run `gameday testbed exec POD -- COMMAND` instead\n"
        )
        return web.Response(status=501, text=text)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        wanted = request.match_info
        try:
            container = find_container(self._pods(), wanted["namespace"], wanted["pod"], wanted["container"])
        except LookupError as error:
            return web.Response(status=404, text=f"{error.args[0]}\n")
        return await send_log(request, container)


def find_container(pods: Iterable[Pod], namespace: str, name: str, container: str) -> Container:
    """Return a container of a pod; an empty `container` means the pod's only or first one.

    Raises:
        LookupError: there is no such pod here, or it has no such container.
    """
    for pod in pods:
        if (pod.place.namespace, pod.place.name) == (namespace, name):
            mains = [found for found in pod.containers if found.spec.role == "main"]
            named = [found for found in pod.containers if found.spec.name == container] if container else mains
            if named:
                return named[0]
            names = ", ".join(found.spec.name for found in pod.containers)
            raise LookupError(f"pod {namespace}/{name} has no container {container!r}; it has {names}")
    raise LookupError(f"pod {namespace}/{name} is not on this node")
