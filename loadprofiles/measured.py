"""The HTTP session of every load user: one arrival, one try, one deadline and one row a request. Locust inside.

Imported by the load child only. Locust's own session sends and reads; this one says when, how long, to whom, and keeps
the row. Nothing is retried, no redirect is followed, no header value is logged.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, cast

import gevent
import requests
from locust.contrib.fasthttp import FastHttpSession, FastResponse, LocustBadStatusCode, LocustUserAgent
from locust.exception import CatchResponseError, LocustError

from harness.model.load import RequestOutcome
from loadprofiles.accounts import Open, RequestLog
from loadprofiles.announcing import Announcer
from loadprofiles.fast_answer import POD_HEADERS

CONTEXT_KEY = "gameday_request"
FIRST_BAD_STATUS = 300
CAUSES_MAX = 20
REFUSED_BY_TASK = "refused-by-the-task"


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
        announcer: Tells Locust of requests on the fast path.
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
    announcer: Announcer


class OneTryAgent(LocustUserAgent):
    """Locust's agent without second tries: its HTTP client makes them silently, for a GET on a closed connection."""

    def _handle_error(self, e: BaseException, url: Any = None) -> NoReturn:
        """Raise every error as it is; the base class wraps those that it would try again for."""
        raise e

    def _urlopen(self, request: Any) -> FastResponse:
        client = self.clientpool.get_client(request.url_split)
        client._connection_pool.size = -1  # it allows size + 1 more tries; the pool's own limit was set before
        return cast(FastResponse, super()._urlopen(request))  # type: ignore[no-untyped-call]


@cache
def machine_tls(cafile: str = "") -> ssl.SSLContext:
    """Return what trusts whom the machine trusts; reading its certificates takes long, so they are read once.

    Args:
        cafile: Certificates that Locust's HTTP client comes with; the machine's count.
    """
    return ssl.create_default_context()


class OffTargetError(LocustError):
    """User code asked for a URL that is not at the target's gateway."""


class Tally:
    """Opens and closes the rows of one user's session, whichever of Locust's sessions sends."""

    def __init__(self, rules: SessionRules) -> None:
        self._rules = rules
        self._row: Open | None = None
        self._sent = 0

    def begin(self, method: str, url: str, name: str | None, kwargs: Mapping[str, Any]) -> Open:
        """Wait for an arrival and open its row.

        Raises:
            OffTargetError: The URL leads elsewhere than to the gateway.
            LocustError: ``stream=True`` was asked for.
        """
        rules = self._rules
        if not url.startswith(("/", rules.base_url + "/")):  # Locust puts the host right before it
            raise OffTargetError(f"{url} is not at the target's gateway: load goes nowhere else")
        if kwargs.get("stream"):
            raise LocustError("stream=True is not measured: an answer counts only when it was read whole")
        self.settle()
        intended_s = rules.take()
        self._row = rules.log.start(intended_s, rules.now_s(), f"{method} {name or url}")
        return self._row

    def settle(self) -> None:
        """Close the last row where nobody has said how it ended: the task raised within its ``with`` block."""
        row = self._row
        if row is not None and row.answered_s is not None and self._rules.log.is_open(row):
            self._rules.errors[REFUSED_BY_TASK] += 1
            self._rules.log.end(row, row.answered_s, 0, RequestOutcome.BROKEN)

    def lost(self, row: Open, error: BaseException) -> None:
        """Close the row of a request that ended in an exception which Locust reports to nobody."""
        outcome, kind = how_it_ended(error, 0)
        self._rules.errors[kind] += 1
        self._rules.log.end(row, self._rules.now_s(), 0, outcome)

    def answered(self, row: Open, response: Any) -> bool:
        """Note that an answer is there; return whether the next request needs a new connection."""
        row.answered_s = row.answered_s or self._rules.now_s()
        self._sent += 1
        every = self._rules.reconnect_every
        return getattr(response, "error", None) is not None or bool(every and self._sent % every == 0)


class MeasuredSession(FastHttpSession):
    """A session that waits for an arrival before each request, and accounts for it whatever becomes of it."""

    def __init__(self, user: Any, rules: SessionRules) -> None:
        super().__init__(rules.base_url, user.environment.events.request, user, insecure=False)
        self._rules = rules
        self._tally = Tally(rules)
        self.client = self._new_agent()

    def _new_agent(self) -> OneTryAgent:
        timeout_s = self._rules.timeout_s
        return OneTryAgent(
            cookiejar=self.cookiejar,
            max_redirects=0,
            max_retries=0,
            insecure=False,
            ssl_context_factory=machine_tls,
            connection_timeout=timeout_s,
            network_timeout=timeout_s,
            headers=dict(self._rules.headers),
        )

    def request(  # type: ignore[override] # the same words, all the rest handed on
        self, method: str, url: str, name: str | None = None, **kwargs: Any
    ) -> Any:
        """Wait for an arrival, then send one request; see Locust's ``FastHttpSession.request``.

        Raises:
            OffTargetError: The URL leads elsewhere than to the gateway.
            LocustError: ``stream=True`` was asked for.
        """
        row = self._tally.begin(method, url, name, kwargs)
        kwargs["context"] = {**kwargs.get("context", {}), CONTEXT_KEY: row}
        try:
            with gevent.Timeout(self._rules.timeout_s):
                response = super().request(method, url, name=name, **{**kwargs, "allow_redirects": False})
        except BaseException as error:  # such as a time-out that fell between two of Locust's own catches
            self._tally.lost(row, error)
            raise
        if self._tally.answered(row, response):
            old, self.client = self.client, self._new_agent()
            old.close()
        return response


def account(rules: SessionRules) -> Callable[..., None]:
    """Return the listener for Locust's request event that ends the row of a request."""

    def on_request(context: Mapping[str, Any], exception: BaseException | None, response: Any, **_: Any) -> None:
        row = context.get(CONTEXT_KEY)
        if not isinstance(row, Open):
            return
        status = int(getattr(response, "status_code", 0) or 0)
        outcome, kind = how_it_ended(exception, status)
        if outcome is not RequestOutcome.OK:
            rules.errors[kind] += 1
        rules.log.end(row, row.answered_s or rules.now_s(), status, outcome, pod=pod_of(response))

    return on_request


def how_it_ended(error: BaseException | None, status: int) -> tuple[RequestOutcome, str]:
    """Say how a request ended and why, from what Locust reports of it; in the words of the fast path where it has one.

    Args:
        error: What was raised, or None.
        status: Of the answer, or 0.
    """
    if error is None:
        good = 0 < status < FIRST_BAD_STATUS
        return (RequestOutcome.OK, "") if good else (RequestOutcome.HTTP_ERROR, f"status {status}")
    for cause in causes(error):
        found = next((end for kinds, end in _ENDS if isinstance(cause, kinds)), None)
        if found is not None:
            return found[0], found[1] or f"status {status}"
    return RequestOutcome.BROKEN, type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was raised for, outermost first: libraries wrap the operating system's."""
    waiting, seen = [error], 0
    while waiting and seen < CAUSES_MAX:
        cause = waiting.pop(0)
        seen += 1
        yield cause
        told = (*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__)
        waiting += [one for one in told if isinstance(one, BaseException)]


_ENDS: tuple[tuple[tuple[type[BaseException], ...], tuple[RequestOutcome, str]], ...] = (
    ((LocustBadStatusCode, requests.HTTPError), (RequestOutcome.HTTP_ERROR, "")),
    ((CatchResponseError,), (RequestOutcome.BROKEN, REFUSED_BY_TASK)),
    ((gevent.GreenletExit,), (RequestOutcome.UNFINISHED, "given-up")),
    ((requests.ConnectTimeout,), (RequestOutcome.TIMEOUT, "connect-timeout")),
    ((gevent.Timeout, TimeoutError, requests.Timeout), (RequestOutcome.TIMEOUT, "total-timeout")),
    ((socket.gaierror,), (RequestOutcome.CONNECT_ERROR, "dns")),
    ((ssl.SSLError, requests.exceptions.SSLError), (RequestOutcome.CONNECT_ERROR, "tls")),
    ((ConnectionRefusedError,), (RequestOutcome.CONNECT_ERROR, "refused")),
    ((ConnectionResetError, BrokenPipeError), (RequestOutcome.BROKEN, "reset")),
)
"""What exceptions mean, the first that fits; an empty word is the status."""


def pod_of(response: Any) -> str:
    """Return the pod that says it answered, or an empty text."""
    headers = getattr(response, "headers", None)
    if not headers:
        return ""
    return next((str(headers[name]) for name in POD_HEADERS if name in headers), "")
