"""Tells Locust of requests that took the fast path, where somebody listens: its web page, or user code's own listener.

Locust's event costs more than the request itself, so that nobody fires it for no one. Imported by Locust's processes
only. What is told is what the row says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from locust import events as events_of_modules

from harness.model.load import TURN_MARK, RequestOutcome

_OURS = frozenset({"locust", "loadprofiles"})


class RequestFailedError(Exception):
    """What Locust hears of a request that was not good: a word of the log, never a server's or a task's text."""


class RequestHook(Protocol):
    """Locust's request event."""

    _handlers: list[Callable[..., Any]]

    def fire(self, **words: Any) -> None:
        """Call every listener."""
        ...


class Announcer:
    """Fires Locust's request event.

    Args:
        hook: The environment's request event.
        always: Whether Locust's own statistics are looked at.
    """

    __slots__ = ("_always", "_handlers", "_heard", "_hook", "_seen")

    def __init__(self, hook: RequestHook, *, always: bool) -> None:
        self._hook, self._always = hook, always
        self._handlers = hook._handlers
        self._seen, self._heard = -1, always

    @property
    def heard(self) -> bool:
        """Whether somebody listens who is neither Locust nor us."""
        if len(self._handlers) != self._seen:
            self._seen = len(self._handlers)
            theirs = [one for one in self._handlers if (one.__module__ or "").partition(".")[0] not in _OURS]
            self._heard = self._always or bool(theirs)
        return self._heard

    def tell(
        self, endpoint: str, latency_s: float, status: int, outcome: RequestOutcome, kind: str, size_bytes: int
    ) -> None:
        """Tell of one request that has ended."""
        mark = TURN_MARK if endpoint.startswith(TURN_MARK) else ""
        method, _, name = endpoint.removeprefix(mark).partition(" ")
        failed = None if outcome is RequestOutcome.OK else RequestFailedError(kind or f"status {status}")
        self._hook.fire(
            request_type=method, name=mark + name, response_time=latency_s * 1000,
            response_length=size_bytes, exception=failed, response=None, context={},
        )  # fmt: skip


def hear_modules(hook: Any, fault: Callable[[BaseException, Any], None]) -> None:
    """Pass requests on to listeners that user code's modules have put on ``locust.events``; they expect to be called.

    Args:
        hook: The environment's request event.
        fault: Told where such a listener raises.
    """
    listeners = list(events_of_modules.request._handlers)

    def pass_on(**words: Any) -> None:
        for listener in listeners:
            try:
                listener(**words)
            except Exception as error:
                fault(error, error.__traceback__)

    if listeners and events_of_modules.request is not hook:
        pass_on.__module__ = listeners[0].__module__
        hook.add_listener(pass_on)


__all__ = ["Announcer", "RequestFailedError", "hear_modules"]
