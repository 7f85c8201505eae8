"""The fast HTTP path: an HTTP/1.1 client for one user's greenlet, with one connection that is kept alive.

It does one thing: one request, one try, one answer that was read whole, or an `ExchangeError` that says why not. No
redirect is followed, nothing is sent twice, no proxy and no cookie is known. An answer that ends only with its
connection (neither Content-Length nor chunks) is refused as ``unframed``: nobody can tell it from one that was cut off.
gevent inside; no Locust, and no knowledge of arrivals, rows or what a status means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from time import monotonic
from types import MappingProxyType
from urllib.parse import urlsplit

from loadprofiles.fast_answer import Answer
from loadprofiles.fast_connection import Connection, Limits, OnChunk, Origin, connect
from loadprofiles.fast_errors import ExchangeError
from loadprofiles.fast_request import RequestHeads
from loadprofiles.fast_watchdog import watchdog

__all__ = ["Answer", "ExchangeError", "FastClient", "Limits"]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_PORTS = {"http": 80, "https": 443}


class FastClient:
    """Sends one request after the other; belongs to one greenlet."""

    def __init__(self, base_url: str, headers: Mapping[str, str], limits: Limits, reconnect_every: int = 0) -> None:
        """Check what all requests have in common; nothing is connected yet.

        Args:
            base_url: The gateway, like ``http://127.0.0.1:8080``; a path is put before each request's own.
            headers: Added to every request; secret.
            limits: Of each exchange.
            reconnect_every: Requests after which the connection is made anew, so that new pods get traffic (CASES
                D07); 0 keeps it.

        Raises:
            ValueError: The URL or a header cannot be used.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError(f"{base_url!r} is not a gateway's URL; write it like http://127.0.0.1:8080")
        self._origin = Origin(parts.hostname, parts.port or _PORTS[parts.scheme], parts.scheme == "https")
        self._limits = limits
        self._reconnect_every = reconnect_every
        self._heads = RequestHeads(parts.path.rstrip("/"), parts.netloc, headers)
        self._connection: Connection | None = None
        self._watchdog = watchdog()
        self._watched = False
        self._begun_s: float | None = None
        self._given_up = False

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] = _NO_HEADERS,
        on_chunk: OnChunk | None = None,
    ) -> Answer:
        """Send one request and read its answer.

        Args:
            method: Like ``POST``.
            path: In origin form, beginning with ``/``.
            body: Sent with its Content-Length.
            headers: Of this request; they win over those of the client.
            on_chunk: Gets the pieces of a good (2xx) answer's body as they come; they are not kept then. What it
                raises ends the connection and goes on to the caller.

        Raises:
            ExchangeError: No answer was read whole.
            ValueError: Method, path or a header cannot be sent; nothing was.
            RuntimeError: Another greenlet is in the middle of an exchange.
        """
        request = self._heads.request(method, path, body, headers)
        if self._begun_s is not None:
            raise RuntimeError("this client is in the middle of an exchange; each greenlet needs its own")
        self._begun_s = begun_s = monotonic()
        try:
            connection = self._ready(begun_s)
            answer = connection.exchange(request, method == "HEAD", begun_s + self._limits.total_s, on_chunk)
        except BaseException:
            self._drop()
            raise
        finally:
            self._begun_s = None
        if connection.served == self._reconnect_every or not connection.fit(0.0):
            self._drop()
        return answer

    @property
    def answering(self) -> bool:
        """Whether first bytes of the answer to the exchange under way have come."""
        return self._begun_s is not None and self._connection is not None and self._connection.answering

    def close(self) -> None:
        """End the connection. An exchange under way ends as ``given-up``; a later one connects anew."""
        if self._begun_s is None:
            self._drop()
        elif self._connection is not None:
            self._connection.tell(_given_up())
        else:
            self._given_up = True

    def _ready(self, begun_s: float) -> Connection:
        connection = self._connection
        if connection is not None and not connection.fit(begun_s):
            self._drop()
            connection = None
        if connection is None:
            self._given_up = False
            within_s = min(self._limits.connect_s, self._limits.total_s)
            connection = self._connection = connect(self._origin, self._limits, within_s)
            if self._given_up:
                raise _given_up()
        connection.progress_s = monotonic()
        if not self._watched:
            self._watched = True
            self._watchdog.watch(self)
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def deadline_s(self) -> float:
        """When the exchange under way is to be over as things stand (for the watchdog)."""
        begun_s, connection = self._begun_s, self._connection
        if begun_s is None or connection is None:
            return math.inf
        return min(begun_s + self._limits.total_s, connection.progress_s + self._limits.read_s)

    def expire(self) -> None:
        """End the exchange under way (for the watchdog)."""
        begun_s, connection = self._begun_s, self._connection
        if begun_s is None or connection is None:
            return
        if monotonic() >= begun_s + self._limits.total_s:
            connection.tell(ExchangeError("total-timeout", "answer not read within the total time-out"))
        else:
            connection.tell(ExchangeError("read-timeout", "no byte to or from the server within the read time-out"))

    def unwatched(self) -> None:
        """Ask to be watched again with the next exchange (for the watchdog)."""
        self._watched = False


def _given_up() -> ExchangeError:
    return ExchangeError("given-up", "closed in the middle of an exchange")
