"""The fast HTTP path against a server that does whatever servers can do: a whole answer, or an error that says why."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.contract.hostile_cases import BAD, CHUNKED, FULL, GOOD, LONG, OK, SEQUENCES, UPLOAD, mutated
from tests.contract.hostile_server import HostileServer, Script


@dataclass
class Session:
    found: dict[str, list[dict[str, Any]]]
    server: HostileServer

    def one(self, name: str) -> dict[str, Any]:
        (only,) = self.found[name]
        return only


def run_child(cases: list[dict[str, Any]], *mode: str, **environ: str) -> dict[str, list[dict[str, Any]]]:
    """Run cases in a process of its own; in mode ``patched`` it is patched by gevent as Locust's processes are."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.fast_http_child", *mode],
        input=json.dumps(cases), capture_output=True, text=True, timeout=120, check=False, env=os.environ | environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["loaded"] == []
    found: dict[str, list[dict[str, Any]]] = told["found"]
    return found


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """All cases run at once, in one child: most of them wait."""
    single = GOOD | BAD
    scripts: dict[str, Script] = {name: case.script for name, case in single.items()}
    for made, _ in SEQUENCES.values():
        scripts |= made
    with HostileServer(scripts, make=lambda path: (OK,)) as server:
        cases = [{"name": n, "url": server.url, "paths": [f"/{n}"], **case.extra} for n, case in single.items()]
        cases += [{"name": n, "url": server.url, **extra} for n, (_, extra) in SEQUENCES.items()]
        yield Session(run_child(cases, "patched"), server)
    assert {"locust", "gevent"}.isdisjoint(sys.modules)


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_that_was_read_whole_is_one(session: Session, name: str) -> None:
    case, found = GOOD[name], session.one(name)
    assert (found.get("status"), found.get("body")) == (case.status, case.body), found
    assert found["in_order"]
    assert session.server.asked[name] == 1


@pytest.mark.parametrize("name", BAD)
def test_every_other_ends_in_an_error_that_names_why(session: Session, name: str) -> None:
    case, found = BAD[name], session.one(name)
    assert (found.get("kind"), found.get("outcome")) == (case.kind, case.outcome), found
    assert case.status in (None, found["status"])
    assert session.server.asked[name] == 1  # and nothing was sent twice


def statuses(session: Session, name: str) -> list[Any]:
    return [result.get("status", result) for result in session.found[name]]


def connections(session: Session, path: str) -> int:
    return session.server.connections[path]


def test_d07_a_connection_is_kept_and_made_anew_every_n_requests(session: Session) -> None:
    assert statuses(session, "kept") == [200] * 5
    assert statuses(session, "renewed") == [200] * 5
    assert (connections(session, "plain-a"), connections(session, "plain-b")) == (1, 3)
    assert session.one("plain")["pod"] == "planner-a"


@pytest.mark.parametrize("name", ["extra-bytes", "extra-answer", "extra-later"])
def test_bytes_that_belong_to_no_answer_end_the_connection(session: Session, name: str) -> None:
    assert [(r["status"], r["body"]) for r in session.found[name]] == [(200, "ok")] * 3
    assert (connections(session, name), session.server.asked[name]) == (3, 3)


def test_the_answer_to_a_head_has_no_body_whatever_follows(session: Session) -> None:
    assert [(r["status"], r["body"]) for r in session.found["head-with-body"]] == [(200, "")] * 2
    assert statuses(session, "head-kept") == [200] * 3
    assert (connections(session, "head-with-body"), connections(session, "head-kept")) == (2, 1)


@pytest.mark.parametrize("name", ["idle-closed", "idle-reset", "said-close"])
def test_a_connection_that_the_server_ended_is_not_used_again(session: Session, name: str) -> None:
    assert statuses(session, name) == [200] * 3
    assert (connections(session, name), session.server.asked[name]) == (3, 3)


def test_a_connection_that_rested_is_looked_at_and_kept(session: Session) -> None:
    assert statuses(session, "idle-long") == [200] * 2
    assert connections(session, "plain-c") == 1


def test_after_an_error_comes_a_new_connection(session: Session) -> None:
    assert [r.get("kind", r["status"]) for r in session.found["after-error"]] == ["cut-off", 200, 200]
    assert (connections(session, "plain-d"), session.server.asked["plain-d"]) == (1, 2)


def test_an_exchange_can_be_ended_from_outside(session: Session) -> None:
    closed, after = session.found["given-up"]
    assert (closed["kind"], closed["outcome"], after["status"]) == ("given-up", "unfinished", 200)
    killed, after = session.found["killed"]
    assert (killed, after["status"]) == ({"killed": True}, 200)


def test_two_greenlets_cannot_share_a_client(session: Session) -> None:
    assert session.one("double")["status"] == 200
    assert session.one("double/second")["exception"].startswith("RuntimeError")
    assert session.server.asked["double"] == 1


def test_a_stream_is_handed_out_as_it_comes(session: Session) -> None:
    whole = session.one("stream")
    assert (whole["status"], whole["body"], whole["chunks"], whole["spread"]) == (200, "", ["a1", "a2"], True)
    refused = session.one("stream-full")
    assert (refused["status"], refused["body"], refused["chunks"]) == (503, "full", [])
    cut = session.one("stream-cut")
    assert (cut["kind"], cut["chunks"]) == ("cut-off", ["a1"])


def test_a_person_who_gives_up_leaves_the_connection_behind(session: Session) -> None:
    left, after = session.found["stream-left"]
    assert (left["exception"], left["chunks"][:3]) == ("GaveUp: enough", ["ab"] * 3)
    assert (after["status"], connections(session, "plain-g")) == (200, 1)


def test_what_cannot_be_sent_is_refused_before_anything_is(session: Session) -> None:
    *refused, sent = session.found["unsendable"]
    assert [r["exception"].partition(":")[0] for r in refused] == ["ValueError"] * 3
    assert sent["status"] == 200
    assert session.server.asked["with space"] == session.server.asked["a"] == 0


def test_a_connection_that_cannot_be_made_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:  # fill the backlog, so that nobody answers the next one
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        urls = {
            "refused": f"http://127.0.0.1:{unused.getsockname()[1]}",
            "connect-timeout": f"http://127.0.0.1:{full.getsockname()[1]}",
            "dns": f"http://{'a' * 64}.invalid",
        }
        limits = {"connect_s": 0.5}
        found = run_child([{"name": k, "url": u, "paths": ["/"] * 2, "limits": limits} for k, u in urls.items()])
        for sock in waiting:
            sock.close()
    outcomes = {
        name: [(r.get("kind"), r.get("outcome"), r.get("status")) for r in results] for name, results in found.items()
    }
    assert outcomes == {
        "refused": [("refused", "connect_error", 0)] * 2,
        "connect-timeout": [("connect-timeout", "timeout", 0)] * 2,
        "dns": [("dns", "connect_error", 0)] * 2,
    }


def context_of(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("mode", ["patched", "plain"])
def test_tls_is_verified_and_read_whole(tmp_path: Path, mode: str) -> None:
    """Trusted, untrusted, for another host, not TLS at all, silent, cut off without a farewell."""
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    big = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"b" * 300_000
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
    scripts: dict[str, Script] = {"ok": (OK,), "big": (big,), "cut": (cut, "close"), "later": (OK, 0.05, "close")}
    scripts |= {"upload": ("drain", OK), "stall": (cut, LONG), "stream": (CHUNKED, *(b"2\r\nab\r\n", 0.05) * 200)}
    good = context_of(ours, "127.0.0.1")
    with (
        HostileServer(scripts, tls=good) as trusted,
        HostileServer(tls=context_of(theirs, "127.0.0.1")) as untrusted,
        HostileServer(tls=context_of(ours, "other.example")) as other,
        HostileServer(greeting=(FULL, LONG)) as plain,
        HostileServer(greeting=(LONG,)) as silent,
        HostileServer(greeting=("close",)) as closing,
    ):
        hosts = {"untrusted": untrusted, "other": other, "plain": plain, "silent": silent, "closing": closing}
        urls = {name: server.url.replace("http:", "https:") for name, server in hosts.items()}
        cases = [{"name": n, "url": u, "paths": ["/ok"], "limits": {"connect_s": 1.0}} for n, u in urls.items()]
        cases += [{"name": "good", "url": trusted.url, "paths": ["/ok", "/ok", "/big", "/cut", "/ok"]}]
        cases += [{"name": "later", "url": trusted.url, "paths": ["/later"] * 2, "pause_s": 0.3}]
        cases += [{"name": "idle", "url": trusted.url, "paths": ["/ok"] * 2, "pause_s": 1.2}]
        cases += [{"name": "stall", "url": trusted.url, "paths": ["/stall", "/ok"], "limits": {"read_s": 1.0}}]
        busy = {"chunks": 0, "taking_s": 1.5, "limits": {"read_s": 1.0, "total_s": 2.0}}
        cases += [{"name": "stream", "url": trusted.url, "paths": ["/stream", "/ok"], **busy}]
        cases += [{"name": "upload", "url": trusted.url, "paths": ["/upload"] * 2, **UPLOAD}]
        found = run_child(cases, mode, SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    assert [r.get("kind", r["status"]) for r in found["good"]] == [200, 200, 200, "cut-off", 200]
    assert len(found["good"][2]["body"]) == 300_000
    assert [r.get("status") for name in ("later", "idle", "upload") for r in found[name]] == [200] * 6
    assert [r.get("kind", r.get("status")) for r in found["stall"]] == ["read-timeout", 200]
    assert [r.get("kind", r.get("status")) for r in found["stream"]] == ["total-timeout", 200]
    assert set(found["stream"][0]["chunks"]) == {"ab", "ok"}  # and no cipher; the second answer is a stream too
    assert +trusted.connections == {"ok": 5, "later": 2, "upload": 1, "stall": 1, "stream": 1}
    refused = {name: (found[name][0].get("kind"), found[name][0].get("outcome")) for name in urls}
    assert refused == dict.fromkeys(("untrusted", "other", "plain", "closing"), ("tls", "connect_error")) | {
        "silent": ("connect-timeout", "timeout")
    }
    assert found["untrusted"][0]["reason"].startswith("certificate not trusted")
    assert found["other"][0]["reason"].startswith("certificate not trusted")
    assert not untrusted.asked | other.asked | plain.asked


def test_whatever_a_server_sends_ends_within_the_limits(session: Session) -> None:
    """Seeded mutations: each ends in an answer that is as long as it says, or in an error from the list."""
    numbers = range(400)
    with HostileServer(make=lambda path: mutated(int(path.split("/")[1]))) as server:
        limits = {"connect_s": 5.0, "read_s": 0.4, "total_s": 1.0}
        cases = [{"name": str(n), "url": server.url, "paths": [f"/fuzz/{n}"] * 2, "limits": limits} for n in numbers]
        found = [result for results in run_child(cases).values() for result in results]
    wrong = [r for r in found if "kind" not in r and "headers" not in r]
    assert wrong == []
    lengths = [(r["headers"].get("content-length"), len(r["body"])) for r in found if "headers" in r]
    assert all(told is None or int(told) == length for told, length in lengths)
    assert len(lengths) > 100
    assert len({r["kind"] for r in found if "kind" in r}) >= 5
