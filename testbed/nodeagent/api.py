"""Requests to the instance's API server: one pooled client, one typed error. No retry hides in here.

Callers decide what a failure means: a heartbeat waits for the next beat, a status is written until it is.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import yaml
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from testbed.addresses import dialable
from testbed.nodeagent.objects import Obj

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
REQUEST_TIMEOUT_S = 15.0
CONNECTIONS_MAX = 64
_SERVER_ERROR = 500
_PASSING = (0, 401, 403, 429)
"""Statuses that may pass: an API server that has just started knows no roles yet and forbids everything."""


class ApiError(Exception):
    """The API server refused a request or could not be reached.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        reason: the API's reason, such as NotFound; `Unreachable` without an answer.
        message: what the server said.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message

    @property
    def transient(self) -> bool:
        """Tell whether the same request may succeed later."""
        return self.status in _PASSING or self.status >= _SERVER_ERROR


def is_transient(error: BaseException) -> bool:
    """Tell whether `error` is an ApiError that may pass."""
    return isinstance(error, ApiError) and error.transient


def patiently(patience_s: float) -> AsyncRetrying:
    """Return a retrying loop over transient failures, with growing random pauses, that gives up after `patience_s`."""
    return AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=wait_random_exponential(multiplier=0.1, max=3),
        stop=stop_after_delay(patience_s),
        reraise=True,
    )


class ApiClient:
    """A client of one API server, which must be on loopback."""

    def __init__(self, server: str, token: str, authority_pem: str) -> None:
        dialable(urlsplit(server).hostname or "")
        self.server = server.rstrip("/")
        tls = ssl.create_default_context(cadata=authority_pem)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, ssl=tls),
            headers={"Authorization": f"Bearer {token}"},
        )

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Self:
        """Return a client of the current context of a kubeconfig that embeds its CA and token.

        Raises:
            ValueError: the file lacks something or names a server outside 127/8.
        """
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            context = _named(config["contexts"], config["current-context"])["context"]
            cluster = _named(config["clusters"], context["cluster"])["cluster"]
            user = _named(config["users"], context["user"])["user"]
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            return cls(cluster["server"], user["token"], authority)
        except (OSError, KeyError, TypeError, StopIteration, yaml.YAMLError) as error:
            raise ValueError(f"{path}: not a kubeconfig with an embedded CA and token ({error!r})") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Obj | None = None,
        *,
        content_type: str = JSON,
        params: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Obj:
        """Send one request and return the decoded answer.

        Raises:
            ApiError: not a 2xx answer, or none at all within `timeout_s` seconds.
        """
        try:
            async with self._session.request(
                method,
                self.server + path,
                data=None if body is None else json.dumps(body),
                headers={"Content-Type": content_type},
                params=params,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                return _decoded(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{method} {path}: {error!r}") from error

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a streamed answer; it ends with ApiError when nothing comes for `silence_s` seconds."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence_s)
        try:
            async with self._session.get(self.server + path, params=params, timeout=timeout) as response:
                if response.status >= 300:  # noqa: PLR2004 - first status that is no success
                    _decoded(response.status, await response.read())
                yield response.content.iter_any()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"GET {path}: {error!r}") from error


def _named(entries: list[Obj], name: str) -> Obj:
    return next(entry for entry in entries if entry["name"] == name)


def _decoded(status: int, payload: bytes) -> Obj:
    if status < 300:  # noqa: PLR2004 - every success is below
        decoded: Any = json.loads(payload) if payload else {}
        return dict(decoded)
    try:
        said = json.loads(payload)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        said = {"message": payload[:200].decode(errors="replace")}
    raise ApiError(status, str(said.get("reason", "")), str(said.get("message", "")))


def pod_path(namespace: str, name: str, subresource: str = "") -> str:
    """Return the API path of a pod or of one of its subresources."""
    return f"/api/v1/namespaces/{namespace}/pods/{name}" + (f"/{subresource}" if subresource else "")
