"""A small TLS reverse proxy on loopback before a plain HTTP server, as staging's Prometheus has; and its credentials.

It asks for a token, for a user, or for a client certificate; it can hide metrics. It remembers what it was asked.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import ssl
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import trustme
from aiohttp import web

Gate = Callable[[Mapping[str, str]], bool]


def bearer(token: str) -> Gate:
    """Let in who brings a token."""
    return lambda headers: headers.get("Authorization") == f"Bearer {token}"


def basic(user: str, password: str) -> Gate:
    """Let in who brings a user and a password."""
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return lambda headers: headers.get("Authorization") == f"Basic {text}"


@dataclass
class Papers:
    """Certificates of a test: a CA, what the front shows, and what a client may show."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.ca_file = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        client = self.ca.issue_cert("runner@gameday.invalid")
        self.cert_file, self.key_file = self.folder / "client.pem", self.folder / "client.key"
        client.cert_chain_pems[0].write_to_path(str(self.cert_file))
        client.private_key_pem.write_to_path(str(self.key_file))

    def context(self, *, ask_client: bool) -> ssl.SSLContext:
        """Return the front's side of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("127.0.0.1").configure_cert(context)
        if ask_client:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context


class TlsFront:
    """Listens on 127.0.0.1 while it is entered.

    Attributes:
        hidden: Texts; a query that holds one is answered with no series.
        asked: Path and Authorization header of each request.
    """

    def __init__(
        self, upstream: str, papers: Papers, gate: Gate = lambda headers: True, *, ask_client: bool = False
    ) -> None:
        self._upstream, self._papers, self._gate, self._ask_client = upstream, papers, gate, ask_client
        self.hidden: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    def __enter__(self) -> TlsFront:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        with warnings.catch_warnings():  # asyncio leaves the transport of a handshake that failed to the collector
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._papers.context(ask_client=self._ask_client))
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, request.headers.get("Authorization", "")))
        if not self._gate(request.headers):
            return web.Response(status=401, text="Unauthorized")
        form = dict(await request.post()) if request.method == "POST" else {}
        query = str(form.get("query") or request.query.get("query", ""))
        if any(text in query for text in self.hidden):
            nothing = {"status": "success", "data": {"resultType": "vector", "result": []}}
            return web.json_response(nothing)
        url = f"{self._upstream}{request.path}"
        async with self._session.request(request.method, url, params=request.query, data=form or None) as found:
            return web.Response(status=found.status, body=await found.read(), content_type=found.content_type)
