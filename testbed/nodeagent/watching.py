"""List and watch: keeps a handler informed of every object of one kind, through disconnects and expired versions.

The line splitter is ours because `StreamReader.readline` refuses lines over 64 KiB and objects can be larger. A lost
version (410, which the server may send as an ERROR event inside a 200 answer) leads to a new list, never to a gap.
"""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from testbed.nodeagent.api import ApiClient, ApiError
from testbed.nodeagent.objects import Obj

_log = logging.getLogger(__name__)
WATCH_TIMEOUT_S = 290
SILENCE_S = 330.0
PAUSE_S_MAX = 3.0
DELETED = "DELETED"


@dataclass(frozen=True)
class WatchEvent:
    """One event of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and its object."""

    kind: str
    obj: Obj


class Handler(Protocol):
    """What wants to know about objects. Called from the event loop, in order; must not block."""

    def synced(self, objects: list[Obj]) -> None:
        """These are all objects there are; whatever else was known is gone."""

    def changed(self, kind: str, obj: Obj) -> None:
        """One object was ADDED, MODIFIED or DELETED."""


class EventDecoder:
    """Turns the bytes of a watch into events, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[WatchEvent]:
        """Return the events that `chunk` completes."""
        if b"\n" not in chunk:
            self._rest += chunk
            return []
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [_event(line) for line in lines if line.strip()]


def _event(line: bytes) -> WatchEvent:
    decoded = json.loads(line)
    return WatchEvent(decoded["type"], decoded["object"])


class ExpiredError(Exception):
    """The version that a watch starts from is gone; only a new list helps."""


async def follow(api: ApiClient, path: str, handler: Handler, params: Mapping[str, str] | None = None) -> None:
    """Keep `handler` informed of the objects at `path` until cancelled."""
    params = dict(params or {})
    pause_s = 0.0
    version = ""
    while True:
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads reconnects, no secret
        try:
            if not version:
                version = await _list(api, path, params, handler)
            async for newest in _watch(api, path, params, version, handler):
                version, pause_s = newest, 0.0
        except ExpiredError as error:
            _log.info("watch of %s expired, listing again: %s", path, error)
            version = ""
        except ApiError as error:
            pause_s = min(PAUSE_S_MAX, 0.2 + 2 * pause_s)
            version = "" if error.status and not error.transient else version
            _log.warning("watch of %s: %s", path, error)


async def _list(api: ApiClient, path: str, params: Mapping[str, str], handler: Handler) -> str:
    listed = await api.request("GET", path, params=params)
    handler.synced(listed["items"])
    return str(listed["metadata"]["resourceVersion"])


async def _watch(
    api: ApiClient, path: str, params: Mapping[str, str], version: str, handler: Handler
) -> AsyncIterator[str]:
    """Yield the newest version after each chunk, so that a broken watch resumes from there."""
    query = {
        **params,
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": version,
        "timeoutSeconds": str(WATCH_TIMEOUT_S),
    }
    decoder = EventDecoder()
    async with api.stream(path, query, SILENCE_S) as chunks:
        async for chunk in chunks:
            for event in decoder.feed(chunk):
                version = _handle(event, handler)
            yield version


def _handle(event: WatchEvent, handler: Handler) -> str:
    if event.kind == "ERROR":
        code, message = event.obj.get("code", 0), event.obj.get("message", "")
        if code == 410:  # noqa: PLR2004 - HTTP Gone
            raise ExpiredError(message)
        raise ApiError(int(code), str(event.obj.get("reason", "")), str(message))
    if event.kind != "BOOKMARK":
        handler.changed(event.kind, event.obj)
    return str(event.obj["metadata"]["resourceVersion"])
