"""The API of a drill's pages: what each route takes and refuses, and who may ask which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from harness.drill.desk import Role
from harness.drill.web.access import COOKIES
from harness.drill.web.answers import API_BODY_MAX_BYTES, HOOK_BODY_MAX_BYTES
from harness.drill.web.server import OPEN, make_app
from harness.model.drill import DrillState
from tests.unit.drill_desk import HIDDEN, HINTS, OUTPUT, READ, DeskTwin, running
from tests.unit.drill_web import SECRETS, WORDS, bearer, browser_of, client_of, problem_of, proof

ANA = {"by": "ana"}
POSTS: dict[str, dict[str, Any]] = {
    "/api/mark": {"mark": "detected"},
    "/api/hint": {},
    "/api/note": {"text": "the queue grows"},
    "/api/step": {"step": "look", "done": True},
    "/api/command": {"step": "look", "number": 1},
    "/api/stop": {"reason": "customers"},
}
GETS = ("/api/view", "/api/command?seq=0", "/debrief", "/api/events")
HOOKS = ("/hooks/alertmanager", "/hooks/pagerduty", "/hooks/opsgenie", "/hooks/slack")
PAGES = ("/", "/facilitator", "/participants", "/static/<path:filename>", "/api/enter")


@pytest.fixture
def desk() -> DeskTwin:
    return running()


@pytest.fixture
def client(desk: DeskTwin) -> FlaskClient:
    """Return a participant's chat tool."""
    client = client_of(desk)
    client.environ_base["HTTP_AUTHORIZATION"] = bearer(Role.PARTICIPANT)["Authorization"]
    return client


def test_every_route_is_in_the_matrix(desk: DeskTwin) -> None:
    rules = {str(rule) for rule in make_app(desk, SECRETS).url_map.iter_rules()}
    assert rules == {*POSTS, *(get.partition("?")[0] for get in GETS), *HOOKS, *PAGES}


@pytest.mark.parametrize("path", [*POSTS, *GETS])
@pytest.mark.parametrize("credential", ["none", "wrong bearer", "basic", "wrong cookie", "webhook's token"])
def test_nobody_without_a_token_gets_anything(desk: DeskTwin, path: str, credential: str) -> None:
    client, headers = client_of(desk), proof()
    if credential == "basic":
        headers["Authorization"] = "Basic cGFydGljaXBhbnRzOnBsNG50ZWQ="
    if credential == "wrong cookie":
        client.set_cookie(COOKIES[Role.FACILITATOR], SECRETS.cookie(Role.PARTICIPANT))
    if credential.endswith(("bearer", "token")):
        headers |= bearer(SECRETS.webhook if credential == "webhook's token" else "wrong")
    before = list(desk.journal)
    answer = client.open(path, method="POST" if path in POSTS else "GET", json=POSTS.get(path), headers=headers)
    assert answer.status_code == 401 and problem_of(answer) == "no valid token"
    assert desk.journal == before


@pytest.mark.parametrize("role", tuple(Role))
@pytest.mark.parametrize("path", POSTS)
def test_either_role_may_do_everything_by_bearer_and_by_cookie(role: Role, path: str) -> None:
    for client, headers in ((client_of(running()), bearer(role)), (browser_of(running(), role), proof())):
        answer = client.post(path, json=POSTS[path], headers=headers)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", [*GETS, *POSTS])
def test_a_participant_asks_for_nothing_of_the_facilitators(desk: DeskTwin, path: str) -> None:
    client, before = browser_of(desk, Role.PARTICIPANT), list(desk.journal)
    url = f"{path}{'&' if '?' in path else '?'}as=facilitator"
    answer = client.open(url, method="POST" if path in POSTS else "GET", json=POSTS.get(path), headers=proof())
    assert answer.status_code == 403 and problem_of(answer) == "this is for the facilitator"
    assert desk.journal == before


@pytest.mark.parametrize("path", POSTS)
def test_a_post_with_a_cookie_needs_the_proof_of_a_page(desk: DeskTwin, path: str) -> None:
    before = list(desk.journal)
    answer = browser_of(desk, Role.FACILITATOR).post(path, json=POSTS[path])
    assert answer.status_code == 403 and "page of the drill" in problem_of(answer)
    assert desk.journal == before


def test_views_show_each_role_its_own(desk: DeskTwin) -> None:
    participant = browser_of(desk, Role.PARTICIPANT).get("/api/view")
    assert "hidden" not in participant.json and not any(word in participant.text for word in WORDS)
    facilitator = browser_of(desk, Role.FACILITATOR)
    assert facilitator.get("/api/view").json["hidden"] == HIDDEN
    as_participant = facilitator.get("/api/view?as=participant").json
    assert "hidden" not in as_participant and as_participant["role"] == "participant"
    assert facilitator.get("/api/view?as=king").status_code == 400


def test_a_mark_out_of_order_and_one_made_before_are_refused(client: FlaskClient, desk: DeskTwin) -> None:
    early = client.post("/api/mark", json={"mark": "diagnosed"})
    assert early.status_code == 409
    assert problem_of(early) == "diagnosed: comes after detected, which nobody has marked"
    assert client.post("/api/mark", json={"mark": "detected", **ANA}).json == {"mark": "detected"}
    again = client.post("/api/mark", json={"mark": "detected"})
    assert again.status_code == 409 and problem_of(again) == "detected: was marked before"
    assert [entry.by for entry in desk.drill().of("mark")] == ["ana"]


def test_hints_come_one_by_one_until_none_is_left(client: FlaskClient) -> None:
    assert [client.post("/api/hint").json["hint"] for _ in HINTS] == list(HINTS)
    assert client.post("/api/hint").status_code == 409


def test_a_note_is_kept_without_control_characters(client: FlaskClient, desk: DeskTwin) -> None:
    answer = client.post("/api/note", json={"text": "  red\x1b[31m\u202e\nline 2 \u00a0ü😀 ", "by": " ana\x07 "})
    assert answer.status_code == 200
    (note,) = desk.drill().of("note")
    assert (note.detail["text"], note.by) == ("red[31m\nline 2  ü😀", "ana")


@pytest.mark.parametrize("by", ["facilitator", "Facilitator", "alertmanager", "drill", "cluster", "pagerduty"])
def test_nobody_takes_a_name_of_the_drills_own(client: FlaskClient, desk: DeskTwin, by: str) -> None:
    answer = client.post("/api/note", json={"text": "it is fixed", "by": by})
    assert answer.status_code == 400 and "name of the drill's own" in problem_of(answer)
    assert not desk.drill().of("note")


def test_steps_are_ticked_and_skipped(client: FlaskClient) -> None:
    client.post("/api/step", json={"step": "look", "done": True})
    client.post("/api/step", json={"step": "events", "done": False})
    assert [step["done"] for step in client.get("/api/view").json["runbook"]["steps"]] == [True, False, None]
    assert client.post("/api/step", json={"step": "dance", "done": True}).status_code == 409


def test_a_steps_markdown_is_html_without_any_markup_of_its_own(client: FlaskClient) -> None:
    first, _, last = (step["html"] for step in client.get("/api/view").json["runbook"]["steps"])
    assert "<code>Pending</code>" in first and 'class="language-promql"' in first
    assert "&lt;script&gt;" in last and "<script" not in last and "<a" not in last


def test_a_command_is_run_and_its_output_asked_for_later(client: FlaskClient) -> None:
    said = client.post("/api/command", json={"step": "look", "number": 1, **ANA})
    assert said.json["output"] == OUTPUT and said.json["exit_status"] == 0
    (short,) = client.get("/api/view").json["commands"]
    assert "output" not in short and (short["command"], short["by"]) == (READ, "ana")
    assert client.get(f"/api/command?seq={short['seq']}").json["output"] == OUTPUT
    assert client.get("/api/command?seq=1").status_code == 404


def test_a_command_that_changes_the_cluster_is_refused_where_only_reading_is_allowed(client: FlaskClient) -> None:
    answer = client.post("/api/command", json={"step": "free", "number": 1})
    assert answer.status_code == 409 and "would change the cluster" in problem_of(answer)


def test_the_safety_stop_says_who_pulled_it(client: FlaskClient, desk: DeskTwin) -> None:
    for body in ({}, {"reason": "customers", **ANA}):
        assert client.post("/api/stop", json=body).json == {"stopped": True}
    told = [(entry.by, entry.detail["reason"]) for entry in desk.drill().of("stop")]
    assert told == [("participants", "pulled on the page by participants"), ("ana", "customers")]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/api/mark", b"{", "the body: Invalid JSON"),
        ("/api/mark", b"[]", "the body: Input should be an object"),
        ("/api/mark", b'{"mark": "fixed"}', "mark: Input should be 'detected'"),
        ("/api/mark", b'{"mark": "detected", "implies": true}', "implies: Extra inputs"),
        ("/api/note", b'{"text": " "}', "text: Value error, is empty"),
        ("/api/note", b'{"text": "\\ud800"}', "the body: Invalid JSON"),
        ("/api/step", b'{"step": "look", "done": "yes"}', "done: Input should be a valid boolean"),
        ("/api/command", b'{"step": "look", "number": 0}', "number: Input should be greater"),
        ("/api/stop", b'{"by": 7}', "by: Input should be a valid string"),
    ],
)
def test_a_body_of_another_shape_is_one_clear_refusal(
    client: FlaskClient, desk: DeskTwin, path: str, body: bytes, said: str
) -> None:
    before = list(desk.journal)
    answer = client.post(path, data=body, content_type="application/json")
    assert answer.status_code == 400 and problem_of(answer).startswith(said)
    assert desk.journal == before


def test_other_kinds_of_bodies_are_refused(client: FlaskClient) -> None:
    assert client.post("/api/mark", data={"mark": "detected"}).status_code == 415
    large = json.dumps({"text": "x" * API_BODY_MAX_BYTES})
    answer = client.post("/api/note", data=large, content_type="application/json")
    assert answer.status_code == 413 and str(HOOK_BODY_MAX_BYTES) in answer.json["remedy"]
    assert client.get("/api/mark").status_code == 405 and client.get("/nothing").status_code == 404
    assert client.options("/api/mark").status_code == 405


def test_a_host_that_is_not_ours_is_refused(desk: DeskTwin) -> None:
    for path in ("/", "/facilitator", "/api/view", "/static/drill.js"):
        headers = bearer(Role.FACILITATOR)
        answer = client_of(desk).get(path, base_url="http://attacker.example:8099", headers=headers)
        assert answer.status_code == 400 and "address that the drill printed" in answer.json["remedy"], path


def test_a_token_becomes_a_strict_cookie_that_is_not_the_token(desk: DeskTwin) -> None:
    client = client_of(desk)
    assert client.get("/facilitator").status_code == 401
    assert client.post("/api/enter", json={"token": SECRETS.facilitator}).status_code == 403
    wrong = client.post("/api/enter", json={"token": "wrong"}, headers=proof())
    assert wrong.status_code == 401 and problem_of(wrong) == "this is no token of the drill"
    entered = client.post("/api/enter", json={"token": SECRETS.facilitator}, headers=proof())
    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and SECRETS.facilitator not in cookie
    assert client.get(entered.json["page"]).status_code == 200


def test_a_participants_page_has_no_word_of_the_facilitators(desk: DeskTwin) -> None:
    client = browser_of(desk, Role.PARTICIPANT)
    page = client.get("/participants")
    told = page.text + "".join(client.get(path).text for path in ("/", "/facilitator", "/api/view", "/debrief"))
    assert page.status_code == 200 and client.get("/facilitator").status_code == 401
    assert not [word for word in (*WORDS, "Hidden from", SECRETS.facilitator, SECRETS.participants) if word in told]


def test_a_facilitators_page_has_the_participants_link(desk: DeskTwin) -> None:
    page = browser_of(desk, Role.FACILITATOR).get("/facilitator").text
    assert f"/participants#{SECRETS.participants}" in page and SECRETS.facilitator not in page


def test_every_answer_is_locked_down(desk: DeskTwin, client: FlaskClient) -> None:
    for path in ("/participants", "/api/view", "/nothing", "/static/drill.js", "/hooks/opsgenie"):
        with client.get(path) as answer:
            headers = answer.headers
        assert "default-src 'none'" in headers["Content-Security-Policy"], path
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers


def test_the_debrief_opens_in_a_sandbox_once_it_is_written(desk: DeskTwin, tmp_path: Path) -> None:
    client = browser_of(desk, Role.PARTICIPANT, folder=tmp_path)
    assert client.get("/debrief").status_code == 404
    (tmp_path / "debrief.html").write_text("<p>It was the GPUs.")
    assert client.get("/debrief").status_code == 404, "not before the drill says so"
    desk.finish("mitigated")
    desk.debrief = "debrief.html"
    with client.get("/debrief") as answer:
        assert "It was the GPUs" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox" in policy and "allow-same-origin" not in policy
    desk.debrief = "../journal.jsonl"
    assert client.get("/debrief").status_code == 404


def test_a_mistake_of_our_own_is_logged_and_shows_nothing(
    client: FlaskClient, desk: DeskTwin, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(desk, "note", lambda text, by: 1 / 0)
    answer = client.post("/api/note", json={"text": "x"})
    assert answer.status_code == 500 and "Zero" not in answer.text and "made a mistake" in problem_of(answer)
    assert "ZeroDivisionError" in caplog.text


def test_a_drill_that_is_over_takes_no_marks(client: FlaskClient, desk: DeskTwin) -> None:
    desk.finish("time limit")
    answer = client.post("/api/mark", json={"mark": "detected"})
    assert answer.status_code == 409 and problem_of(answer) == f"detected: the drill is {DrillState.OVER}"
    end = client.get("/api/view").json["end"]
    assert end["end"] == "time limit" and end["at_unix_s"] > 0


def test_only_the_sign_in_and_what_proves_itself_is_open() -> None:
    assert {"static", "start", "facilitator", "participants", "enter"} | {
        hook.rpartition("/")[2] for hook in HOOKS
    } == OPEN
