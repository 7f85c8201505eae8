"""Requests of the fast HTTP path as bytes: checked once, built once, sent in one piece. Pure; no sockets, no Locust.

Nothing that a caller hands in may change the framing of a request or smuggle in a second one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_METHOD = re.compile(r"[A-Z][A-Z-]*")
_PATH = re.compile(r"/[!\"$-~]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = {"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"}
_BODILESS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "TRACE"}
_HEADS_MAX = 64
"""Heads kept ready for each client; paths may hold ids and be endless."""


class RequestHeads:
    """Builds the requests of one client, and keeps their heads ready."""

    def __init__(self, prefix: str, host: str, headers: Mapping[str, str]) -> None:
        """Take what every request has in common.

        Args:
            prefix: Path of the base URL, before each request's own.
            host: Host header where none is given.
            headers: Added to every request.

        Raises:
            ValueError: A header cannot be sent.
        """
        self._prefix = prefix
        self._headers = {"host": ("Host", host), "accept-encoding": ("Accept-Encoding", "identity")}
        self._headers |= _checked(headers)
        self._ready: dict[tuple[object, ...], bytes] = {}

    def request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return a whole request.

        Raises:
            ValueError: Its method, path or a header cannot be sent.
        """
        key = (method, path, *headers.items()) if headers else (method, path)
        head = self._ready.get(key)
        if head is None:
            head = self._build(method, path, headers)
            if len(self._ready) >= _HEADS_MAX:
                self._ready.clear()
            self._ready[key] = head
        if body or method not in _BODILESS:
            return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        return head + b"\r\n"

    def _build(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        if not _METHOD.fullmatch(method) or method == "CONNECT":
            raise ValueError(f"method {method!r} cannot be sent; write it like GET")
        if not _PATH.fullmatch(path):
            raise ValueError(
                f"path {path!r} cannot be sent; begin it with / and percent-encode what is not plain ASCII"
            )
        lines = [f"{method} {self._prefix}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (self._headers | _checked(headers)).values()]
        return "\r\n".join([*lines, ""]).encode("latin-1")


def _checked(headers: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    found = {}
    for name, value in headers.items():  # values are secret: a refusal names the header alone
        if not _NAME.fullmatch(name):
            raise ValueError(f"header name {name!r} cannot be sent; letters, digits and dashes can")
        if name.lower() in _OURS:
            raise ValueError(f"header {name} frames the request, which is this client's business; leave it out")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name} cannot be sent; control characters and non-Latin text cannot")
        found[name.lower()] = (name, value)
    return found
