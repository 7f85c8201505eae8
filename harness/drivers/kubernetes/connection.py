"""One connection to one cluster: plain JSON in and out, a time-out on every call, errors as `PortError`.

The official client brings kubeconfig, credentials and TLS; bodies stay plain dicts, because a watch that builds models
costs ten times as much and because undo records are plain JSON. No retry here, but for one new client after a 401
(CASES B08), and for reads that are told when to come back (429 with Retry-After, B14) while their own limit lasts: each
caller has its own policy.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, cast

import urllib3
from kubernetes.client import ApiClient, ApiException

from harness.drivers.kubernetes import kubeconfig
from harness.drivers.kubernetes.failures import SYSTEM, ApiError, SilenceError, bad_answer, refusal
from harness.model.errors import PortError, SpecError
from harness.model.fault import is_drill
from harness.model.target import Target

Json = dict[str, Any]

CALL_TIMEOUT_S = 10.0
"""Longest wait for any one answer; an API server that is well answers in milliseconds."""

CONNECT_TIMEOUT_S = 5.0
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
FIELD_MANAGER = "gameday"
"""By this name the API server remembers our writes. It says who wrote, never what for."""

PLAIN_MANAGER = "config-revision"
"""The same in a drill, whose people look at every object (`harness.model.fault.is_drill`)."""

UNAUTHORIZED = 401
TOO_MANY_REQUESTS = 429


def manager_of(run_id: str) -> str:
    """Return the name under which a run writes, whatever its client calls itself."""
    return PLAIN_MANAGER if is_drill(run_id) else FIELD_MANAGER


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        operation: What is asked, for messages (``evict pod agents/planner-1``).
        method: HTTP method.
        path: Path on the API server.
        query: Query parameters.
        body: JSON body.
        content_type: Of the body; `MERGE_PATCH` and `JSON_PATCH` for patches.
        timeout_s: Longest wait for each part of the answer.
    """

    operation: str
    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: object = None
    content_type: str = "application/json"
    timeout_s: float = CALL_TIMEOUT_S


class Connection:
    """Talks to the API server of one context. Thread-safe; a fresh one is cheap (about 2 ms)."""

    def __init__(self, make_client: Callable[[], ApiClient], context: str) -> None:
        """Make the first client.

        Args:
            make_client: Reads the credentials and builds a client; called again after a 401.
            context: Name of the context, for messages and `ClusterIdentity`.
        """
        self.context = context
        self._make_client = make_client
        self._lock = threading.Lock()
        self._client = make_client()

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._client.configuration.host)

    @property
    def proxy(self) -> str:
        """Proxy that requests go through, or an empty string (CASES B09)."""
        manager = self._client.rest_client.pool_manager
        return str(manager.proxy) if isinstance(manager, urllib3.ProxyManager) else ""

    def get(self, operation: str, path: str, query: Mapping[str, Any] | None = None) -> Json:
        """Read an object or a list."""
        return self.send(Call(operation, "GET", path, query or {}))

    def send(self, call: Call) -> Json:
        """Send one request and return its JSON.

        Raises:
            ApiError: The server answered with an error.
            PortError: It did not answer, or not with JSON.
        """
        return self.send_dated(call)[0]

    def send_dated(self, call: Call) -> tuple[Json, float | None]:
        """Send one request; return its JSON and the server's clock (unix seconds, ±0.5 s) where it named it."""
        response = self._read(call) if call.method == "GET" else self._answer(call)
        with _translated(call.operation, self.server):
            data = response.data
        return _json_object(call.operation, data), _date_unix_s(response.headers.get("Date"))

    def stream(self, call: Call) -> urllib3.BaseHTTPResponse:
        """Open a streaming answer (a watch); `lines` reads it, the caller closes it.

        Args:
            call: Its ``timeout_s`` is the longest time without a byte.
        """
        return self._answer(call)

    def lines(self, operation: str, response: urllib3.BaseHTTPResponse) -> Iterator[Json]:
        """Yield the JSON lines of a stream until the server ends it.

        Raises:
            SilenceError: Nothing came for the stream's ``silence_s``.
            PortError: The connection broke, or a line is not JSON.
        """
        rest = b""
        with _translated(operation, self.server):
            for chunk in response.stream(65536):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield _json_object(operation, line)
        if rest.strip():
            yield _json_object(operation, rest)

    def skew_s(self) -> float:
        """Return the server's clock minus ours, from the Date header (±1 s).

        Raises:
            PortError: No answer, or one without a Date.
        """
        before_s = time.time()
        _, server_unix_s = self.send_dated(Call("read the server's clock", "GET", "/version"))
        if server_unix_s is None:
            raise bad_answer("read the server's clock", "the answer has no Date header")
        return server_unix_s - (before_s + time.time()) / 2

    def close(self) -> None:
        """Close idle connections. Idempotent."""
        self._client.rest_client.close()

    def _read(self, call: Call) -> urllib3.BaseHTTPResponse:
        """Read; a server that is too busy now and says for how long is asked again, within the call's own limit."""
        deadline_s = time.monotonic() + call.timeout_s
        while True:
            try:
                return self._answer(call)
            except ApiError as error:
                wait_s = error.retry_after_s if error.status == TOO_MANY_REQUESTS else 0.0
                if not wait_s or time.monotonic() + wait_s >= deadline_s:
                    raise
                time.sleep(wait_s)

    def _answer(self, call: Call) -> urllib3.BaseHTTPResponse:
        client = self._client
        response = self._once(client, call)
        if response.status == UNAUTHORIZED:
            response.drain_conn()
            response = self._once(self._renewed(client), call)
        if not 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's success class
            with _translated(call.operation, self.server):
                raise refusal(call.operation, response.status, response.data, response.headers.get("Retry-After"))
        return response

    def _once(self, client: ApiClient, call: Call) -> urllib3.BaseHTTPResponse:
        with _translated(call.operation, self.server):
            prepared = client.param_serialize(
                call.method,
                call.path,
                query_params=list(call.query.items()),
                header_params={"Accept": "application/json", "Content-Type": call.content_type},
                body=call.body,
                auth_settings=["BearerToken"],
            )
            response = client.call_api(*prepared, _request_timeout=(CONNECT_TIMEOUT_S, call.timeout_s)).response
        return cast("urllib3.BaseHTTPResponse", response)

    def _renewed(self, rejected: ApiClient) -> ApiClient:
        """Build a new client once for all threads whose credentials were rejected together."""
        with self._lock:
            if self._client is rejected:
                try:
                    self._client = self._make_client()
                except SpecError as error:  # the kubeconfig was good when the run began
                    raise PortError(SYSTEM, "renew the credentials", str(error)) from error
            return self._client


def connect(target: Target) -> Connection:
    """Connect to a target: its one kubeconfig file, its one context. Sends nothing yet.

    Raises:
        SpecError: The kubeconfig cannot be used.
    """

    def make_client() -> ApiClient:
        client = ApiClient(kubeconfig.load(target.kubeconfig, target.context))
        client.user_agent = FIELD_MANAGER
        return client

    return Connection(make_client, target.context)


def connect_context(path: str, context: str) -> Connection:
    """Connect to one context of one kubeconfig file, or with an empty path by the pod's own ServiceAccount.

    Raises:
        SpecError: The kubeconfig cannot be used, or this is no pod.
    """

    def make_client() -> ApiClient:
        configuration = kubeconfig.load(path, context) if path else kubeconfig.load_in_cluster()
        client = ApiClient(configuration)
        client.user_agent = f"{FIELD_MANAGER}-reaper"
        return client

    return Connection(make_client, context or "in-cluster")


@contextmanager
def _translated(operation: str, server: str) -> Iterator[None]:
    """Turn the HTTP library's errors into ours."""
    try:
        yield
    except ApiException as error:  # the client wraps TLS errors only
        remedy = "check the certificate-authority of the kubeconfig; TLS verification is never switched off"
        problem = f"TLS with {server} failed: {' '.join(str(error.reason).split())}"
        raise PortError(SYSTEM, operation, problem, remedy) from error
    except urllib3.exceptions.ReadTimeoutError as error:
        problem = f"{server} did not send anything within {_limit_of(error)}"
        raise SilenceError(SYSTEM, operation, problem, "is the API server alive?") from error
    except urllib3.exceptions.HTTPError as error:
        remedy = "is the API server running, and is the address in the kubeconfig right?"
        raise PortError(SYSTEM, operation, f"{server} cannot be reached: {error}", remedy) from error


def _limit_of(error: urllib3.exceptions.ReadTimeoutError) -> str:
    return str(error).rpartition("read timeout=")[2].rstrip(")") + " s" if "read timeout=" in str(error) else "its time"


def _json_object(operation: str, data: bytes) -> Json:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise bad_answer(operation, f"not JSON ({data[:80]!r})") from error
    if not isinstance(found, dict):
        raise bad_answer(operation, "not a JSON object")
    return found


def _date_unix_s(text: str | None) -> float | None:
    if not text:
        return None
    try:
        return parsedate_to_datetime(text).timestamp() + 0.5  # the header cuts the fraction off
    except ValueError:
        return None
