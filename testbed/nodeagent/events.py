"""Events of pods, as a kubelet records them: what a person reads in `kubectl describe pod`.

An event is advice, not evidence: when it cannot be written it is logged here and dropped.
"""

import asyncio
import logging
import time
import uuid

from testbed.nodeagent.api import ApiClient, ApiError
from testbed.nodeagent.objects import Obj, rfc3339, title

_log = logging.getLogger(__name__)
QUIET_S = 30.0
"""The same warning about the same container is written once in this time."""


class EventRecorder:
    """Records warnings about one pod."""

    def __init__(self, api: ApiClient, pod: Obj, node: str) -> None:
        self._api, self._pod, self._node = api, pod, node
        self._last_s: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def warn(self, container: str, reason: str, message: str) -> None:
        """Record a warning about a container, or about the pod when `container` is empty."""
        key, now_s = (container, reason), time.monotonic()
        if now_s - self._last_s.get(key, -QUIET_S) < QUIET_S:
            return
        self._last_s[key] = now_s
        _log.info("%s %s: %s %s", title(self._pod), container, reason, message)
        task = asyncio.create_task(self._write(self._event(container, reason, message)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _event(self, container: str, reason: str, message: str) -> Obj:
        meta, now = self._pod["metadata"], rfc3339()
        field = {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
                **field,
            },
            "reason": reason,
            "message": message[:1024],
            "type": "Warning",
            "source": {"component": "kubelet", "host": self._node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    async def _write(self, event: Obj) -> None:
        try:
            await self._api.request("POST", f"/api/v1/namespaces/{event['metadata']['namespace']}/events", event)
        except ApiError as error:
            _log.warning("event %s of %s not written: %s", event["reason"], title(self._pod), error)
