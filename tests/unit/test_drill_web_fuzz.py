"""Whatever is sent, a drill's server answers with a refusal and stays as it was; never by a mistake of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.drill.desk import Role
from harness.model.drill import Mark
from tests.contract.pager_bodies import ALERTMANAGER, OPSGENIE, PAGERDUTY, SLACK, signature, slack_headers
from tests.unit.drill_desk import DeskTwin, running
from tests.unit.drill_web import SECRETS, bearer, browser_of, client_of, proof

APIS = ("mark", "hint", "note", "step", "command", "stop", "enter")
HOOKS = {"alertmanager": ALERTMANAGER, "pagerduty": PAGERDUTY, "opsgenie": OPSGENIE}
RELAXED = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
keys = st.sampled_from(["mark", "by", "text", "step", "done", "number", "reason", "token"])
bodies = st.binary(max_size=200) | st.builds(
    lambda value: json.dumps(value).encode(), values | st.dictionaries(keys, values, max_size=5)
)


def form(fields: Mapping[str, str]) -> bytes:
    """Return fields as a form; what no encoding has is asked for by a question mark."""
    return urlencode(fields, errors="replace").encode()


def test_seeds_are_taken() -> None:
    for name, body in HOOKS.items():
        desk = DeskTwin(now=lambda: 0.0)
        assert hook(desk, name, json.dumps(body).encode()).status_code == 200, name


def hook(desk: DeskTwin, name: str, body: bytes) -> Any:
    """Send a body to a webhook with every proof that it may ask for."""
    headers = {**bearer(SECRETS.webhook), "X-PagerDuty-Signature": signature(body, SECRETS.pagerduty[0])}
    return client_of(desk).post(f"/hooks/{name}", data=body, headers=headers)


@RELAXED
@given(name=st.sampled_from(APIS), body=bodies, query=st.text(max_size=10))
def test_any_body_of_the_api_is_taken_or_refused(name: str, body: bytes, query: str) -> None:
    desk = running()
    client = browser_of(desk, Role.PARTICIPANT)
    answer = client.post(
        f"/api/{name}", data=body, headers=proof(), content_type="application/json", query_string={"q": query}
    )
    check(desk, answer)


@RELAXED
@given(name=st.sampled_from(sorted(HOOKS)), body=bodies)
def test_any_body_of_a_webhook_is_refused(name: str, body: bytes) -> None:
    desk = running()
    answer = hook(desk, name, body)
    check(desk, answer)
    assert answer.status_code == 400


def chat(desk: DeskTwin, body: bytes, **headers: str) -> Any:
    """Send a body as a chat tool does, signed now."""
    proofs = slack_headers(body, SECRETS.slack[0], f"{time.time():.0f}")
    return client_of(desk).post(
        "/hooks/slack", data=body, headers={**proofs, **headers}, content_type="application/x-www-form-urlencoded"
    )


@RELAXED
@given(body=st.binary(max_size=200) | st.dictionaries(st.sampled_from([*SLACK]), st.text(), max_size=5).map(form))
def test_any_form_of_chat_is_answered_or_refused(body: bytes) -> None:
    desk = running()
    check(desk, chat(desk, body))


@RELAXED
@given(text=st.builds(" ".join, st.lists(st.sampled_from([*Mark, "hint", "note", "stop"]) | st.text(), max_size=4)))
def test_any_words_of_chat_are_answered_in_chat(text: str) -> None:
    desk = running()
    answer = chat(desk, form({**SLACK, "text": text[:500]}))
    check(desk, answer)
    assert answer.status_code == 200 and set(answer.json) == {"response_type", "text"}


def replaced(body: Any, path: list[int], value: Any) -> Any:
    """Return a body with one of its parts replaced, wherever the path leads."""
    if not path or not isinstance(body, dict | list) or not body:
        return value
    at = path[0] % len(body)
    if isinstance(body, list):
        return [replaced(one, path[1:], value) if index == at else one for index, one in enumerate(body)]
    key = list(body)[at]
    return {one: replaced(part, path[1:], value) if one == key else part for one, part in body.items()}


@RELAXED
@given(name=st.sampled_from(sorted(HOOKS)), path=st.lists(st.integers(0, 20), max_size=5), value=values)
def test_a_vendors_body_with_any_part_replaced_is_taken_or_refused(name: str, path: list[int], value: Any) -> None:
    desk = DeskTwin(now=lambda: 0.0)
    check(desk, hook(desk, name, json.dumps(replaced(HOOKS[name], path, value)).encode()))


@RELAXED
@given(header=st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=80))
def test_any_credential_but_ours_is_refused(header: str) -> None:
    client = client_of(running())
    for name, body in HOOKS.items():
        headers = {"Authorization": header, "X-PagerDuty-Signature": header, "X-Gameday-Token": header}
        assert client.post(f"/hooks/{name}", json=body, headers=headers).status_code == 401
    headers = {"X-Slack-Signature": header, "X-Slack-Request-Timestamp": header}
    assert client.post("/hooks/slack", data=form(SLACK), headers=headers).status_code == 401
    assert client.get("/api/view", headers={"Authorization": header}).status_code == 401


def check(desk: DeskTwin, answer: Any) -> None:
    """Check that an answer is one of ours, and that a refused one changed nothing but what came before it."""
    assert answer.status_code in {200, 400, 401, 409, 413}, answer.text
    if answer.status_code != 200:
        assert set(answer.json) == {"error", "remedy"}
    json.dumps([dict(entry.detail) for entry in desk.journal], allow_nan=False).encode()
    "".join(f"{entry.by}{entry.detail}" for entry in desk.journal).encode()
