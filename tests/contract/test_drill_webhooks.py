"""The webhooks by the vendors' documented bodies: taken once, marked, refused for one clear reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.drill.web.answers import HOOK_BODY_MAX_BYTES
from harness.model.drill import DrillState, Mark
from tests.contract.pager_bodies import ALERTMANAGER, FIRING, LABELS, OPSGENIE, PAGERDUTY, signature
from tests.unit.drill_desk import DeskTwin, running
from tests.unit.drill_web import SECRETS, bearer, client_of, problem_of

OLD, NEW = SECRETS.pagerduty


@pytest.fixture
def desk() -> DeskTwin:
    """Return a desk whose drill began before the documented examples happened."""
    return running(now=lambda: 0.0)


def send(desk: DeskTwin, name: str, body: Any, **headers: str) -> Any:
    """Send a body to a webhook as its vendor does."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    proofs = {"pagerduty": {"X-PagerDuty-Signature": signature(raw, NEW)}}.get(name, bearer(SECRETS.webhook))
    return client_of(desk).post(
        f"/hooks/{name}", data=raw, headers={**proofs, **headers}, content_type="application/json"
    )


def incident(**event: Any) -> dict[str, Any]:
    """Return PagerDuty's example with other facts in its event."""
    return {"event": {**PAGERDUTY["event"], **event}}


def alert_action(action: str, **alert: Any) -> dict[str, Any]:
    """Return Opsgenie's example of another action."""
    return {**OPSGENIE, "action": action, "alert": {**OPSGENIE["alert"], **alert}}


def test_alertmanager_fires_and_resolves(desk: DeskTwin) -> None:
    assert send(desk, "alertmanager", ALERTMANAGER).json == {"taken": 1, "repeated": 0}
    resolved = {**FIRING, "status": "resolved", "endsAt": "2026-11-28T09:58:26+01:00"}
    send(desk, "alertmanager", {**ALERTMANAGER, "status": "resolved", "alerts": [resolved]})
    fired, over = desk.drill().of("page")
    assert fired.by == "alertmanager" and fired.detail == {
        "source": "alertmanager",
        "event": "1a30ba71cca2921f/2026-11-28T09:52:26.739266+01:00/firing",
        "alert": "BacklogTooOld",
        "state": "firing",
        "severity": "page",
        "labels": LABELS,
        "summary": "Requests wait for minutes.",
    }
    assert over.detail["state"] == "resolved" and not desk.drill().marks


def test_alertmanagers_own_repetitions_change_nothing(desk: DeskTwin) -> None:
    other = {**FIRING, "fingerprint": "99", "labels": {**LABELS, "alertname": "PlannerSaturated"}}
    send(desk, "alertmanager", ALERTMANAGER)
    both = {**ALERTMANAGER, "alerts": [FIRING, other]}
    assert send(desk, "alertmanager", both).json == {"taken": 1, "repeated": 1}
    assert send(desk, "alertmanager", both).json == {"taken": 0, "repeated": 2}
    assert [page.detail["alert"] for page in desk.drill().of("page")] == ["BacklogTooOld", "PlannerSaturated"]


def test_alerts_without_fingerprints_are_told_apart_by_their_labels(desk: DeskTwin) -> None:
    bare = {key: value for key, value in FIRING.items() if key != "fingerprint"}
    alerts = [bare, {**bare, "labels": {**LABELS, "job": "adapter"}}, bare]
    assert send(desk, "alertmanager", {**ALERTMANAGER, "alerts": alerts}).json["taken"] == 2


def test_what_alertmanager_left_out_is_noted(desk: DeskTwin) -> None:
    send(desk, "alertmanager", {**ALERTMANAGER, "truncatedAlerts": 7})
    (note,) = desk.drill().of("note")
    assert note.detail["text"].startswith("7 more alerts were left out") and note.by == "alertmanager"


def test_alertmanager_proves_itself_by_bearer_or_basic(desk: DeskTwin) -> None:
    client = client_of(desk)
    assert client.post("/hooks/alertmanager", json=ALERTMANAGER, auth=("gameday", SECRETS.webhook)).status_code == 200
    for auth in (("gameday", "wrong"), (SECRETS.webhook, ""), None):
        answer = client.post("/hooks/alertmanager", json=ALERTMANAGER, auth=auth)
        assert answer.status_code == 401 and "token is missing or wrong" in problem_of(answer)
    assert len(desk.drill().of("page")) == 1


def test_pagerduty_acknowledges_by_whoever_did(desk: DeskTwin) -> None:
    assert send(desk, "pagerduty", PAGERDUTY).json == {"taken": 1, "repeated": 0}
    (page,) = desk.drill().of("page")
    assert page.by == "Tenex Engineer" and page.detail["severity"] == "P1"
    assert (page.detail["alert"], page.detail["state"]) == ("A little bump in the road", "acknowledged")
    marks = desk.drill().marks
    assert set(marks) == {Mark.DETECTED, Mark.ACKNOWLEDGED} and marks[Mark.DETECTED].detail["implied"]


@pytest.mark.parametrize(("event_type", "state"), [("incident.triggered", "firing"), ("incident.resolved", "resolved")])
def test_pagerduty_triggers_and_resolves_without_a_mark(desk: DeskTwin, event_type: str, state: str) -> None:
    sent = incident(event_type=event_type, agent={"summary": "API Service", "type": "service_reference"})
    assert send(desk, "pagerduty", sent).json["taken"] == 1
    (page,) = desk.drill().of("page")
    assert (page.detail["state"], page.by, desk.drill().marks) == (state, "pagerduty", {})


@pytest.mark.parametrize("event_type", ["incident.annotated", "service.updated", "pagey.ping", "new.kind"])
def test_pagerdutys_other_events_are_no_pages(desk: DeskTwin, event_type: str) -> None:
    sent = incident(event_type=event_type, agent=None, data={"type": "ping"})
    assert send(desk, "pagerduty", sent).json == {"taken": 0, "ignored": True}
    assert not desk.drill().of("page")


def test_one_of_several_signatures_is_enough_while_the_secret_changes(desk: DeskTwin) -> None:
    raw = json.dumps(PAGERDUTY).encode()
    both = signature(raw, "of-another-subscription", OLD)
    assert send(desk, "pagerduty", raw, **{"X-PagerDuty-Signature": both}).status_code == 200


@pytest.mark.parametrize("header", ["", "v1=", "v1=00", signature(b"{}", NEW), "v2=" + signature(b"", NEW)[3:]])
def test_a_wrong_signature_is_refused_before_the_body_is_looked_at(desk: DeskTwin, header: str) -> None:
    before = list(desk.journal)
    for body in (PAGERDUTY, b"{"):
        answer = send(desk, "pagerduty", body, **{"X-PagerDuty-Signature": header})
        assert answer.status_code == 401 and problem_of(answer) == "pagerduty: no signature of the body is ours"
    assert desk.journal == before


def test_opsgenie_acknowledges_by_whoever_did(desk: DeskTwin) -> None:
    assert send(desk, "opsgenie", OPSGENIE).json == {"taken": 1, "repeated": 0}
    (page,) = desk.drill().of("page")
    assert page.by == "fili@ifountain.com" and page.detail["alert"] == "test alert"
    assert Mark.ACKNOWLEDGED in desk.drill().marks


def test_opsgenie_creates_and_closes_and_its_other_actions_are_no_pages(desk: DeskTwin) -> None:
    for at_ns, action in enumerate(("Create", "AddNote", "Close"), 1420452224764002246):
        assert send(desk, "opsgenie", alert_action(action, updatedAt=at_ns)).status_code == 200
    told = [(page.detail["state"], page.by) for page in desk.drill().of("page")]
    assert told == [("firing", "opsgenie"), ("resolved", "fili@ifountain.com")] and not desk.drill().marks


def test_opsgenies_token_may_come_in_a_header_of_its_own(desk: DeskTwin) -> None:
    for token, status in ((SECRETS.webhook, 200), ("wrong", 401), ("", 401)):
        answer = client_of(desk).post("/hooks/opsgenie", json=OPSGENIE, headers={"X-Gameday-Token": token})
        assert answer.status_code == status


@pytest.mark.parametrize(("name", "body"), [("pagerduty", PAGERDUTY), ("opsgenie", OPSGENIE)])
def test_the_same_event_again_is_refused_also_after_a_restart(desk: DeskTwin, name: str, body: Any) -> None:
    send(desk, name, body)
    before = list(desk.journal)
    for again in (desk, DeskTwin(journal=desk.journal, now=desk.now)):
        answer = send(again, name, body)
        assert answer.status_code == 409 and "was taken before" in problem_of(answer)
    assert desk.journal == before


@pytest.mark.parametrize(("name", "body"), [("pagerduty", PAGERDUTY), ("opsgenie", OPSGENIE)])
def test_an_event_of_another_day_is_refused(name: str, body: Any) -> None:
    desk = running()
    answer = send(desk, name, body)
    assert answer.status_code == 409 and "older than the drill" in problem_of(answer)
    assert not desk.drill().of("page")


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("alertmanager", {**ALERTMANAGER, "version": "3"}, "version: Input should be '4'"),
        ("alertmanager", {**ALERTMANAGER, "alerts": []}, "alerts: List should have at least 1 item"),
        ("alertmanager", {**ALERTMANAGER, "alerts": [{**FIRING, "labels": {}}]}, "alerts.0.labels.alertname: Field"),
        ("alertmanager", PAGERDUTY, "version: Field required"),
        ("pagerduty", OPSGENIE, "event: Field required"),
        ("pagerduty", incident(data={"id": "P1"}), "title: Field required"),
        ("pagerduty", incident(occurred_at="yesterday"), "event.occurred_at: Input should be a valid datetime"),
        ("opsgenie", ALERTMANAGER, "action: Field required"),
        ("opsgenie", {**OPSGENIE, "alert": {"alertId": "1"}}, "message: Field required"),
        ("opsgenie", b"action=Create", "the body: Invalid JSON"),
    ],
)
def test_an_unknown_shape_is_one_clear_refusal(desk: DeskTwin, name: str, body: Any, said: str) -> None:
    before = list(desk.journal)
    answer = send(desk, name, body)
    assert answer.status_code == 400 and problem_of(answer).startswith(said), answer.text
    assert desk.journal == before


@pytest.mark.parametrize("name", ["alertmanager", "pagerduty", "opsgenie"])
def test_a_body_that_is_too_large_is_refused(desk: DeskTwin, name: str) -> None:
    answer = send(desk, name, b" " * (HOOK_BODY_MAX_BYTES + 1))
    assert answer.status_code == 413 and str(HOOK_BODY_MAX_BYTES) in answer.json["remedy"]
    many = {**ALERTMANAGER, "alerts": [{**FIRING, "fingerprint": str(number)} for number in range(250)]}
    assert send(desk, "alertmanager", many).json["taken"] == 250, "a large one that is in order is taken"


def test_pagerduty_without_a_secret_is_refused(monkeypatch: pytest.MonkeyPatch, desk: DeskTwin) -> None:
    client = client_of(desk)
    monkeypatch.setattr(type(SECRETS), "pagerduty", ())
    answer = client.post("/hooks/pagerduty", json=PAGERDUTY, headers={"X-PagerDuty-Signature": "v1=00"})
    assert answer.status_code == 403 and "no secret is known" in problem_of(answer)


def test_an_acknowledgement_after_the_end_marks_nothing(desk: DeskTwin) -> None:
    desk.go(DrillState.ENDING)
    assert send(desk, "pagerduty", PAGERDUTY).status_code == 200
    assert not desk.drill().marks and len(desk.drill().of("page")) == 1
