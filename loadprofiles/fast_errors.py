"""How an exchange of the fast HTTP path can fail: one exception, and what it says of an operating system's error.

`KINDS` is the whole vocabulary, so that failures can be counted by it. No sockets, no Locust.
"""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from harness.model.load import RequestOutcome

KINDS: Final = {
    "refused": RequestOutcome.CONNECT_ERROR,
    "dns": RequestOutcome.CONNECT_ERROR,
    "tls": RequestOutcome.CONNECT_ERROR,
    "unreachable": RequestOutcome.CONNECT_ERROR,
    "out-of-sockets": RequestOutcome.CONNECT_ERROR,
    "connect-timeout": RequestOutcome.TIMEOUT,
    "read-timeout": RequestOutcome.TIMEOUT,
    "total-timeout": RequestOutcome.TIMEOUT,
    "gave-up": RequestOutcome.TIMEOUT,
    "reset": RequestOutcome.BROKEN,
    "closed-before-answer": RequestOutcome.BROKEN,
    "cut-off": RequestOutcome.BROKEN,
    "unframed": RequestOutcome.BROKEN,
    "malformed": RequestOutcome.BROKEN,
    "header-too-large": RequestOutcome.BROKEN,
    "body-too-large": RequestOutcome.BROKEN,
    "switching-protocols": RequestOutcome.BROKEN,
    "no-event-stream": RequestOutcome.BROKEN,
    "given-up": RequestOutcome.UNFINISHED,
}
"""Every way to fail, and the outcome that it counts as."""

_OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}


@dataclass(eq=False)
class ExchangeError(Exception):
    """A request without an answer that was read whole.

    Attributes:
        kind: Key in `KINDS`; stable, fit for counting.
        reason: One phrase for people; may hold figures.
        status: Status line's code, or 0 where none was read.
    """

    kind: str
    reason: str
    status: int = 0

    def __str__(self) -> str:
        """Return the reason."""
        return self.reason

    @property
    def outcome(self) -> RequestOutcome:
        """What the request counts as."""
        return KINDS[self.kind]


def of_connect(error: OSError) -> ExchangeError:
    """Say why there is no connection. Of ours is only ``out-of-sockets``: it says nothing about the system."""
    if isinstance(error, socket.gaierror):
        return ExchangeError("dns", "name not found")
    if isinstance(error, ssl.SSLError):
        return ExchangeError("tls", _distrust(error))
    if isinstance(error, ConnectionRefusedError):
        return ExchangeError("refused", "connection refused")
    if error.errno in _OWN_LIMITS:
        return ExchangeError("out-of-sockets", f"this machine cannot open another connection ({_name(error)})")
    if isinstance(error, ConnectionError):
        return ExchangeError("reset", "connection reset while it was made")
    return ExchangeError("unreachable", f"host not reached ({_name(error)})")


def _distrust(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {getattr(error, 'verify_message', 'unknown why')}"
    return f"TLS handshake failed: {_reason(error)}"


def _reason(error: ssl.SSLError) -> str:
    return getattr(error, "reason", None) or "connection closed"  # only OpenSSL's own errors have the attribute


def of_lost(error: OSError, status: int) -> ExchangeError:
    """Say why a connection that stood was lost."""
    if isinstance(error, ConnectionResetError):
        return ExchangeError("reset", "connection reset", status)
    if isinstance(error, ssl.SSLError):
        return ExchangeError("reset", f"TLS broken: {_reason(error)}", status)
    return ExchangeError("reset", f"connection lost ({_name(error)})", status)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
