"""One node: registers, renews its lease, posts its conditions, serves its kubelet API; can be stopped and booted again.

A heartbeat patches conditions only, so a capacity that somebody patches through the API stays. A stopped node says
nothing, serves nothing and runs nothing. Deleting the Node object does not stop it, and as with a kubelet it does not
come back by itself until the node boots again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from testbed.layout import Node
from testbed.nodeagent.address_pool import AddressPool
from testbed.nodeagent.api import MERGE_PATCH, STRATEGIC_PATCH, ApiClient, ApiError, patiently
from testbed.nodeagent.node_objects import (
    LEASE_NAMESPACE,
    conditions,
    labels,
    lease_object,
    lease_renewal,
    node_object,
    standing_status,
)
from testbed.nodeagent.objects import Obj, rfc3339, uid_of

_log = logging.getLogger(__name__)
LEASE_RENEWAL_S = 2.0
STATUS_EVERY_RENEWALS = 5
REGISTER_PATIENCE_S = 30.0
BEAT_TIMEOUT_S = 4.0
STOPPED = "testbed.gameday.local/stopped"
_CONFLICT = 409
_NOT_FOUND = 404


class NodeKeeper:
    """Keeps one node alive in the API.

    Attributes:
        node: its place in the layout.
        addresses: addresses of its pods.
        running: whether it is booted.
        allocatable: what the API says it offers, by resource.
    """

    def __init__(self, node: Node, api: ApiClient, version: str) -> None:
        self.node, self.addresses = node, AddressPool(node)
        self.running = False
        self.allocatable: dict[str, str] = {}
        self._api, self._version = api, version
        self._since = rfc3339()
        self._beats: asyncio.Task[None] | None = None

    async def boot(self) -> None:
        """Register and begin to send heartbeats.

        Raises:
            ApiError: the API server did not take the node.
        """
        self._since = rfc3339()
        self.running = True
        async for trial in patiently(REGISTER_PATIENCE_S):
            with trial:
                registered = await self._register()
        self.allocatable = dict(registered["status"].get("allocatable", {}))
        self._beats = asyncio.create_task(self._beat(), name=f"heartbeat of {self.node.name}")

    async def halt(self) -> None:
        """Stop: no heartbeat from now on."""
        self.running = False
        if self._beats is not None:
            self._beats.cancel()
            await asyncio.wait({self._beats})

    def seen(self, obj: Obj) -> None:
        """Take a newer Node object; a node that others call unready says at once that it is not."""
        self.allocatable = dict(obj["status"].get("allocatable", {}))
        ready = [c["status"] for c in obj["status"].get("conditions", []) if c["type"] == "Ready"]
        if self.running and ready and ready != ["True"]:
            self._since = rfc3339()
            self._post_soon()

    def _post_soon(self) -> None:
        posting = asyncio.create_task(self._post_conditions(), name=f"conditions of {self.node.name}")
        posting.add_done_callback(_tell_failure)

    async def _register(self) -> Obj:
        manifest = node_object(self.node, self._version, self._since)
        try:
            registered = await self._api.request("POST", "/api/v1/nodes", manifest)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            registered = await self._adopt()
        await self._make_lease(uid_of(registered))
        return registered

    async def _adopt(self) -> Obj:
        """The Node exists from before: keep its capacity, taints and what others added; renew the rest."""
        path = f"/api/v1/nodes/{self.node.name}"
        await self._api.request(
            "PATCH", path, {"metadata": {"labels": labels(self.node)}}, content_type=STRATEGIC_PATCH
        )
        status = {**standing_status(self.node, self._version), "conditions": conditions(rfc3339(), self._since)}
        return await self._api.request("PATCH", f"{path}/status", {"status": status}, content_type=STRATEGIC_PATCH)

    async def _make_lease(self, node_uid: str) -> None:
        try:
            await self._api.request("POST", _LEASES, lease_object(self.node, node_uid))
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            await self._renew()

    async def _renew(self) -> None:
        await self._api.request(
            "PATCH",
            f"{_LEASES}/{self.node.name}",
            lease_renewal(self.node),
            content_type=MERGE_PATCH,
            timeout_s=BEAT_TIMEOUT_S,
        )

    async def _post_conditions(self) -> None:
        if self.running:
            body = {"status": {"conditions": conditions(rfc3339(), self._since)}}
            path = f"/api/v1/nodes/{self.node.name}/status"
            await self._api.request("PATCH", path, body, content_type=STRATEGIC_PATCH, timeout_s=BEAT_TIMEOUT_S)

    async def _beat(self) -> None:
        count = 0
        while True:
            await asyncio.sleep(LEASE_RENEWAL_S)
            count += 1
            await self._tolerate(self._renew)
            if count % STATUS_EVERY_RENEWALS == 0:
                await self._tolerate(self._post_conditions)

    async def _tolerate(self, send: Callable[[], Awaitable[None]]) -> None:
        """A heartbeat that fails is followed by the next one; what that means is the control plane's business."""
        try:
            await send()
        except ApiError as error:
            if error.status != _NOT_FOUND:
                _log.warning("heartbeat of %s: %s", self.node.name, error)


_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases"


def _tell_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.warning("%s: %s", task.get_name(), error)
