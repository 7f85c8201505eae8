"""The way from the load child to its driver: messages on a pipe. Gevent inside, no Locust.

A message is one line of JSON; where it says ``blob``, so many raw bytes follow. Written beside the load, so that a slow
reader never holds it up, and bounded: beyond the bound rows are lost, and the totals say so.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import gevent
import gevent.os
import gevent.queue

MESSAGES_MAX = 10_000
"""Messages that wait for a driver that does not read; beyond it they are dropped."""


class Channel:
    """A `loadprofiles.outlet.Outlet` on a pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: gevent.queue.Queue = gevent.queue.Queue()
        gevent.os.make_nonblocking(fd)
        self._writer = gevent.spawn(self._write_all)

    def send(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        """Queue one message; dropped where the driver has stopped reading."""
        if self._waiting.qsize() < MESSAGES_MAX:
            whole = {**message, "blob": len(blob)} if blob else message
            self._waiting.put(json.dumps(whole, separators=(",", ":")).encode() + b"\n" + blob)

    def close(self, limit_s: float) -> None:
        """Write what is queued, at most for ``limit_s``, and close."""
        self._waiting.put(None)
        self._writer.join(limit_s)
        os.close(self._fd)

    def _write_all(self) -> None:
        for line in iter(self._waiting.get, None):
            view = memoryview(line)
            while view:
                try:
                    view = view[gevent.os.nb_write(self._fd, view) :]
                except BrokenPipeError:
                    return


__all__ = ["MESSAGES_MAX", "Channel"]
