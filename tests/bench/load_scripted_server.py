"""A server that keeps the truth: it delays answers as its script says, and writes down the delays it really made.

``python -m tests.bench.load_scripted_server SCRIPT LOG``: prints its port; end-of-file on its input ends it, and LOG
then has a row a request, in order of arrival: received and answered, on the monotonic clock. SCRIPT is a file, JSON:
``{"delays_s": [...]}`` (taken in turn), ``{"stall": [after_s, length_s]}`` (counted from the first request), or both.
Loopback only.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n" + b'{"plan": "look"}'


class Book:
    """What becomes of each request, and when."""

    def __init__(self, script: dict[str, Any]) -> None:
        self._delays_s: Iterator[float] = itertools.cycle(script.get("delays_s", [0.0]))
        self._stall: tuple[float, float] | None = tuple(script["stall"]) if "stall" in script else None
        self._first_s: float | None = None
        self.rows: list[list[float]] = []

    def take(self, now_s: float) -> tuple[int, float]:
        """Note an arrival; return its number and when it is to be answered."""
        if self._first_s is None:
            self._first_s = now_s
        self.rows.append([now_s, np.nan])
        return len(self.rows) - 1, max(now_s + next(self._delays_s), self._held_until_s(now_s))

    def _held_until_s(self, now_s: float) -> float:
        if self._stall is None or self._first_s is None:
            return now_s
        from_s = self._first_s + self._stall[0]
        return from_s + self._stall[1] if from_s <= now_s < from_s + self._stall[1] else now_s

    def answered(self, number: int, now_s: float) -> None:
        """Note an answer."""
        self.rows[number][1] = now_s


class Connection(asyncio.Protocol):
    """One connection: one request at a time, as our generators make them."""

    def __init__(self, book: Book, loop: asyncio.AbstractEventLoop) -> None:
        self._book, self._loop = book, loop
        self._data = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now_s = self._loop.time()
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._data = b""
        number, due_s = self._book.take(now_s)
        if due_s > now_s:
            self._loop.call_at(due_s, self._answer, number)
        else:
            self._answer(number)

    def _answer(self, number: int) -> None:
        self._book.answered(number, self._loop.time())
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def serve(script: dict[str, Any], log: Path) -> None:
    loop, book = asyncio.get_running_loop(), Book(script)
    server = await loop.create_server(lambda: Connection(book, loop), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    np.save(log, np.array(book.rows, dtype=float).reshape(-1, 2))


if __name__ == "__main__":
    gc.disable()  # a collection is a delay that would be on the wrong side of the clock
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])))
