"""A small TLS reverse proxy on loopback before a plain HTTP server, as staging's Prometheus has; and its credentials.

It asks for a token, for a user, or for a client certificate; it can hide metrics. It remembers what it was asked.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import trustme
from aiohttp import web

from tests.contract.plain_front import PlainServer

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
        self._upstream, self._papers, self._gate = upstream, papers, gate
        self.hidden: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self._server = PlainServer(self._answer, papers.context(ask_client=ask_client))

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> TlsFront:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, request.headers.get("Authorization", "")))
        if not self._gate(request.headers):
            return web.Response(status=401, text="Unauthorized")
        form = dict(await request.post()) if request.method == "POST" else {}
        query = str(form.get("query") or request.query.get("query", ""))
        if any(text in query for text in self.hidden):
            nothing = {"status": "success", "data": {"resultType": "vector", "result": []}}
            return web.json_response(nothing)
        url, kind = f"{self._upstream}{request.path}", request.headers.get("Content-Type", "")
        body = form or await request.read() or None
        headers = {"Content-Type": kind} if kind and not form else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, params=request.query, data=body, headers=headers) as found,
        ):
            return web.Response(status=found.status, body=await found.read(), content_type=found.content_type)
