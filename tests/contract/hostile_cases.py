"""What servers do to the fast HTTP path, and what must become of it: the tables of test_fast_http.py."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.contract.hostile_server import Script

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Gameday-Pod: planner-a\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nfull"
LONG = 30.0
SHORT = {"connect_s": 0.5, "read_s": 1.0, "total_s": 4.0}
DRIP: Script = tuple(step for byte in range(60) for step in (b"x", 0.1))
UPLOAD = {"method": "POST", "body_bytes": 24_000_000}


@dataclass(frozen=True)
class Case:
    """A script and what must become of one request under it; ``extra`` goes to the child."""

    script: Script
    status: int | None = 200
    body: str = "ok"
    kind: str = ""
    outcome: str = "broken"
    extra: dict[str, Any] = field(default_factory=dict)


def fails(kind: str, *script: bytes | float | str, status: int | None = 0, **extra: Any) -> Case:
    outcome = "timeout" if kind.endswith("timeout") else "broken"
    return Case(script, status, kind=kind, outcome=outcome, extra=extra)


GOOD = {
    "plain": Case((OK,)),
    "in-bytes": Case(tuple(step for byte in OK for step in (bytes([byte]), 0.001))),
    "empty": Case((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",), body=""),
    "chunked": Case((CHUNKED + b"1\r\no\r\n", 0.05, b"1\r\nk\r\n0\r\n\r\n")),
    "chunk-extension": Case((CHUNKED + b'2;name="value;x"\r\nok\r\n0;last\r\n\r\n',)),
    "trailers": Case((CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Pod: no\r\n\r\n",)),
    "no-content": Case((b"HTTP/1.1 204 No Content\r\n\r\n",), 204, ""),
    "not-modified": Case((b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",), 304, ""),
    "redirect": Case((b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",), 302, ""),
    "unavailable": Case((FULL,), 503, "full"),
    "interim": Case(
        (
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        )
    ),
    "interim-late": Case((b"HTTP/1.1 102 Processing\r\n\r\n", 0.1, OK)),
    "head": Case((b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",), body="", extra={"method": "HEAD"}),
    "head-chunked": Case((CHUNKED,), body="", extra={"method": "HEAD"}),
    "head-bare": Case((b"HTTP/1.1 200 OK\r\n\r\n",), body="", extra={"method": "HEAD"}),
    "connection-close": Case((b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "close")),
    "old-protocol": Case((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "close")),
    "blank-lines-first": Case((b"\r\n\r\n" + OK,)),
    "big": Case((b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"b" * 3_000_000,), body="b" * 3_000_000),
    "upload": Case(("drain", OK), extra=UPLOAD),
    "upload-continue": Case((b"HTTP/1.1 100 Continue\r\n\r\n", 0.3, "drain", OK), extra=UPLOAD),
    "upload-refused": Case((b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", LONG), 413, "no", extra=UPLOAD),
    "slow-but-alive": Case(
        (b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n", *DRIP[:16]), body="x" * 8, extra={"limits": SHORT}
    ),
}

BAD = {
    "closed": fails("closed-before-answer", "close"),
    "closed-in-upload": fails("reset", "reset", **UPLOAD),
    "reset": fails("reset", "reset"),
    "reset-in-head": fails("reset", b"HTTP/1.1 200 OK\r\nConte", 0.1, "reset"),
    "reset-in-body": fails("reset", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 0.1, "reset", status=200),
    "cut-in-head": fails("cut-off", b"HTTP/1.1 200 OK\r\nConte", "close"),
    "cut-in-body": fails("cut-off", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part", "close", status=200),
    "cut-by-half-close": fails(
        "cut-off", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "half-close", LONG, status=200
    ),
    "cut-in-chunk": fails("cut-off", CHUNKED + b"5\r\nok", "close", status=200),
    "cut-before-last-chunk": fails("cut-off", CHUNKED + b"2\r\nok\r\n", "close", status=200),
    "cut-in-trailers": fails("cut-off", CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n", "close", status=200),
    "cut-in-interim": fails("cut-off", b"HTTP/1.1 100 Continue\r\n\r\n", "close", status=100),
    "unframed": fails("unframed", b"HTTP/1.1 200 OK\r\n\r\nall of it?", "close", status=200),
    "unframed-old": fails("unframed", b"HTTP/1.0 200 OK\r\n\r\nall of it?", "close", status=200),
    "unframed-coding": fails("unframed", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", "close", status=200),
    "unframed-open": fails("unframed", b"HTTP/1.1 200 OK\r\n\r\n", LONG, status=200),
    "garbage": fails("malformed", b"\x00\xff\x16\x03\x01 not HTTP at all\r\n\r\n"),
    "other-protocol": fails("malformed", b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", LONG, status=None),
    "ssh": fails("malformed", b"SSH-2.0-OpenSSH_9.6\r\n", LONG),
    "two-lengths": fails(
        "malformed", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", LONG, status=None
    ),
    "length-and-chunks": fails(
        "malformed",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        LONG,
        status=None,
    ),
    "negative-length": fails("malformed", b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", LONG, status=None),
    "boundless-length": fails(
        "malformed", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok", LONG, status=None
    ),
    "bad-chunk": fails("malformed", CHUNKED + b"zz\r\nok\r\n0\r\n\r\n", LONG, status=200),
    "boundless-chunk": fails("malformed", CHUNKED + b"FFFFFFFFFFFFFFFFFF\r\nok", LONG, status=200),
    "control-in-header": fails(
        "malformed", b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nok", LONG, status=None
    ),
    "impossible-status": fails("malformed", b"HTTP/1.1 042 Deep\r\nContent-Length: 2\r\n\r\nok", LONG, status=None),
    "interim-with-body": fails("malformed", b"HTTP/1.1 199 Odd\r\nContent-Length: 2\r\n\r\nok" + OK, LONG, status=199),
    "switching": fails(
        "switching-protocols",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw",
        LONG,
        status=101,
    ),
    "switching-bare": fails("switching-protocols", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", LONG, status=101),
    "long-header": fails("header-too-large", b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100_000, LONG, status=None),
    "long-whole-header": fails(
        "header-too-large",
        b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 9000 + b"\r\nContent-Length: 2\r\n\r\nok",
        LONG,
        status=200,
        limits={"header_bytes_max": 8192},
    ),
    "endless-headers": fails(
        "header-too-large", b"HTTP/1.1 200 OK\r\n", "flood:" + "X-Again: and again\r\n" * 50, status=None
    ),
    "endless-interim": fails("header-too-large", "flood:" + "HTTP/1.1 100 Continue\r\n\r\n" * 50, status=100),
    "endless-reason": fails("header-too-large", b"HTTP/1.1 200 ", "flood:" + "very " * 500, status=None),
    "long-body": fails(
        "body-too-large",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"b" * 5000,
        LONG,
        status=200,
        limits={"body_bytes_max": 4999},
    ),
    "endless-body": fails(
        "body-too-large", CHUNKED, "flood:" + "1\r\nb\r\n" * 500, status=200, limits={"body_bytes_max": 100_000}
    ),
    "endless-trailers": fails(
        "total-timeout",
        CHUNKED + b"0\r\n",
        "flood:" + "X-Again: and again\r\n" * 50,
        status=200,
        limits={"total_s": 1.0},
    ),
    "endless-blank-lines": fails("header-too-large", "flood:" + "\r\n" * 500),
    "silent": fails("read-timeout", LONG, limits=SHORT),
    "silent-in-head": fails("read-timeout", b"HTTP/1.1 200 OK\r\nCont", LONG, status=None, limits=SHORT),
    "silent-in-body": fails(
        "read-timeout", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", LONG, status=200, limits=SHORT
    ),
    "silent-before-last-chunk": fails("read-timeout", CHUNKED + b"2\r\nok\r\n", LONG, status=200, limits=SHORT),
    "slow-body": fails(
        "total-timeout",
        b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n",
        *DRIP,
        status=200,
        limits={"read_s": 1.0, "total_s": 2.0},
    ),
    "slow-head": fails(
        "total-timeout", b"HTTP/1.1 200 OK\r\nX-Slow: ", *DRIP, status=None, limits={"read_s": 1.0, "total_s": 2.0}
    ),
    "upload-unread": fails("read-timeout", LONG, limits=SHORT, **UPLOAD),
}

SEQUENCES: dict[str, tuple[dict[str, Script], dict[str, Any]]] = {
    "kept": ({}, {"paths": ["/plain-a"] * 5}),
    "renewed": ({}, {"paths": ["/plain-b"] * 5, "reconnect_every": 2}),
    "extra-bytes": ({"extra-bytes": (OK + b"more",)}, {"paths": ["/extra-bytes"] * 3}),
    "extra-answer": ({"extra-answer": (OK + FULL,)}, {"paths": ["/extra-answer"] * 3}),
    "extra-later": ({"extra-later": (OK, 0.1, FULL)}, {"paths": ["/extra-later"] * 3, "pause_s": 0.3}),
    "head-with-body": ({"head-with-body": (OK,)}, {"paths": ["/head-with-body"] * 2, "method": "HEAD"}),
    "head-kept": ({"head-kept": (OK[:-2],)}, {"paths": ["/head-kept"] * 3, "method": "HEAD"}),
    "idle-closed": ({"idle-closed": (OK, 0.05, "close")}, {"paths": ["/idle-closed"] * 3, "pause_s": 0.3}),
    "idle-reset": ({"idle-reset": (OK, 0.05, "reset")}, {"paths": ["/idle-reset"] * 3, "pause_s": 0.3}),
    "idle-long": ({}, {"paths": ["/plain-c"] * 2, "pause_s": 1.2}),
    "said-close": ({"said-close": GOOD["connection-close"].script}, {"paths": ["/said-close"] * 3}),
    "after-error": ({"after-error": BAD["cut-in-body"].script}, {"paths": ["/after-error", "/plain-d", "/plain-d"]}),
    "given-up": ({"given-up": (LONG,)}, {"paths": ["/given-up", "/plain-e"], "act": "close"}),
    "killed": ({"killed": (LONG,)}, {"paths": ["/killed", "/plain-f"], "act": "kill"}),
    "double": ({"double": (2.0, OK)}, {"paths": ["/double"], "act": "double"}),
    "stream": (
        {"stream": (CHUNKED + b"2\r\na1\r\n", 0.1, b"2\r\na2\r\n", 0.1, b"0\r\n\r\n")},
        {"paths": ["/stream"], "chunks": 0, "limits": {"body_bytes_max": 3}},
    ),
    "stream-full": ({"stream-full": (FULL,)}, {"paths": ["/stream-full"], "chunks": 0}),
    "stream-left": (
        {"stream-left": (CHUNKED, *(b"2\r\nab\r\n", 0.1) * 50)},
        {"paths": ["/stream-left", "/plain-g"], "chunks": 3},
    ),
    "stream-cut": ({"stream-cut": (CHUNKED + b"2\r\na1\r\n", 0.1, "close")}, {"paths": ["/stream-cut"], "chunks": 0}),
    "unsendable": ({}, {"paths": ["/with space", "no-slash", "/a\r\nX: y", "/plain-h"]}),
}


def mutated(number: int) -> Script:
    """Make an answer that is somewhat wrong, in pieces, and then silence or the end."""
    chance = random.Random(number)  # noqa: S311 - noise, not secrets
    base = bytearray(
        chance.choice(
            [OK, FULL, CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK]
        )
    )
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(base))
        change = chance.choice(
            [b"", b"\r\n", b"\x00", b"9", b":", bytes([chance.randrange(256)]), bytes(base[at : at + 20])]
        )
        base[at : at + chance.randrange(6)] = change
    cut = sorted(chance.randrange(len(base) + 1) for _ in range(2))
    pieces = (bytes(base[: cut[0]]), 0.01, bytes(base[cut[0] : cut[1]]), bytes(base[cut[1] :]))
    return (*pieces, chance.choice(["close", "reset", 0.6, 0.0]))
