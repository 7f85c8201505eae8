"""The channels of `harness.announce` over HTTP: a webhook, Grafana's annotations, Alertmanager's silences (API v2).

A webhook's address is a secret, tokens are too: no error tells more than the host. No redirect is followed, since that
would carry a token elsewhere, and nothing is sent twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from harness.announce import START, Channel, Told, silence_author
from harness.guard import check_loopback
from harness.model.errors import PortError
from harness.model.silence import parse_matcher
from harness.model.target import Announce, Target

TIMEOUTS_S = (2.0, 5.0)
"""Connect and read: the run waits for them."""

ENDED = "expired"
TAG = "gameday"


@dataclass(frozen=True)
class Peer:
    """One HTTP API with its credentials.

    Attributes:
        name: For people and errors.
        url: Base URL; may be a secret.
        token: Bearer token, or empty.
        ca_file: CA, or empty for the system's.
    """

    name: str
    url: str
    token: str = ""
    ca_file: str = ""

    def send(self, method: str, path: str = "", body: object = None) -> Any:
        """Send one request and return its JSON, or None where there is none.

        Raises:
            PortError: No answer, or one that is not 2xx; tells the host and no more.
        """
        host = urlsplit(self.url).hostname or "no host"
        try:
            answer = self._session().request(
                method, f"{self.url.rstrip('/')}{path}", json=body, timeout=TIMEOUTS_S, allow_redirects=False
            )
        except (requests.RequestException, OSError, ValueError) as error:
            problem = f"no answer from {host} ({type(error).__name__})"
            raise PortError(self.name, method.lower(), problem, "check its address in gameday.toml") from None
        if not 200 <= answer.status_code < 300:  # noqa: PLR2004 - HTTP's success class
            remedy = "check its token" if answer.status_code in {401, 403} else "see its log"
            raise PortError(self.name, method.lower(), f"{host} answered HTTP {answer.status_code}", remedy)
        try:
            return answer.json()
        except ValueError:
            return None

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False  # REQUESTS_CA_BUNDLE, netrc and proxies of the environment would win over ours
        session.verify = self.ca_file or True
        if self.token:
            session.headers["Authorization"] = f"Bearer {self.token}"
        return session


class Webhook:
    """Takes each announcement as one JSON POST."""

    name = "the webhook"

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def tell(self, told: Told) -> None:
        """Post it."""
        self._peer.send("POST", "", told.document())


class GrafanaAnnotation:
    """Marks the run as a region: from its start to its latest end, which its real end corrects."""

    name = "Grafana"

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._id: int | None = None

    def tell(self, told: Told) -> None:
        """Add the region at the start, end it at the end."""
        if told.event == START:
            self._id = self._add(told, told.until_unix_s)
        elif self._id is None:  # its start was not taken: the end is marked all the same
            self._add(told, told.at_unix_s)
        else:
            ended = {"timeEnd": _ms(told.at_unix_s), "text": told.text, "tags": self._tags(told)}
            self._peer.send("PATCH", f"/api/annotations/{self._id}", ended)

    def _add(self, told: Told, end_unix_s: float) -> int:
        span = {"time": _ms(told.at_unix_s), "timeEnd": _ms(end_unix_s)}
        answer = self._peer.send("POST", "/api/annotations", {**span, "tags": self._tags(told), "text": told.text})
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
            problem = "the answer has no id"
            raise PortError(self._peer.name, "post", problem, "grafana_url must be the base URL of Grafana")
        return int(answer["id"])

    @staticmethod
    def _tags(told: Told) -> list[str]:
        return [TAG, told.event, f"experiment:{told.experiment}", f"target:{told.target}", f"run:{told.run_id}"]


class AlertmanagerSilences:
    """Silences in Alertmanager. A run's are known by who made them: ``gameday RUN``."""

    def __init__(self, peer: Peer, matchers: Sequence[str] = ()) -> None:
        """Prepare; sends nothing. Without matchers silences can only be ended."""
        self._peer = peer
        self._matchers = [parse_matcher(text) for text in matchers]

    def create(self, run_id: str, until_unix_s: float) -> None:
        """Silence from now until then."""
        body = {
            "matchers": self._matchers,
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": datetime.fromtimestamp(until_unix_s, UTC).isoformat(),
            "createdBy": silence_author(run_id),
            "comment": f"expected while game day {run_id} is on; it ends with it",
        }
        answer = self._peer.send("POST", "/api/v2/silences", body)
        if not isinstance(answer, dict) or not answer.get("silenceID"):
            problem = "the answer has no silenceID"
            raise PortError(self._peer.name, "post", problem, "alertmanager_url must be the base URL of Alertmanager")

    def expire(self, run_id: str) -> str:
        """End every silence of the run that is not over."""
        found = self._peer.send("GET", "/api/v2/silences")
        if not isinstance(found, list):
            problem = "the answer is no list of silences"
            raise PortError(self._peer.name, "get", problem, "alertmanager_url must be the base URL of Alertmanager")
        mine = [one for one in found if one.get("createdBy") == silence_author(run_id)]
        open_ones = [str(one["id"]) for one in mine if (one.get("status") or {}).get("state") != ENDED]
        for silence in open_ones:
            self._peer.send("DELETE", f"/api/v2/silence/{silence}")
        return f"ended {len(open_ones)} silence(s) of {len(mine)}" if mine else "there is no silence of this run"


def channels_of(target: Target, environ: Mapping[str, str]) -> list[Channel]:
    """Return who is told of runs on a target.

    Raises:
        PortError: A variable that the target names is not set.
        Refusal: An address outside loopback on a loopback target.
    """
    told = target.announce
    found: list[Channel] = []
    if told.webhook_url_env:
        url = secret_of(told.webhook_url_env, environ, "the webhook's address")
        found.append(Webhook(_peer("webhook", target, url)))
    if told.grafana_url:
        token = secret_of(told.grafana_token_env, environ, "a service account's token")
        found.append(GrafanaAnnotation(_peer("grafana", target, told.grafana_url, token)))
    return found


def silences_of(target: Target, environ: Mapping[str, str]) -> AlertmanagerSilences | None:
    """Return where alerts are silenced on a target, or None.

    Raises:
        PortError: The variable with its token is not set.
        Refusal: An address outside loopback on a loopback target.
    """
    told: Announce = target.announce
    if not told.alertmanager_url:
        return None
    token = secret_of(told.alertmanager_token_env, environ, "a token that may silence")
    return AlertmanagerSilences(_peer("alertmanager", target, told.alertmanager_url, token), told.silence)


def _peer(name: str, target: Target, url: str, token: str = "") -> Peer:
    if target.loopback_only:
        check_loopback(url)
    return Peer(name, url, token, target.announce.ca_file)


def secret_of(name: str, environ: Mapping[str, str], what: str) -> str:
    """Return the value of a variable that is named, empty where none is.

    Raises:
        PortError: It is not set.
    """
    if not name:
        return ""
    value = environ.get(name, "").strip()
    if not value:
        raise PortError("announcements", "prepare", f"{name} is not set", f"export {name} with {what}")
    return value


def _ms(unix_s: float) -> int:
    return round(unix_s * 1000)
