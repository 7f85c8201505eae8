"""The HTTP session of users that derive from Locust's ``HttpUser`` (it is ``requests``), measured like all others.

Imported by the load child only. One arrival, one try, one deadline over the whole request and one row; no redirect, no
second try, no proxy from the environment, and TLS is verified against what the machine trusts.
"""

from __future__ import annotations

from typing import Any

import gevent
import requests
from locust.clients import HttpSession, ResponseContextManager
from requests.adapters import HTTPAdapter

from loadprofiles.measured import CONTEXT_KEY, SessionRules, Tally, machine_tls

_OF_USER_CODE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
)
"""These are faults of a task, not ends of a request."""


class OneTryAdapter(HTTPAdapter):
    """Sends once, over connections that trust whom the machine trusts."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool; see ``requests``."""
        super().init_poolmanager(*args, **kwargs, ssl_context=machine_tls())

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Verify always, whatever user code says: a gateway that nobody vouches for is not measured."""
        conn.cert_reqs = "CERT_REQUIRED"


class MeasuredRequests(HttpSession):
    """A session of ``requests`` that waits for an arrival before each request, and accounts for it."""

    def __init__(self, user: Any, rules: SessionRules) -> None:
        super().__init__(rules.base_url, user.environment.events.request, user)
        self._rules = rules
        self._tally = Tally(rules)
        self.trust_env = False
        self.headers.update(rules.headers)
        self._reconnect()

    def _reconnect(self) -> None:
        self.close()
        adapter = OneTryAdapter(max_retries=0)
        for prefix in ("http://", "https://"):
            self.mount(prefix, adapter)

    def request(  # type: ignore[override] # the same words, all the rest handed on
        self, method: str, url: str, name: str | None = None, **kwargs: Any
    ) -> Any:
        """Wait for an arrival, then send one request; see Locust's ``HttpSession.request``.

        Raises:
            OffTargetError: The URL leads elsewhere than to the gateway.
            LocustError: ``stream=True`` was asked for.
        """
        row = self._tally.begin(method, url, name, kwargs)
        kwargs["context"] = {**kwargs.get("context", {}), CONTEXT_KEY: row}
        self._row = row
        self.proxies.clear()
        fixed = {"allow_redirects": False, "verify": True, "proxies": None}
        try:
            response = super().request(method, url, name=name, **{**kwargs, **fixed})
        except BaseException as error:
            self._tally.lost(row, error)
            raise
        if self._tally.answered(row, response):
            self._reconnect()
        return response

    def _send_request_safe_mode(self, method: str, url: str, **kwargs: Any) -> Any:
        """Send and read within the deadline; whatever a server does to that comes back as a failed answer."""
        try:
            with gevent.Timeout(self._rules.timeout_s) as deadline:
                response = super()._send_request_safe_mode(method, url, **kwargs)
        except gevent.Timeout as late:
            if late is not deadline:
                raise
            response = ResponseContextManager(requests.Timeout("no whole answer within the time-out"))
        except _OF_USER_CODE:
            raise
        except Exception as error:  # what the library lets through of a malformed answer
            response = ResponseContextManager(requests.RequestException(error))
        self._row.answered_s = self._rules.now_s()
        return response
