"""The alert route against a real Alertmanager, configured as on the local testbed, and a drill's real server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.announce_http import AlertmanagerSilences, Peer
from harness.drill.alert_route import ROUTE_TEST, Acknowledgements, Route, check_receiver, check_route
from harness.drill.web.access import WebSecrets
from harness.drill.web.server import Serving, serve
from harness.drivers.system_clock import RealClock
from harness.model.drill import DrillError, DrillState, Mark
from tests.contract.real_alertmanager import WAIT_S, alertmanager, programs, until
from tests.contract.routed_desk import RoutedDesk
from tests.contract.scraped import free_port
from tests.unit.drill_desk import DeskTwin

TOKEN = "pl4nted-webhook-token-of-a-test"


@dataclass
class World:
    """An Alertmanager that sends to a port on which a drill may listen."""

    route: Route
    config: Path
    programs: Path

    def send(self, name: str, lasts_s: float = 300.0) -> None:
        now = datetime.now(UTC)
        labels = {"alertname": name, "severity": "page"}
        alert = {"labels": labels, "annotations": {"summary": "Something is seen."}, "startsAt": now.isoformat()}
        self.route.peer.send(
            "POST", "/api/v2/alerts", [{**alert, "endsAt": (now + timedelta(seconds=lasts_s)).isoformat()}]
        )

    def drill(self, desk: DeskTwin, token: str = TOKEN) -> Serving:
        return serve(desk, secrets=WebSecrets.random(webhook=token), port=self.route.port)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, webhook = tmp_path_factory.mktemp("alertmanager"), free_port()
    with alertmanager(folder, TOKEN, webhook) as url:
        peer = Peer("alertmanager", url)
        yield World(Route(peer, "drill", TOKEN, "127.0.0.1", webhook), folder / "alertmanager.yaml", programs())


@pytest.fixture
def desk() -> RoutedDesk:
    found = RoutedDesk()
    found.go(DrillState.RUNNING)
    return found


def test_its_own_checker_accepts_the_configuration(world: World) -> None:
    command = [str(world.programs / "amtool"), "check-config", str(world.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_test_alert_reaches_the_drill_and_is_no_page_of_it(world: World, desk: RoutedDesk) -> None:
    serving = world.drill(desk)
    try:
        check_route(world.route, desk.tests.arrived, RealClock.starting_now(), WAIT_S)
    finally:
        serving.close()
    assert desk.pages() == []


def test_a_receiver_of_another_name_is_refused(world: World) -> None:
    with pytest.raises(DrillError, match=r"no receiver 'gameday-drill'; it has drill"):
        check_receiver(replace(world.route, receiver="gameday-drill"))


def test_a_drill_with_another_token_gets_no_test_and_is_refused(world: World, desk: RoutedDesk) -> None:
    serving = world.drill(desk, "pl4nted-token-of-another-drill")
    try:
        with pytest.raises(DrillError, match="did not reach the drill's webhook within 3 s"):
            check_route(world.route, desk.tests.arrived, RealClock.starting_now(), 3.0)
    finally:
        serving.close()


def test_an_alert_is_a_page_and_a_persons_silence_acknowledges_it(world: World, desk: RoutedDesk) -> None:
    seen = Acknowledgements(world.route, time.time() - 1)
    serving = world.drill(desk)
    try:
        world.send("BacklogTooOld")
        until(lambda: ("BacklogTooOld", "firing") in desk.pages())
        AlertmanagerSilences(world.route.peer, ["alertname=BacklogTooOld"]).create("20261128-0800-e", time.time() + 60)
        silence(world, "BacklogTooOld", "ana")
        until(lambda: seen.tell(desk) or Mark.ACKNOWLEDGED in desk.drill().marks)
    finally:
        serving.close()
    assert desk.drill().marks[Mark.ACKNOWLEDGED].by == "ana"
    assert desk.pages().count(("BacklogTooOld", "acknowledged")) == 1
    assert not [alert for alert, _ in desk.pages() if alert == ROUTE_TEST]


def silence(world: World, alert: str, by: str) -> None:
    """Silence as people do, with Alertmanager's own command."""
    command = [str(world.programs / "amtool"), f"--alertmanager.url={world.route.peer.url}", "silence", "add"]
    command += [f"--author={by}", "--comment=looking at it", "--duration=1m", f"alertname={alert}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_that_ends_is_resolved(world: World, desk: RoutedDesk) -> None:
    serving = world.drill(desk)
    try:
        world.send("GatewayErrors", lasts_s=4.0)
        until(lambda: ("GatewayErrors", "firing") in desk.pages())
        until(lambda: ("GatewayErrors", "resolved") in desk.pages())
    finally:
        serving.close()
