"""One connection of the fast HTTP path: how it is made, and how one exchange goes over it. gevent inside, no Locust.

Sockets are the standard library's own, non-blocking, under one watcher that stays with the event loop as long as the
connection lives: starting and stopping one for every answer costs a system call each time, and a watcher that is there
also tells when a server closes an idle connection. Nothing is sent twice, ever.
"""

from __future__ import annotations

import ssl as standard_ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import EINPROGRESS
from functools import cache
from ipaddress import ip_address
from socket import IPPROTO_TCP, SHUT_RDWR, SO_ERROR, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY, AddressFamily
from time import monotonic
from typing import Any

import gevent
from gevent import monkey
from gevent import socket as gevent_socket
from gevent import ssl as gevent_ssl
from gevent.hub import Waiter

from loadprofiles.fast_answer import Answer, AnswerReader
from loadprofiles.fast_errors import ExchangeError, of_connect, of_lost

_StandardSocket: Any = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2
_RECEIVE_BYTES = 65536
_IDLE_S = 1.0
"""A connection that rested longer is looked at before it is used: the loop may not have heard yet of its end."""
_NOT_YET = (BlockingIOError, standard_ssl.SSLWantReadError, standard_ssl.SSLWantWriteError)

OnChunk = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take; all of them always hold.

    Attributes:
        connect_s: From the first packet to the end of the TLS handshake, names looked up included.
        read_s: Without a single byte, to or from the server.
        total_s: From the call to the last byte, the connect included; long-lived streams too.
        header_bytes_max: Of an answer's head, interim answers before it included.
        body_bytes_max: Of a body that is kept.
    """

    connect_s: float = 3.0
    read_s: float = 10.0
    total_s: float = 30.0
    header_bytes_max: int = 65536
    body_bytes_max: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        """Refuse limits that limit nothing.

        Raises:
            ValueError: One is not a positive, finite number.
        """
        for name in self.__slots__:
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} {getattr(self, name)!r} is not a positive, finite number")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where connections lead."""

    host: str
    port: int
    secure: bool


class Connection:
    """A connection that stands, and the exchange that is under way on it, if one is.

    Attributes:
        served: Answers read so far.
        progress_s: When the last bytes went or came; infinite while the server is not waited for.
    """

    __slots__ = (
        "_limits", "_pending", "_reader", "_receive", "_send", "_sock", "_stirred", "_told", "_waiter", "_watcher",
        "progress_s", "served",
    )  # fmt: skip

    def __init__(self, sock: Any, limits: Limits) -> None:
        self._sock = sock
        self._send = sock.send
        self._receive = sock.recv
        self._pending = getattr(sock, "pending", None)
        self._limits = limits
        self._reader = AnswerReader(limits.header_bytes_max, limits.body_bytes_max)
        self._waiter: Waiter | None = None
        self._stirred = False
        self._told: ExchangeError | None = None
        self.progress_s = monotonic()
        self.served = 0
        self._watcher = gevent.get_hub().loop.io(sock.fileno(), _READ)
        self._watcher.start(self._on_readable)

    @property
    def answering(self) -> bool:
        """Whether first bytes of the answer have come."""
        return self._reader.first_s > 0

    def close(self) -> None:
        """End it."""
        self._watcher.stop()
        self._watcher.close()
        self._sock.close()

    def tell(self, error: ExchangeError) -> None:
        """Let the exchange under way end with an error, from another greenlet."""
        if self._told is None:
            error.status = self._reader.status
            self._told = error
        try:
            self._sock.shutdown(SHUT_RDWR)
        except OSError:
            pass  # the server was quicker: whoever waits is awake by that

    def fit(self, now_s: float) -> bool:
        """Say whether the next request may go over it; one that must not be used is to be closed."""
        reader = self._reader
        if reader.soiled or not reader.keep or self._told is not None:
            return False
        if self._stirred or now_s - self.progress_s > _IDLE_S:
            return self._silent()
        return True

    def _silent(self) -> bool:
        """Look for bytes or an end that nobody asked for; TLS may have had business of its own."""
        try:
            self._receive(1)
        except _NOT_YET:
            if self._stirred:
                self._stirred = False
                self._watcher.start(self._on_readable)
            return True
        except OSError:
            return False
        return False

    def exchange(self, request: bytes, head_only: bool, last_s: float, on_chunk: OnChunk | None) -> Answer:
        """Send a request and read its answer.

        Args:
            request: All of it.
            head_only: It is a HEAD.
            last_s: When it must be over, on the monotonic clock.
            on_chunk: Gets the pieces of a good answer's body.

        Raises:
            ExchangeError: The answer was not read whole.
        """
        reader = self._reader
        reader.begin(head_only, on_chunk is not None)
        self._send_all(request)
        while not reader.done:
            if self._pending is None or not self._pending():
                self._wait()
            self._read()
            if on_chunk is not None and reader.pieces:
                self._hand_out(on_chunk)
            if self.progress_s > last_s and not reader.done:
                raise ExchangeError("total-timeout", "answer not read within the total time-out", reader.status)
        self.served += 1
        return reader.take()

    def _hand_out(self, on_chunk: OnChunk) -> None:
        pieces, self._reader.pieces = self._reader.pieces, []
        self.progress_s = float("inf")  # whatever the taker takes his time for, the server is not to blame
        for piece in pieces:
            on_chunk(piece)
        self.progress_s = monotonic()

    def _read(self) -> None:
        reader = self._reader
        try:
            data = self._receive(_RECEIVE_BYTES)
        except _NOT_YET:
            return
        except OSError as error:
            raise self._told or of_lost(error, reader.status) from error
        self.progress_s = reader.now_s = monotonic()
        if not data:
            raise self._told or reader.ended()
        reader.feed(data)

    def _send_all(self, request: bytes) -> None:
        try:
            sent = self._send(request)
        except _NOT_YET:
            sent = 0
        except OSError as error:
            self._unsent(error)
            return
        self.progress_s = monotonic()
        if sent < len(request):
            self._send_rest(memoryview(request)[sent:])

    def _send_rest(self, rest: memoryview) -> None:
        """Send on as room comes; a server that answers before it has read everything has answered."""
        reader = self._reader
        while len(rest):
            self._wait_for_room()
            self._read()
            if reader.answered:
                reader.soiled = True
                return
            try:
                sent = self._send(rest)
            except _NOT_YET:
                continue
            except OSError as error:
                self._unsent(error)
                return
            if sent:
                self.progress_s = monotonic()
                rest = rest[sent:]

    def _unsent(self, error: OSError) -> None:
        """Go on to read although the server takes no more: it may have said why before it hung up."""
        if self._told is not None:
            raise self._told from error
        self._reader.soiled = True

    def _on_readable(self) -> None:
        """Wake whoever waits (called by the event loop, in its hub)."""
        waiter = self._waiter
        if waiter is None:
            self._watcher.stop()
            self._stirred = True
        else:
            self._waiter = None
            waiter.switch(None)

    def _wait(self) -> None:
        if self._stirred:
            self._stirred = False
            self._watcher.start(self._on_readable)
        else:
            self._waiter = waiter = Waiter()
            try:
                waiter.get()
            finally:
                self._waiter = None
        if self._told is not None:  # nothing is read any more: a TLS socket that was shut down would hand out cipher
            raise self._told

    def _wait_for_room(self) -> None:
        watcher = gevent.get_hub().loop.io(self._sock.fileno(), _WRITE)
        try:
            watcher.start(self._on_room)
            self._wait()
        finally:
            watcher.stop()
            watcher.close()

    def _on_room(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.switch(None)


def connect(origin: Origin, limits: Limits, within_s: float) -> Connection:
    """Make a connection.

    Names are looked up anew each time; of several addresses the first that takes the connection is used.

    Raises:
        ExchangeError: There is none within ``within_s``.
    """
    timer = gevent.Timeout(within_s)
    timer.start()
    sock = None
    try:
        sock = _dial(origin)
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if origin.secure:
            sock = _secured(sock, origin.host)
        return Connection(sock, limits)
    except BaseException as error:
        if sock is not None:
            sock.close()
        if error is timer:
            raise ExchangeError("connect-timeout", "no connection within the time-out") from error
        if isinstance(error, (OSError, UnicodeError)):
            raise _unconnected(error) from error
        raise
    finally:
        timer.close()


def _unconnected(error: OSError | UnicodeError) -> ExchangeError:
    return of_connect(error) if isinstance(error, OSError) else ExchangeError("dns", "name cannot be looked up")


def _dial(origin: Origin) -> Any:
    error = OSError("the name has no address")
    for family, address in _addresses(origin.host, origin.port):
        sock = _StandardSocket(family, SOCK_STREAM)
        try:
            sock.setblocking(False)
            code = sock.connect_ex(address)
            if code == EINPROGRESS:
                gevent_socket.wait_write(sock.fileno())
                code = sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if code == 0:
                return sock
            error = OSError(code, "connect")
        except BaseException:
            sock.close()
            raise
        sock.close()
    raise error


def _addresses(host: str, port: int) -> Sequence[tuple[int, Any]]:
    try:
        version = ip_address(host).version
    except ValueError:
        host.encode("idna")  # here: gevent prints what its own thread for names cannot encode
        found = gevent_socket.getaddrinfo(host, port, type=SOCK_STREAM)
        return [(info[0], info[4]) for info in found]
    return [(AddressFamily.AF_INET if version == 4 else AddressFamily.AF_INET6, (host, port))]  # noqa: PLR2004


def _secured(sock: Any, host: str) -> Any:
    context = _tls()
    cooperative = gevent_socket.socket(fileno=sock.detach())
    secured = context.wrap_socket(cooperative, server_hostname=host, do_handshake_on_connect=False)
    try:
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    secured.setblocking(False)
    return secured


@cache
def _tls() -> Any:
    """Return what trusts whom the machine trusts; reading its certificates takes long, so they are read once.

    Not ``create_default_context``: without gevent's patches that makes the standard library's sockets, which block.
    """
    context = gevent_ssl.SSLContext(standard_ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context
