"""The HTTP session of every load user: one arrival, one try, one deadline and one row a request. Locust inside.

Imported by the load child only. Locust's own session sends and reads; this one says when, how long, to whom, and keeps
the row. Nothing is retried, no redirect is followed, no header value is logged.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import gevent
from locust.contrib.fasthttp import FastHttpSession, FastResponse, LocustBadStatusCode, LocustUserAgent
from locust.exception import LocustError

from harness.model.load import RequestOutcome
from loadprofiles.accounts import Open, RequestLog
from loadprofiles.fast_answer import POD_HEADERS

CONTEXT_KEY = "gameday_request"
FIRST_BAD_STATUS = 300


@dataclass(frozen=True)
class SessionRules:
    """What a session is bound to.

    Attributes:
        base_url: The gateway; no other host is ever asked.
        headers: Added to every request; secret.
        timeout_s: Deadline of one request, from the connect to the last byte of its answer.
        reconnect_every: Requests after which connections are made anew, so that new pods get traffic (CASES D07); 0
            keeps them.
        now_s: The run's clock.
        take: Waits for the next arrival and returns when it was due.
        log: Where rows go.
        errors: Counts what went wrong, by a short word.
        origin_s: The monotonic clock at the run's second 0.
    """

    base_url: str
    headers: Mapping[str, str]
    timeout_s: float
    reconnect_every: int
    now_s: Callable[[], float]
    take: Callable[[], float]
    log: RequestLog
    errors: Counter[str]
    origin_s: float


class OneTryAgent(LocustUserAgent):
    """Locust's agent without second tries: its HTTP client makes them silently, for a GET on a closed connection."""

    def _handle_error(self, e: BaseException, url: Any = None) -> NoReturn:
        """Raise every error as it is; the base class wraps those that it would try again for."""
        raise e

    def _urlopen(self, request: Any) -> FastResponse:
        client = self.clientpool.get_client(request.url_split)
        client._connection_pool.size = -1  # it allows size + 1 more tries; the pool's own limit was set before
        return cast(FastResponse, super()._urlopen(request))  # type: ignore[no-untyped-call]


class OffTargetError(LocustError):
    """User code asked for a URL that is not at the target's gateway."""


class MeasuredSession(FastHttpSession):
    """A session that waits for an arrival before each request, and accounts for it whatever becomes of it."""

    def __init__(self, user: Any, rules: SessionRules) -> None:
        super().__init__(rules.base_url, user.environment.events.request, user, insecure=False)
        self._rules = rules
        self._sent = 0
        self.client = self._new_agent()

    def _new_agent(self) -> OneTryAgent:
        timeout_s = self._rules.timeout_s
        return OneTryAgent(
            cookiejar=self.cookiejar,
            max_redirects=0,
            max_retries=0,
            insecure=False,
            ssl_context_factory=ssl.create_default_context,
            connection_timeout=timeout_s,
            network_timeout=timeout_s,
            headers=dict(self._rules.headers),
        )

    def _reconnect(self) -> None:
        old, self.client = self.client, self._new_agent()
        old.close()

    def request(  # type: ignore[override] # the same words, all the rest handed on
        self, method: str, url: str, name: str | None = None, **kwargs: Any
    ) -> Any:
        """Wait for an arrival, then send one request; see Locust's ``FastHttpSession.request``.

        Raises:
            OffTargetError: The URL leads elsewhere than to the gateway.
            LocustError: ``stream=True`` was asked for.
        """
        self._refuse(url, kwargs)
        intended_s = self._rules.take()
        row = self._rules.log.start(intended_s, self._rules.now_s(), f"{method} {name or url}")
        kwargs["context"] = {**kwargs.get("context", {}), CONTEXT_KEY: row}
        try:
            with gevent.Timeout(self._rules.timeout_s):
                response = super().request(method, url, name=name, **{**kwargs, "allow_redirects": False})
        except gevent.Timeout:  # it fell between two of Locust's own catches
            self._rules.log.end(row, self._rules.now_s(), 0, RequestOutcome.TIMEOUT)
            raise
        row.answered_s = row.answered_s or self._rules.now_s()
        self._renew(response)
        return response

    def _refuse(self, url: str, kwargs: Mapping[str, Any]) -> None:
        if "://" in url and not url.startswith(self._rules.base_url + "/"):
            raise OffTargetError(f"{url} is not at the target's gateway: load goes nowhere else")
        if kwargs.get("stream"):
            raise LocustError("stream=True is not measured: an answer counts only when it was read whole")

    def _renew(self, response: Any) -> None:
        self._sent += 1
        every = self._rules.reconnect_every
        if getattr(response, "error", None) is not None or (every and self._sent % every == 0):
            self._reconnect()


def account(rules: SessionRules) -> Callable[..., None]:
    """Return the listener for Locust's request event that ends the row of a request."""

    def on_request(context: Mapping[str, Any], exception: BaseException | None, response: Any, **_: Any) -> None:
        row = context.get(CONTEXT_KEY)
        if not isinstance(row, Open):
            return
        status = int(getattr(response, "status_code", 0) or 0)
        outcome = outcome_of(exception, status)
        if outcome is not RequestOutcome.OK:
            rules.errors[f"status {status}" if outcome is RequestOutcome.HTTP_ERROR else type(exception).__name__] += 1
        rules.log.end(row, row.answered_s or rules.now_s(), status, outcome, pod=pod_of(response))

    return on_request


def outcome_of(exception: BaseException | None, status: int) -> RequestOutcome:
    """Say how a request ended, from what Locust reports of it."""
    if exception is None:
        return RequestOutcome.OK if 0 < status < FIRST_BAD_STATUS else RequestOutcome.HTTP_ERROR
    if isinstance(exception, LocustBadStatusCode):
        return RequestOutcome.HTTP_ERROR
    if isinstance(exception, (gevent.Timeout, TimeoutError)):
        return RequestOutcome.TIMEOUT
    if isinstance(exception, (ConnectionRefusedError, socket.gaierror, ssl.SSLError)):
        return RequestOutcome.CONNECT_ERROR
    return RequestOutcome.BROKEN


def pod_of(response: Any) -> str:
    """Return the pod that says it answered, or an empty text."""
    headers = getattr(response, "headers", None)
    if not headers:
        return ""
    return next((str(headers[name]) for name in POD_HEADERS if name in headers), "")
