"""A loopback HTTP server that does what a script says, request by request, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

Script = Callable[[int], str]
"""From the number of a request to what becomes of it, see `_ANSWERS`; ``hang`` and ``reset`` answer nothing. Of event
streams ``events`` has five and an end, ``events-cut`` is cut off after three, and ``events-endless`` has no end."""

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Gameday-Pod: planner-a\r\n\r\nok"
_ANSWERS = {
    "ok": _OK,
    "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part",
    "cookie": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1, x\r\nSet-Cookie: pod=p7; Path=/\r\n\r\nok",
}
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENTS = {"events": 5, "events-cut": 3, "events-endless": 10_000}
EVENT_EVERY_S = 0.05


@dataclass
class Asked:
    """One request as it arrived."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int = 0


@dataclass
class ScriptedServer:
    """Listens on 127.0.0.1 while it is entered."""

    script: Script = lambda number: "ok"
    delay_s: float = 0.0
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    def __enter__(self) -> ScriptedServer:
        self._loop = asyncio.new_event_loop()
        self._numbers = itertools.count()
        self._handlers: set[asyncio.Task[None]] = set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _close(self) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        number = self.connections
        try:
            while await self._answer(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone or the server closes: both end this connection only
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (field.partition(":") for field in fields)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.asked.append(Asked(line, headers, body, connection))
        does = self.script(next(self._numbers))
        await asyncio.sleep(3600 if does == "hang" else self.delay_s)
        if does == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        if does in _EVENTS:
            return await self._stream(writer, does)
        writer.write(_ANSWERS.get(does, b""))
        await writer.drain()
        return does not in {"half", "close"}

    async def _stream(self, writer: asyncio.StreamWriter, does: str) -> bool:
        writer.write(_STREAM)
        for number in range(_EVENTS[does]):
            event = f": still here\r\nid: {number}\r\nevent: step\r\ndata: {number}\r\n\r\n".encode()
            for part in (event[:20], event[20:]):  # a chunk is no event
                writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            await writer.drain()
            await asyncio.sleep(EVENT_EVERY_S)
        writer.write(b"0\r\n\r\n" if does == "events" else b"")
        await writer.drain()
        return does == "events"
