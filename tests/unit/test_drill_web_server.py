"""The server of a drill's pages on a real port: its streams, its restart, its refusals to start."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from harness.drill.desk import Role
from harness.drill.web import Serving, WebSecrets, serve
from harness.drill.web.access import COOKIES
from harness.drill.web.answers import API_BODY_MAX_BYTES
from harness.drill.web.events import PAGES_MAX
from harness.drill.web.server import ANYWHERE
from harness.model.drill import DrillError
from tests.unit.drill_desk import DeskTwin, running
from tests.unit.drill_web import SECRETS, WORDS, bearer

LIMIT_S = 20


@pytest.fixture
def desk() -> DeskTwin:
    return running()


@pytest.fixture
def serving(desk: DeskTwin) -> Iterator[Serving]:
    """Serve the desk on any free port of the loopback."""
    started = serve(desk, secrets=SECRETS)
    yield started
    started.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Return a client that asks nobody but us."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


def messages(answer: requests.Response) -> Iterator[tuple[str, Any]]:
    """Yield the events of a stream: name and data."""
    name = ""
    for line in answer.iter_lines(decode_unicode=True):
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def stream(session: requests.Session, serving: Serving, role: Role = Role.PARTICIPANT) -> requests.Response:
    """Open a role's stream."""
    return session.get(f"{serving.url}/api/events", headers=bearer(role), stream=True, timeout=LIMIT_S)


def test_a_stream_tells_the_view_at_once_at_each_change_and_its_end(
    desk: DeskTwin, serving: Serving, session: requests.Session
) -> None:
    with stream(session, serving) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = messages(answer)
        assert next(events)[1]["notes"] == []
        desk.note("the queue grows", "ana")
        told = next(view for name, view in events if view["notes"])
        assert told["notes"][0]["text"] == "the queue grows"
        desk.finish("mitigated")
        *views, (last, nothing) = list(events)
    assert (last, nothing) == ("over", {}) and views[-1][1]["state"] == "over"


def test_a_participants_stream_says_nothing_that_is_hidden(
    desk: DeskTwin, serving: Serving, session: requests.Session
) -> None:
    with stream(session, serving) as answer:
        first = json.dumps(next(messages(answer))[1])
    with stream(session, serving, Role.FACILITATOR) as answer:
        facilitators = json.dumps(next(messages(answer))[1])
    assert not [word for word in WORDS if word in first]
    assert all(word in facilitators for word in WORDS)


def test_closing_ends_open_streams_and_a_second_close_is_no_mistake(
    serving: Serving, session: requests.Session
) -> None:
    with stream(session, serving) as answer:
        events = messages(answer)
        next(events)
        serving.close()
        serving.close()
        with pytest.raises((requests.RequestException, StopIteration)):
            while True:
                next(events)
    with pytest.raises(requests.ConnectionError):
        session.get(serving.url, timeout=LIMIT_S)


def test_a_restart_on_the_same_port_keeps_cookies_and_loses_no_mark(desk: DeskTwin, session: requests.Session) -> None:
    first = serve(desk, secrets=SECRETS)
    session.cookies.set(COOKIES[Role.PARTICIPANT], SECRETS.cookie(Role.PARTICIPANT))
    headers = {"X-Gameday": "drill"}
    made = session.post(f"{first.url}/api/mark", json={"mark": "detected"}, headers=headers, timeout=LIMIT_S)
    assert made.status_code == 200
    first.close()
    second = serve(DeskTwin(journal=desk.journal), secrets=SECRETS, port=first.port)
    try:
        view = session.get(f"{second.url}/api/view", timeout=LIMIT_S).json()
    finally:
        second.close()
    assert second.url == first.url and list(view["marks"]) == ["detected"]


def test_links_hold_their_tokens_where_no_request_carries_them(serving: Serving) -> None:
    assert serving.url_facilitator == f"{serving.url}/facilitator#{SECRETS.facilitator}"
    assert serving.url_participants == f"{serving.url}/participants#{SECRETS.participants}"
    assert SECRETS.facilitator not in repr(serving) + repr(SECRETS)


def test_there_are_only_so_many_streams_and_a_closed_one_makes_room(
    desk: DeskTwin, serving: Serving, session: requests.Session
) -> None:
    with requests.Session() as many:
        many.trust_env = False
        opened = [stream(many, serving) for _ in range(PAGES_MAX)]
        refused = stream(session, serving)
        assert refused.status_code == 503 and refused.json()["error"] == f"{PAGES_MAX} pages are open already"
        for answer in opened:
            answer.close()
    desk.finish("mitigated")
    waiting = stream(session, serving)
    for _ in range(200):
        if waiting.status_code == 200:
            break
        waiting = stream(session, serving)
    assert [name for name, _ in messages(waiting)][-1] == "over"


def test_the_server_does_not_say_what_it_runs_on_and_logs_no_request(
    serving: Serving, session: requests.Session, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = session.get(f"{serving.url}/participants?token=pl4nted", timeout=LIMIT_S)
    assert answer.status_code == 401 and answer.headers["Server"] == "gameday"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("first", [b'{"text": "x"}', b" "])
def test_a_body_without_a_length_is_limited_too(desk: DeskTwin, serving: Serving, first: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=LIMIT_S)
    chunks = (first.ljust(1024) for _ in range(API_BODY_MAX_BYTES // 1024 + 2))
    headers = {**bearer(Role.PARTICIPANT), "Content-Type": "application/json"}
    connection.request("POST", "/api/note", body=chunks, headers=headers, encode_chunked=True)
    answer = connection.getresponse()
    assert answer.status == 413, answer.read()
    connection.close()
    assert not desk.drill().of("note")


def test_broken_chunks_are_refused(serving: Serving) -> None:
    head = f"POST /api/note HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {SECRETS.participants}\r\n"
    with socket.create_connection(("127.0.0.1", serving.port), LIMIT_S) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode())
        assert b"400 BAD REQUEST" in connection.recv(4096)


def test_a_port_that_is_taken_is_one_clear_error(desk: DeskTwin) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DrillError, match=rf"cannot listen on 127\.0\.0\.1, port {port} .*: take another --port"):
            serve(desk, secrets=SECRETS, port=port)


@pytest.mark.parametrize("bind", ANYWHERE)
def test_every_address_needs_a_name_to_be_reached_by(desk: DeskTwin, bind: str) -> None:
    with pytest.raises(DrillError, match="say by which name they are reached"):
        serve(desk, secrets=SECRETS, bind=bind)


def test_a_further_host_is_taken_and_is_the_one_in_the_links(desk: DeskTwin, session: requests.Session) -> None:
    named = serve(desk, secrets=SECRETS, hosts=("drill.example",))
    try:
        assert named.url == f"http://drill.example:{named.port}"
        for host, status in (("drill.example", 401), ("127.0.0.1", 401), ("attacker.example", 400)):
            answer = session.get(
                f"http://127.0.0.1:{named.port}/api/view", headers={"Host": f"{host}:{named.port}"}, timeout=LIMIT_S
            )
            assert answer.status_code == status, host
    finally:
        named.close()


def test_tokens_that_are_short_or_the_same_are_refused() -> None:
    with pytest.raises(DrillError, match="too short"):
        WebSecrets("short", "b" * 20, "c" * 20)
    with pytest.raises(DrillError, match="are the same"):
        WebSecrets("b" * 20, "b" * 20, "c" * 20)
    assert WebSecrets.random() != WebSecrets.random()
    assert WebSecrets.random(webhook="w" * 20, pagerduty=["p" * 20]).webhook == "w" * 20
