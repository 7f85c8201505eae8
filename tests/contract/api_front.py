"""A TLS reverse proxy before a real API server that makes it rough: throttled, and forgetful in the middle of a run.

Everything else passes through as it is, watches line by line. It remembers what it was asked, and with which token.
"""

from __future__ import annotations

import re
import ssl
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import web

from tests.contract.plain_front import PlainServer
from tests.contract.tls_front import Papers

PASSED = ("Content-Type", "Accept", "Authorization", "User-Agent")
EXPIRED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old version"}}\n'
BUSY = {"kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "too many requests"}


@dataclass
class Throttle:
    """The next ``left`` requests of a kind are answered 429, with Retry-After."""

    method: str
    path: str
    left: int
    retry_after_s: int


@dataclass
class ApiFront:
    """Listens on 127.0.0.1 while it is entered.

    Attributes:
        upstream: URL of the API server.
        ca_pem: Its CA.
        papers: What the front shows.
        throttles: What is answered 429.
        forgets_after: Path of a POST; once one is granted, history is gone: every watch that is open ends, and the next
            of each path is told that its version has expired.
        answered: Method, path and status of each request.
        tokens: Those that were shown.
    """

    upstream: str
    ca_pem: str
    papers: Papers
    throttles: list[Throttle] = field(default_factory=list)
    forgets_after: str = ""
    answered: list[tuple[str, str, int]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = PlainServer(self._answer, self.papers.context(ask_client=False))
        self._watches: list[web.Request] = []
        self._forgotten: set[str] = set()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._server.url

    def __enter__(self) -> ApiFront:
        self._server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "")
        if token not in self.tokens:
            self.tokens.append(token)
        if self._is_throttled(request):
            self.answered.append((request.method, request.path, HTTPStatus.TOO_MANY_REQUESTS))
            return web.json_response(BUSY, status=429, headers={"Retry-After": str(self._told_s)})
        if "watch" in request.query:
            return await self._watch(request)
        return await self._pass(request)

    def _is_throttled(self, request: web.Request) -> bool:
        for one in self.throttles:
            if one.left and one.method == request.method and re.search(one.path, request.path):
                one.left, self._told_s = one.left - 1, one.retry_after_s
                return True
        return False

    def _asking(self, request: web.Request, session: aiohttp.ClientSession, body: bytes) -> Any:
        headers = {name: request.headers[name] for name in PASSED if name in request.headers}
        context = ssl.create_default_context(cadata=self.ca_pem)
        url = f"{self.upstream}{request.path}"
        return session.request(
            request.method, url, params=request.query, data=body or None, headers=headers, ssl=context
        )

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with aiohttp.ClientSession() as session, self._asking(request, session, body) as found:
            content = await found.read()
        self.answered.append((request.method, request.path, found.status))
        if request.method == "POST" and found.status < 300 and self.forgets_after:
            if re.search(self.forgets_after, request.path):
                self._forget()
        headers = {"Date": found.headers["Date"]} if "Date" in found.headers else {}
        return web.Response(status=found.status, body=content, content_type=found.content_type, headers=headers)

    def _forget(self) -> None:
        """Lose the history once: of every watch that is open now."""
        self.forgets_after = ""
        self._forgotten |= {request.path for request in self._watches}
        for request in list(self._watches):
            if request.transport is not None:
                request.transport.close()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        if request.path in self._forgotten:
            self._forgotten.discard(request.path)
            self.answered.append((request.method, request.path, HTTPStatus.GONE))
            await answer.prepare(request)
            await answer.write(EXPIRED)
            return answer
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=timeout) as session, self._asking(request, session, b"") as found:
            self.answered.append((request.method, request.path, found.status))
            answer.set_status(found.status)
            await answer.prepare(request)
            self._watches.append(request)
            try:
                async for chunk in found.content.iter_any():
                    await answer.write(chunk)
            except ConnectionError:
                pass  # the watcher is gone, or history is
            finally:
                self._watches.remove(request)
        return answer
