"""Marks from chat by Slack's documented form: proven, new, taken once; a refusal is told to who typed it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.drill.web.answers import API_BODY_MAX_BYTES
from harness.drill.web.chat import REPLAY_S
from harness.model.drill import DrillState, Mark
from tests.contract.pager_bodies import SLACK, slack_headers
from tests.unit.drill_desk import HINTS, DeskTwin, running
from tests.unit.drill_web import SECRETS, WORDS, client_of, problem_of

OLD, NEW = SECRETS.slack
FORM = "application/x-www-form-urlencoded"
DOCUMENTED = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack."
    b"com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0b"
    b"c887a14d10d2c447fce8b6703c"
)


@pytest.fixture
def desk() -> DeskTwin:
    return running()


def body_of(text: str, **form: str) -> bytes:
    return urlencode({**SLACK, "command": "/drill", "text": text, **form}).encode()


def send(client: Any, body: bytes, *, secret: str = NEW, age_s: float = 0.0, **headers: str) -> Any:
    proofs = slack_headers(body, secret, f"{time.time() - age_s:.0f}")
    return client.post("/hooks/slack", data=body, headers={**proofs, **headers}, content_type=FORM)


def type_in(desk: DeskTwin, text: str, **form: str) -> tuple[str, str]:
    """Type a command in chat; return who sees the answer, and the answer."""
    answer = send(client_of(desk), body_of(text, **form))
    assert answer.status_code == 200, answer.text
    return answer.json["response_type"], answer.json["text"]


def test_the_signature_is_the_one_that_slack_documents() -> None:
    secrets = replace(SECRETS, slack=("8f742231b10e8888abcd99yyyzzz85a5",))
    signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    assert secrets.signs_slack(DOCUMENTED, "1531420618", signature)
    assert not secrets.signs_slack(DOCUMENTED, "1531420619", signature)
    assert not secrets.signs_slack(DOCUMENTED + b"&", "1531420618", signature)


def test_the_four_marks_are_made_by_whoever_types_them(desk: DeskTwin) -> None:
    for mark in Mark:
        assert type_in(desk, f" {mark.value.title()} ") == ("in_channel", f"{mark.value}, by Steve")
    assert {entry.by for entry in desk.drill().marks.values()} == {"Steve"} and len(desk.drill().marks) == 4


def test_hints_notes_and_the_safety_stop(desk: DeskTwin) -> None:
    assert type_in(desk, "hint") == ("in_channel", f"hint: {HINTS[0]}")
    assert type_in(desk, "note the <b>queue</b>\n& grows")[0] == "in_channel"
    assert type_in(desk, "stop customers are hit") == ("in_channel", "the safety stop is pulled, by Steve")
    assert [entry.detail["text"] for entry in desk.drill().of("note")] == ["the <b>queue</b>\n& grows"]
    assert [entry.detail["reason"] for entry in desk.drill().of("stop")] == ["customers are hit"]


@pytest.mark.parametrize("text", ["", "help", "ack", "detectedly", "mark detected"])
def test_no_word_of_ours_is_answered_with_those_that_are(desk: DeskTwin, text: str) -> None:
    kind, said = type_in(desk, text)
    assert kind == "ephemeral" and said.startswith("say one of: detected, acknowledged, diagnosed, mitigated; hint;")
    assert not desk.drill().marks


def test_what_the_drill_refuses_is_told_to_whoever_typed_it_alone(desk: DeskTwin) -> None:
    kind, said = type_in(desk, "mitigated")
    assert kind == "ephemeral" and "comes after detected" in said and "mark detected first" in said
    desk.go(DrillState.ENDING)
    assert type_in(desk, "detected")[0] == "ephemeral"
    assert not desk.drill().marks


@pytest.mark.parametrize("name", ["", "cluster", "Alertmanager"])
def test_who_is_called_as_a_part_of_the_drill_goes_by_their_id(desk: DeskTwin, name: str) -> None:
    type_in(desk, "detected", user_name=name)
    assert desk.drill().marks[Mark.DETECTED].by == SLACK["user_id"]


def test_nobody_learns_in_chat_what_is_hidden(desk: DeskTwin) -> None:
    told = "".join(text for word in ("", "hint", "detected", "help") for text in type_in(desk, word))
    assert not [word for word in WORDS if word in told]


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_either_of_two_secrets_is_enough_while_one_is_changed(desk: DeskTwin, secret: str) -> None:
    assert send(client_of(desk), body_of("detected"), secret=secret).status_code == 200


@pytest.mark.parametrize("header", ["", "v0=", "v0=00", "v1=" + "0" * 64, "v0=é"])
def test_a_wrong_signature_is_refused_before_the_body_is_looked_at(desk: DeskTwin, header: str) -> None:
    before = list(desk.journal)
    for body in (body_of("detected"), b"\xff"):
        answer = send(client_of(desk), body, **{"X-Slack-Signature": header})
        assert answer.status_code == 401 and problem_of(answer) == "slack: no signature of the body is ours"
    assert desk.journal == before


def test_the_deprecated_token_proves_nothing(desk: DeskTwin) -> None:
    for token in (NEW, SECRETS.webhook, SECRETS.facilitator):
        answer = client_of(desk).post(
            "/hooks/slack", data=body_of("detected", token=token), content_type=FORM,
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert answer.status_code == 401
    assert not desk.drill().marks


@pytest.mark.parametrize("age_s", [REPLAY_S + 5, -REPLAY_S - 5])
def test_a_request_that_is_not_of_the_last_five_minutes_is_refused(desk: DeskTwin, age_s: float) -> None:
    answer = send(client_of(desk), body_of("detected"), age_s=age_s)
    assert answer.status_code == 401 and problem_of(answer) == "slack: the request is not of the last 300 s"
    assert send(client_of(desk), body_of("detected"), age_s=age_s * 0.9).status_code == 200


@pytest.mark.parametrize("sent_at", ["", "nan", "soon", "-1", "1e9", "٣", "9" * 400])
def test_a_time_that_is_none_is_refused_though_it_is_signed(desk: DeskTwin, sent_at: str) -> None:
    body = body_of("detected")
    headers = {key: value.encode().decode("latin-1") for key, value in slack_headers(body, NEW, sent_at).items()}
    answer = client_of(desk).post("/hooks/slack", data=body, headers=headers, content_type=FORM)
    assert answer.status_code == 401 and not desk.drill().marks


def test_the_same_request_again_is_refused_and_the_same_words_typed_again_are_not(desk: DeskTwin) -> None:
    client, body = client_of(desk), body_of("note it grows")
    headers = slack_headers(body, NEW, f"{time.time():.0f}")
    taken = [client.post("/hooks/slack", data=body, headers=headers, content_type=FORM) for _ in range(2)]
    assert [one.status_code for one in taken] == [200, 409] and "taken before" in problem_of(taken[1])
    assert send(client, body_of("note it grows", trigger_id="another")).status_code == 200
    assert len(desk.drill().of("note")) == 2


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"text=detected", 400, "user_id: Field required"),
        (b"user_id=%00&text=detected", 400, "user_id: Value error, is empty"),
        (b"user_id=%FF&text=detected", 400, "slack: the body is no form"),
        (b"\xff\xfe", 400, "slack: the body is no form"),
        (b"&".join(b"a=1" for _ in range(60)), 400, "slack: the body is no form"),
        (b"user_id=U1&text=" + b"a" * 2001, 400, "text: String should have at most 2000 characters"),
        (b"a" * (API_BODY_MAX_BYTES + 1), 413, "request entity too large"),
    ],
)
def test_an_unknown_shape_is_one_clear_refusal(desk: DeskTwin, body: bytes, status: int, said: str) -> None:
    before = list(desk.journal)
    answer = send(client_of(desk), body)
    assert (answer.status_code, problem_of(answer)) == (status, said)
    assert desk.journal == before


def test_a_form_must_be_said_to_be_one(desk: DeskTwin) -> None:
    body = body_of("detected")
    headers = slack_headers(body, NEW, f"{time.time():.0f}")
    answer = client_of(desk).post("/hooks/slack", data=body, headers=headers, content_type="text/plain")
    assert answer.status_code == 415 and "Content-Type" in answer.json["remedy"]


def test_without_a_secret_every_command_is_refused(monkeypatch: pytest.MonkeyPatch, desk: DeskTwin) -> None:
    client = client_of(desk)
    monkeypatch.setattr(type(SECRETS), "slack", ())
    answer = send(client, body_of("detected"))
    assert answer.status_code == 403 and "no secret is known" in problem_of(answer)
