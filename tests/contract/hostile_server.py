"""A loopback server that answers byte by byte as a script says: late, half, too much, not HTTP, or not at all."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Step = bytes | float | str
"""Bytes are sent; a number is a pause in seconds; ``close`` and ``reset`` end the connection, ``half-close`` ends its
sending side; ``drain`` reads a request's body; ``flood:TEXT`` sends TEXT until the client is gone."""

Script = Sequence[Step]
_PAUSE_MAX_S = 60.0


@dataclass
class HostileServer:
    """Listens on 127.0.0.1 while it is entered; a request's path names its script.

    Attributes:
        scripts: By path without its slash; the last part of a path may be anything: ``fuzz/17`` is for `make`.
        make: Makes the script of a path that `scripts` does not know.
        tls: Speaks TLS where it is given.
        asked: Requests by path.
        connections: Connections by the path of their first request.
    """

    scripts: Mapping[str, Script] = field(default_factory=dict)
    make: Callable[[str], Script] = lambda path: (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",)
    tls: ssl.SSLContext | None = None
    greeting: Script = ()
    asked: Counter[str] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    port: int = 0

    def __enter__(self) -> HostileServer:
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.is_set():
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), plain:
            plain.settimeout(_PAUSE_MAX_S)
            if not self._play(plain, self.greeting):
                return
            sock = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            first = True
            with sock:
                while head := read_head(sock):
                    path = head.split(b" ")[1].decode().lstrip("/")
                    self.asked[path] += 1
                    self.connections[path] += first
                    first = False
                    if not self._play(sock, self.scripts.get(path) or self.make(path), length_of(head)):
                        return

    def _play(self, sock: socket.socket, script: Script, length: int = 0) -> bool:
        return all(self._step(sock, step, length) for step in script)

    def _step(self, sock: socket.socket, step: Step, length: int) -> bool:
        if isinstance(step, bytes):
            sock.sendall(step)
        elif isinstance(step, float):
            self._ended.wait(min(step, _PAUSE_MAX_S))
        elif step == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif step == "half-close":
            sock.shutdown(socket.SHUT_WR)
        elif step == "drain":
            drain(sock, length)
        elif step.startswith("flood:"):
            while not self._ended.is_set():
                sock.sendall(step.removeprefix("flood:").encode())
        return step not in {"close", "reset"} and not self._ended.is_set()


def read_head(sock: socket.socket) -> bytes:
    """Return a request's head, or nothing at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return b""
        head += byte
    return head


def length_of(head: bytes) -> int:
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0]) if lengths else 0


def drain(sock: socket.socket, length: int) -> None:
    while length > 0 and (data := sock.recv(min(length, 65536))):
        length -= len(data)
