"""The alert route of a drill: where it is described, what of it is checked, and who acknowledged by a silence."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.announce_http import Peer
from harness.drill.alert_route import (
    ROUTE_TEST,
    TEST_ID,
    Acknowledgements,
    Route,
    RouteTests,
    check_route,
    route_of,
)
from harness.fakes.clock import FakeClock
from harness.model.drill import DrillError
from harness.model.errors import PortError
from harness.model.target import AlertRoute
from tests.unit.conductor_doubles import TARGET

GOOD = {
    "route": {"receiver": "nobody", "routes": [{"receiver": "team", "routes": [{"receiver": "drill"}]}]},
    "receivers": [{"name": "nobody"}, {"name": "drill", "webhook_configs": [{"url": "<secret>"}]}, {"name": "team"}],
}
SECRET = "pl4nted-webhook-token"
SINCE = datetime(2026, 11, 28, 10, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Answers(Peer):
    """An Alertmanager that answers what it is told to."""

    said: dict[str, Any] = field(default_factory=dict)
    posted: list[Any] = field(default_factory=list)

    def send(self, method: str, path: str = "", body: object = None) -> Any:
        if method == "POST":
            self.posted.append(body)
            return None
        found = self.said[path.partition("?")[0]]
        if isinstance(found, Exception):
            raise found
        return found


def alertmanager(config: Any = None, **more: Any) -> Answers:
    status = {"config": {"original": yaml.safe_dump(GOOD if config is None else config)}}
    return Answers("alertmanager", "http://127.0.0.1:9", said={"/api/v2/status": status, **more})


def route(peer: Peer) -> Route:
    return Route(peer, "drill", SECRET)


def test_the_local_target_without_alerting_says_how_to_start_it() -> None:
    with pytest.raises(DrillError, match=r"no alert route.*testbed up --with alerting"):
        route_of(TARGET, {})


def test_another_target_without_a_route_says_where_to_describe_it() -> None:
    with pytest.raises(DrillError, match=r"no alert route.*\[targets\.staging\.drill\]"):
        route_of(replace(TARGET, name="staging", kind="cluster"), {})


def test_a_described_route_has_its_secrets_and_shows_none() -> None:
    told = AlertRoute("http://127.0.0.1:9093", "AM", "drill", "HOOK", listen="127.0.0.1:9099")
    found = route_of(replace(TARGET, drill=told), {"AM": "pl4nted-am-token", "HOOK": SECRET})
    assert (found.host, found.port, found.webhook_token, found.peer.token) == (
        "127.0.0.1", 9099, SECRET, "pl4nted-am-token",
    )  # fmt: skip
    assert "pl4nted" not in repr(found)


def test_a_token_that_is_not_set_or_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    told = AlertRoute("http://127.0.0.1:9093", "", "drill", "HOOK")
    with pytest.raises(DrillError, match="HOOK is not set"):
        route_of(replace(TARGET, drill=told), {"HOOK": " "})
    gone = replace(told, webhook_token_env="", webhook_token_file=str(tmp_path / "gone"))
    with pytest.raises(DrillError, match=r"gone is not a file: start the testbed anew"):
        route_of(replace(TARGET, drill=gone), {})


def test_a_loopback_target_has_its_alertmanager_on_loopback() -> None:
    told = AlertRoute("http://alertmanager.example", "", "drill", "HOOK")
    with pytest.raises(DrillError, match="not a loopback address"):
        route_of(replace(TARGET, drill=told), {"HOOK": SECRET})


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"receivers": [{"name": "team"}], "route": {"receiver": "team"}}, "no receiver 'drill'; it has team"),
        ({}, "no receiver 'drill'; it has none"),
        ({"receivers": [{"name": "drill"}], "route": {"receiver": "drill"}}, "has no webhook"),
        ({**GOOD, "route": {"receiver": "team"}}, "no route leads to receiver 'drill'"),
        ([], "no configuration of an Alertmanager"),
    ],
)
def test_a_configuration_without_the_receiver_is_refused_before_anything_is_sent(config: Any, problem: str) -> None:
    peer = alertmanager(config)
    with pytest.raises(DrillError, match=problem):
        check_route(route(peer), lambda _: True, FakeClock())
    assert peer.posted == []


def test_an_alertmanager_that_does_not_answer_is_one_clear_refusal() -> None:
    silent = Answers("a", "http://x", said={"/api/v2/status": PortError("a", "get", "no answer from x", "mend it")})
    with pytest.raises(DrillError, match="no alert route: no answer from x: mend it"):
        check_route(route(silent), lambda _: True, FakeClock())


def test_a_route_that_is_right_on_paper_must_bring_the_test() -> None:
    peer, tests = alertmanager(), RouteTests()
    with pytest.raises(DrillError, match="did not reach the drill's webhook within 5 s"):
        check_route(route(peer), tests.arrived, FakeClock(), 5.0)
    [[sent]] = peer.posted
    assert sent["labels"]["alertname"] == ROUTE_TEST
    assert sent["startsAt"] < sent["endsAt"]


def test_a_route_that_brings_the_test_is_right() -> None:
    peer, tests, clock = alertmanager(), RouteTests(), FakeClock()

    def deliver(now_s: float) -> None:
        if now_s > 1 and peer.posted:
            assert tests.took({"alert": ROUTE_TEST, "labels": peer.posted[0][0]["labels"]})

    clock.every_step(deliver)
    assert 1 < check_route(route(peer), tests.arrived, clock) < 2


def test_the_test_of_an_earlier_drill_proves_nothing_and_no_page_is_taken_for_a_test() -> None:
    tests = RouteTests()
    assert tests.took({"alert": ROUTE_TEST, "labels": {TEST_ID: "old"}})
    assert not tests.arrived("new")
    assert not tests.took({"alert": "BacklogTooOld", "labels": {}})


def silenced(*ids: str) -> dict[str, Any]:
    labels = {"alertname": "BacklogTooOld", "severity": "page"}
    said = {"labels": labels, "annotations": {"summary": "It waits."}, "fingerprint": "f1"}
    return {**said, "status": {"state": "suppressed", "silencedBy": list(ids)}}


def silence(name: str, by: str, updated: str = "2026-11-28T10:05:00.000Z") -> dict[str, Any]:
    return {"id": name, "createdBy": by, "updatedAt": updated, "status": {"state": "active"}}


def test_a_silence_of_a_person_acknowledges_once_and_by_their_name() -> None:
    peer = alertmanager(
        **{"/api/v2/alerts": [silenced("s1")], "/api/v2/silences": [silence("s1", "ana"), silence("s2", "bo")]}
    )
    seen = Acknowledgements(route(peer), SINCE.timestamp())
    [(by, detail)] = seen.poll()
    assert by == "ana"
    assert detail == {
        "source": "alertmanager", "event": "silence s1 of f1", "alert": "BacklogTooOld", "state": "acknowledged",
        "severity": "page", "labels": {"alertname": "BacklogTooOld", "severity": "page"}, "summary": "It waits.",
    }  # fmt: skip
    assert seen.poll() == []


@pytest.mark.parametrize(
    "one",
    [
        silence("s1", "gameday 20261128-0800-e-1a2b"),
        silence("s1", "ana", "2026-11-28T09:59:00Z"),
        silence("s2", "ana"),
    ],
)
def test_silences_of_game_days_old_ones_and_others_acknowledge_nothing(one: dict[str, Any]) -> None:
    peer = alertmanager(**{"/api/v2/alerts": [silenced("s1")], "/api/v2/silences": [one]})
    assert Acknowledgements(route(peer), SINCE.timestamp()).poll() == []


def test_without_a_silenced_alert_no_silence_is_asked_for() -> None:
    peer = alertmanager(**{"/api/v2/alerts": [silenced()]})
    assert Acknowledgements(route(peer), SINCE.timestamp()).poll() == []


def test_an_answer_of_another_program_is_told_as_that() -> None:
    with pytest.raises(DrillError, match="the answer is no list"):
        Acknowledgements(route(alertmanager(**{"/api/v2/alerts": {}})), SINCE.timestamp()).poll()
