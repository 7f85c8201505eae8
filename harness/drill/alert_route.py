"""How the pages of a drill come to it: is there a route from an alert to our webhook, and who silenced one?

Asked of Alertmanager (API v2): its configuration, a test alert that must arrive, the silences that people made. The
test alert pages nobody but the drill where the receiver is set up as docs/targets.md says. Must not change anything
else there, and no error tells a token.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from harness.announce_http import TAG, Peer
from harness.drill.desk import Desk
from harness.drill.secret_values import read_secret, secret_value
from harness.guard import check_loopback
from harness.model.drill import DrillError
from harness.model.errors import PortError, Refusal
from harness.model.target import Target
from harness.ports import Clock

ROUTE_TEST = "GamedayDrillRouteTest"
"""Name of the test alert."""

TEST_ID = "gameday_route_test"
TEST_LASTS_S = 30.0
ARRIVES_WITHIN_S = 60.0
"""Alertmanager groups for 30 s by default before it tells anybody."""
LOOK_EVERY_S = 0.2

RECEIVER_REMEDY = "add the receiver of docs/targets.md (Drills) to Alertmanager's configuration"


@dataclass(frozen=True, slots=True)
class Route:
    """The route of a target, with its secrets.

    Attributes:
        peer: Its Alertmanager.
        receiver: Name of the receiver that sends to the drill.
        webhook_token: What that receiver sends; for the drill's server.
        host: Where the drill's server must listen.
        port: Its port; 0 where any will do.
    """

    peer: Peer = field(repr=False)
    receiver: str
    webhook_token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0


def route_of(target: Target, environ: Mapping[str, str]) -> Route:
    """Return the alert route of a target.

    Raises:
        DrillError: The target has none, or a secret of it is missing.
    """
    told = target.drill
    if not told.alertmanager_url:
        remedy = f"describe it in [targets.{target.name}.drill] of gameday.toml (docs/targets.md)"
        if target.kind == "local":
            remedy = "start it with `gameday testbed up --with alerting`"
        raise DrillError(f"target {target.name} has no alert route: nobody would be paged", remedy)
    token = _value(told.alertmanager_token_env, environ) if told.alertmanager_token_env else ""
    try:
        if target.loopback_only:
            check_loopback(told.alertmanager_url)
    except Refusal as error:
        raise DrillError(f"alert route of {target.name}: {error.problem}", error.remedy) from error
    host, _, port = told.listen.rpartition(":")
    peer = Peer("alertmanager", told.alertmanager_url, token, told.ca_file)
    return Route(peer, told.receiver, _webhook_token(target, environ), host or "127.0.0.1", int(port or 0))


def _webhook_token(target: Target, environ: Mapping[str, str]) -> str:
    told = target.drill
    if not told.webhook_token_file:
        return _value(told.webhook_token_env, environ)
    try:
        return read_secret(Path(told.webhook_token_file), f"alert route of {target.name}")
    except DrillError as error:
        remedy = "start the testbed anew with `gameday testbed up --with alerting`"
        raise DrillError(error.problem, remedy) from error


def _value(name: str, environ: Mapping[str, str]) -> str:
    value = secret_value(name, environ)
    if not value:
        remedy = f"export {name} with the token, or {name}_FILE with the path of a file that holds it"
        raise DrillError(f"alert route: {name} is not set", remedy)
    return value


class RouteTests:
    """The test alerts that arrived. The drill's server gives it every page first; it keeps what is a test."""

    def __init__(self) -> None:
        self._arrived: set[str] = set()
        self._lock = threading.Lock()

    def took(self, detail: Mapping[str, Any]) -> bool:
        """Tell whether a page is a test of the route, which is no page of the drill."""
        if detail.get("alert") != ROUTE_TEST:
            return False
        with self._lock:
            self._arrived.add(str((detail.get("labels") or {}).get(TEST_ID, "")))
        return True

    def arrived(self, test: str) -> bool:
        """Tell whether that test has arrived."""
        with self._lock:
            return test in self._arrived


def check_route(route: Route, arrived: Callable[[str], bool], clock: Clock, limit_s: float = ARRIVES_WITHIN_S) -> float:
    """Send a test alert along the route and wait until the drill's webhook has it; return how many seconds it took.

    Args:
        route: The route.
        arrived: Whether the test of that id has come (`RouteTests.arrived`); the drill's server listens already.
        clock: Bounds the wait.
        limit_s: How long it may take.

    Raises:
        DrillError: Alertmanager does not answer, has no such receiver, or the test did not arrive.
    """
    check_receiver(route)
    test = secrets.token_hex(8)
    began_s = clock.now_s()
    _ask(route, "POST", "/api/v2/alerts", [_test_alert(test)])
    while not arrived(test):
        if clock.now_s() - began_s > limit_s:
            problem = f"no alert route: a test alert did not reach the drill's webhook within {limit_s:g} s"
            remedy = f"look at the route to {route.receiver!r} and at Alertmanager's log: wrong address or token?"
            raise DrillError(problem, remedy)
        clock.sleep(LOOK_EVERY_S)
    return clock.now_s() - began_s


def check_receiver(route: Route) -> None:
    """Look whether Alertmanager's configuration has the receiver, with a webhook, and a route to it.

    Raises:
        DrillError: It has not, or Alertmanager does not answer.
    """
    config = _configuration(route)
    receivers = {str(one.get("name")): one for one in config.get("receivers") or []}
    if route.receiver not in receivers:
        known = ", ".join(sorted(receivers)) or "none"
        problem = f"no alert route: Alertmanager has no receiver {route.receiver!r}; it has {known}"
        raise DrillError(problem, RECEIVER_REMEDY)
    if not receivers[route.receiver].get("webhook_configs"):
        raise DrillError(f"no alert route: receiver {route.receiver!r} has no webhook", RECEIVER_REMEDY)
    if route.receiver not in set(_routed_to(config.get("route") or {})):
        raise DrillError(f"no alert route: no route leads to receiver {route.receiver!r}", RECEIVER_REMEDY)


def _configuration(route: Route) -> Mapping[str, Any]:
    status = _ask(route, "GET", "/api/v2/status")
    try:
        found = yaml.safe_load(status["config"]["original"])
    except (KeyError, TypeError, yaml.YAMLError):
        found = None
    if not isinstance(found, dict):
        problem = "alert route: the answer has no configuration of an Alertmanager"
        raise DrillError(problem, "the address must be the base URL of Alertmanager (API v2)")
    return found


def _routed_to(branch: Mapping[str, Any]) -> Iterator[str]:
    yield str(branch.get("receiver", ""))
    for below in branch.get("routes") or []:
        yield from _routed_to(below)


def _test_alert(test: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": ROUTE_TEST, "severity": "page", TEST_ID: test},
        "annotations": {"summary": "A drill tests whether pages reach it. Nothing is wrong."},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(seconds=TEST_LASTS_S)).isoformat(),
    }


class Acknowledgements:
    """Silences that people make for alerts that fire: each counts as an acknowledgement, once."""

    def __init__(self, route: Route, since_unix_s: float) -> None:
        """Look at silences that were made or changed since then; older ones were not made for this drill."""
        self._route, self._since = route, datetime.fromtimestamp(since_unix_s, UTC)
        self._told: set[tuple[str, str]] = set()

    def tell(self, desk: Desk) -> None:
        """Tell a drill what is new, as pages that were acknowledged.

        Raises:
            DrillError: Alertmanager does not answer.
        """
        for by, detail in self.poll():
            desk.page(detail, by)

    def poll(self) -> list[tuple[str, dict[str, Any]]]:
        """Return what is new: who made the silence, and the detail of a ``page`` entry.

        Raises:
            DrillError: Alertmanager does not answer.
        """
        firing = _ask(self._route, "GET", "/api/v2/alerts?active=true&silenced=true&inhibited=false")
        silenced = [one for one in _listed(firing) if (one.get("status") or {}).get("silencedBy")]
        if not silenced:
            return []
        silences = {str(one.get("id")): one for one in _listed(_ask(self._route, "GET", "/api/v2/silences"))}
        return [
            (str(silences[silence].get("createdBy") or "alertmanager"), _acknowledged(alert, silence))
            for alert in silenced
            for silence in alert["status"]["silencedBy"]
            if silence in silences and self._counts(silences[silence]) and self._is_new(alert, silence)
        ]

    def _counts(self, silence: Mapping[str, Any]) -> bool:
        """Tell whether a person made it for this drill: a game day silences what it expects, in its own name."""
        ours = str(silence.get("createdBy", "")).startswith(f"{TAG} ")
        return not ours and datetime.fromisoformat(str(silence["updatedAt"])) >= self._since

    def _is_new(self, alert: Mapping[str, Any], silence: str) -> bool:
        key = (str(alert.get("fingerprint")), silence)
        new = key not in self._told
        self._told.add(key)
        return new


def _acknowledged(alert: Mapping[str, Any], silence: str) -> dict[str, Any]:
    labels = {str(key): str(value) for key, value in (alert.get("labels") or {}).items()}
    return {
        "source": "alertmanager",
        "event": f"silence {silence} of {alert.get('fingerprint', '')}",
        "alert": labels.get("alertname", ""),
        "state": "acknowledged",
        "severity": labels.get("severity", ""),
        "labels": labels,
        "summary": str((alert.get("annotations") or {}).get("summary", "")),
    }


def _listed(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        problem = "alert route: the answer is no list"
        raise DrillError(problem, "the address must be the base URL of Alertmanager (API v2)")
    return answer


def _ask(route: Route, method: str, path: str, body: object = None) -> Any:
    try:
        return route.peer.send(method, path, body)
    except PortError as error:
        raise DrillError(f"no alert route: {error.problem}", error.remedy or "is Alertmanager up?") from error
