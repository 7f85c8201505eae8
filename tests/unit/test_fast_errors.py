"""What an operating system's error becomes."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from harness.model.load import RequestOutcome
from loadprofiles.fast_errors import KINDS, ExchangeError, of_connect, of_lost


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no such name"), "dns"),
        (OSError(errno.ECONNREFUSED, "connect"), "refused"),
        (OSError(errno.ECONNRESET, "connect"), "reset"),
        (OSError(errno.EHOSTUNREACH, "connect"), "unreachable"),
        (OSError("no address"), "unreachable"),
        (OSError(errno.EMFILE, "socket"), "out-of-sockets"),
        (OSError(errno.EADDRNOTAVAIL, "connect"), "out-of-sockets"),
        (ssl.SSLCertVerificationError(1, "bad"), "tls"),
        (ssl.SSLEOFError(8, "ended"), "tls"),
    ],
)
def test_each_way_not_to_connect_has_a_kind(error: OSError, kind: str) -> None:
    found = of_connect(error)
    assert (found.kind, found.status) == (kind, 0)
    assert str(found)


@pytest.mark.parametrize("error", [OSError(errno.ECONNRESET, "x"), OSError(errno.ETIMEDOUT, "x"), ssl.SSLError(1, "x")])
def test_a_lost_connection_keeps_the_status_that_was_read(error: OSError) -> None:
    found = of_lost(error, 200)
    assert (found.kind, found.outcome, found.status) == ("reset", RequestOutcome.BROKEN, 200)


def test_no_kind_counts_as_good() -> None:
    assert RequestOutcome.OK not in {ExchangeError(kind, "").outcome for kind in KINDS}
