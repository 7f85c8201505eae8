"""A Locust user class whose requests take the fast path: one keep-alive connection a user, no Locust events.

Write tasks as for ``FastHttpUser``: ``self.client.get("/path")``, ``.post("/path", json=...)``, ``catch_response``; and
``.stream("/path")`` for server-sent events. What is not there: cookies, redirects, retries, proxies. Imported by
Locust's processes only. An answer counts as good only when it was read whole.
"""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

from locust import User
from locust.env import Environment

from harness.model.load import RequestOutcome
from loadprofiles.announcing import Announcer
from loadprofiles.fast_http import Answer, ExchangeError, FastClient, Limits
from loadprofiles.sse import Event, EventReader, EventTooLargeError

FIRST_GOOD_STATUS, FIRST_BAD_STATUS = 200, 300
EVENT_STREAM = "text/event-stream"
_JSON = {"Content-Type": "application/json"}
_NONE: Mapping[str, str] = {}

OnChunk = Callable[[bytes], None]


class Books(Protocol):
    """Where a session accounts for its requests."""

    def begin(self, endpoint: str) -> Any:
        """Wait until a request may go, and note that it goes now; returns what `end` wants."""
        ...

    def end(
        self,
        ticket: Any,
        end_s: float | None,
        status: int,
        outcome: RequestOutcome,
        *,
        kind: str = "",
        answer: Answer | None = None,
    ) -> None:
        """Note how it ended; ``end_s`` on the monotonic clock, None for now."""
        ...


class GaveUp(Exception):
    """Raised by whoever takes the pieces of an answer: it hangs up, and the request counts as timed out."""


class EventTap:
    """Takes the pieces of an event stream, and hands out its events.

    Attributes:
        reader: Reads them.
        events: How many came.
        begun_s: When the request went out, on the monotonic clock.
        first_event_s: How long after that the first one was whole, or None.
    """

    __slots__ = ("_on_event", "begun_s", "events", "first_event_s", "reader")

    def __init__(self, on_event: Callable[[Event], object] | None) -> None:
        self.reader = EventReader()
        self.events = 0
        self.begun_s = 0.0
        self.first_event_s: float | None = None
        self._on_event = on_event

    def __call__(self, piece: bytes) -> None:
        """Take a piece."""
        for event in self.reader.feed(piece):
            self.events += 1
            if self.first_event_s is None:
                self.first_event_s = time.monotonic() - self.begun_s
            if self._on_event is not None:
                self._on_event(event)


class FastResponse:
    """What came back: an answer, or why there is none.

    Attributes:
        status_code: 0 where no answer came.
        error: What went wrong, or None; a status of 300 and more is an error too.
        answer: The answer where it was read whole, or None.
        tap: Of an event stream: what came, and when.
    """

    __slots__ = ("_books", "_kind", "_outcome", "_ticket", "answer", "error", "status_code", "tap")

    def __init__(self, answer: Answer | None, error: ExchangeError | None) -> None:
        self.answer = answer
        self.status_code = answer.status if answer is not None else error.status if error is not None else 0
        self.error: str | None = error.kind if error is not None else None
        if answer is not None and not FIRST_GOOD_STATUS <= answer.status < FIRST_BAD_STATUS:
            self.error = f"status {answer.status}"
        self.tap: EventTap | None = None
        self._books: Books | None = None
        self._outcome = outcome_of(answer, error)
        self._kind = error.kind if error is not None else ""

    @property
    def ok(self) -> bool:
        """Whether a whole answer with a good status came."""
        return self.error is None

    @property
    def content(self) -> bytes:
        """The body."""
        return self.answer.body if self.answer is not None else b""

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return the body's value."""
        return jsonlib.loads(self.content)

    # catch_response: the task says whether it was good ---------------------------------------------------------------

    def defer(self, books: Books, ticket: Any) -> FastResponse:
        """Leave the end of the request's row to the ``with`` block."""
        self._books, self._ticket = books, ticket
        return self

    def success(self) -> None:
        """Count it as good, whatever its status; an answer that was not read whole stays bad."""
        if self.answer is not None:
            self._outcome, self._kind = RequestOutcome.OK, ""

    def failure(self, why: object) -> None:
        """Count it as bad; only that it was refused is kept, never the text."""
        self._outcome, self._kind = RequestOutcome.BROKEN, "refused-by-the-task"

    def __enter__(self) -> FastResponse:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the row; a task that raised counts as having refused the answer."""
        if error is not None:
            self.failure(error)
        if self._books is not None:
            end_s = self.answer.last_byte_s if self.answer is not None else None
            how = (end_s, self.status_code, self._outcome)
            self._books.end(self._ticket, *how, kind=self._kind, answer=self.answer)
            self._books = None


def outcome_of(answer: Answer | None, error: ExchangeError | None) -> RequestOutcome:
    """Say how a request ended."""
    if error is not None:
        return error.outcome
    good = answer is not None and FIRST_GOOD_STATUS <= answer.status < FIRST_BAD_STATUS
    return RequestOutcome.OK if good else RequestOutcome.HTTP_ERROR


def _is_event_stream(answer: Answer) -> bool:
    kind = answer.headers.get(b"content-type", b"").partition(b";")[0]
    return kind.strip().lower() == EVENT_STREAM.encode()


class FastSession:
    """Sends requests of one user, one after the other.

    Args:
        base_url: The only host that is asked.
        headers: Added to every request; secret.
        limits: Time-outs and sizes.
        reconnect_every: Requests after which the connection is made anew (CASES D07); 0 keeps it.
        books: Where requests are accounted for.

    Attributes:
        asked: Requests sent so far.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], limits: Limits, reconnect_every: int, books: Books
    ) -> None:
        self.base_url = base_url
        self._client = FastClient(base_url, headers, limits, reconnect_every)
        self._books = books
        self.asked = 0

    def request(  # noqa: PLR0913 - the words of Locust's sessions
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | str = b"",
        headers: Mapping[str, str] = _NONE,
        name: str | None = None,
        catch_response: bool = False,
        on_chunk: OnChunk | None = None,
    ) -> FastResponse:
        """Send one request when it may go, and read its answer whole.

        Args:
            method: Such as ``GET``.
            path: Of the gateway, from its first slash; a whole URL must lead to the gateway.
            json: A value to send as JSON.
            data: A body to send as it is.
            headers: For this request.
            name: What the log calls it instead of its path.
            catch_response: Whether the ``with`` block says if it was good.
            on_chunk: Gets the pieces of a long-lived answer as they come; raise `GaveUp` in it to hang up.

        Raises:
            OffTargetError: The URL leads elsewhere than to the gateway.
        """
        path = self._path_of(path)
        body = data.encode() if isinstance(data, str) else data
        if json is not None:
            body = jsonlib.dumps(json, separators=(",", ":")).encode()
            headers = {**_JSON, **headers} if headers else _JSON
        ticket = self._books.begin(f"{method} {name or path}")
        self.asked += 1
        try:
            answer = self._exchange(method, path, body, headers, on_chunk)
        except ExchangeError as error:
            response = FastResponse(None, error)
            if catch_response:
                return response.defer(self._books, ticket)
            self._books.end(ticket, None, error.status, error.outcome, kind=error.kind)
            return response
        except BaseException:
            self._books.end(ticket, None, 0, RequestOutcome.UNFINISHED, kind="given-up")
            raise
        response = FastResponse(answer, None)
        if catch_response:
            return response.defer(self._books, ticket)
        self._books.end(ticket, answer.last_byte_s, answer.status, response._outcome, answer=answer)
        return response

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], on_chunk: OnChunk | None
    ) -> Answer:
        if on_chunk is None:
            return self._client.exchange(method, path, body, headers)
        tap = on_chunk if isinstance(on_chunk, EventTap) else None
        if tap is not None:
            tap.begun_s = time.monotonic()
        try:
            answer = self._client.exchange(method, path, body, headers, on_chunk)
        except GaveUp as error:
            raise ExchangeError("gave-up", "whoever took the answer hung up") from error
        except EventTooLargeError as error:
            raise ExchangeError("body-too-large", str(error)) from error
        if tap is not None and FIRST_GOOD_STATUS <= answer.status < FIRST_BAD_STATUS and not _is_event_stream(answer):
            raise ExchangeError("no-event-stream", "answer is no event stream", answer.status)
        return answer

    def stream(
        self, path: str, *, method: str = "GET", on_event: Callable[[Event], object] | None = None, **rest: Any
    ) -> FastResponse:
        """Read an event stream to its end; see `request`.

        Args:
            path: Of the gateway.
            method: Such as ``POST``, where the question has a body.
            on_event: Gets each event as it comes; raise `GaveUp` in it to hang up.
            rest: Words of `request`.
        """
        tap = EventTap(on_event)
        headers = {"Accept": EVENT_STREAM, **rest.pop("headers", _NONE)}
        try:
            response = self.request(method, path, headers=headers, on_chunk=tap, **rest)
        finally:
            self._streamed(f"{method} {rest.get('name') or self._path_of(path)}", tap)
        response.tap = tap
        return response

    def _streamed(self, endpoint: str, tap: EventTap) -> None:
        """Note what became of a stream, for those who count them."""

    def _path_of(self, url: str) -> str:
        if url.startswith("/"):
            return url
        if url.startswith(self.base_url + "/"):
            return url[len(self.base_url) :]
        raise OffTargetError(f"{url} is not at the target's gateway: load goes nowhere else")

    def get(self, path: str, **rest: Any) -> FastResponse:
        """Send a GET request; see `request`."""
        return self.request("GET", path, **rest)

    def head(self, path: str, **rest: Any) -> FastResponse:
        """Send a HEAD request; see `request`."""
        return self.request("HEAD", path, **rest)

    def post(self, path: str, **rest: Any) -> FastResponse:
        """Send a POST request; see `request`."""
        return self.request("POST", path, **rest)

    def put(self, path: str, **rest: Any) -> FastResponse:
        """Send a PUT request; see `request`."""
        return self.request("PUT", path, **rest)

    def patch(self, path: str, **rest: Any) -> FastResponse:
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", path, **rest)

    def delete(self, path: str, **rest: Any) -> FastResponse:
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", path, **rest)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class OffTargetError(Exception):
    """User code asked for a URL that is not at the target's gateway."""


class FastUser(User):
    """A user with a `FastSession` as its client; under plain ``locust -f`` its requests go to Locust's statistics."""

    abstract = True
    client: FastSession
    request_timeout_s: float = 30.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        limits = Limits(self.request_timeout_s, self.request_timeout_s, self.request_timeout_s)
        self.client = FastSession((self.host or "").rstrip("/"), {}, limits, 0, _LocustBooks(environment))


class _LocustBooks:
    """Accounts to Locust's own statistics, one event a request."""

    def __init__(self, environment: Environment) -> None:
        self._announcer = Announcer(environment.events.request, always=True)

    def begin(self, endpoint: str) -> tuple[str, float]:
        return endpoint, time.monotonic()

    def end(
        self,
        ticket: tuple[str, float],
        end_s: float | None,
        status: int,
        outcome: RequestOutcome,
        *,
        kind: str = "",
        answer: Answer | None = None,
    ) -> None:
        latency_s = (end_s or time.monotonic()) - ticket[1]
        size_bytes = answer.body_bytes if answer is not None else 0
        self._announcer.tell(ticket[0], latency_s, status, outcome, kind, size_bytes)


__all__ = ["Books", "EventTap", "FastResponse", "FastSession", "FastUser", "GaveUp", "OffTargetError"]
