"""Server-sent events: a page's view at every change, until the drill is over or the server closes.

Holds a thread for each open page, hence the limit. Must send the same as `/api/view` and nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response

from harness.drill.desk import Desk, Role
from harness.drill.web.answers import Refused
from harness.drill.web.api import caller, page_view

BEAT_S = 5.0
"""A page that heard nothing for this long hears that nothing changed; also how soon a page that left is noticed."""

PACE_S = 0.25
"""Between two views: a burst of changes is told once."""

RETRY_MS = 1000
PAGES_MAX = 40


class Events:
    """The stream's route, over one desk."""

    def __init__(self, desk: Desk, closing: threading.Event) -> None:
        self._desk, self._closing = desk, closing
        self._places = threading.BoundedSemaphore(PAGES_MAX)

    def register(self, app: Flask) -> None:
        """Add the route."""
        app.add_url_rule("/api/events", "events", self.events, methods=["GET"])

    def events(self) -> Response:
        """Open a stream for the caller's role.

        Raises:
            Refused: As many pages are open as there may be.
        """
        if not self._places.acquire(blocking=False):
            raise Refused(503, f"{PAGES_MAX} pages are open already", "close some, and reload")
        answer = Response(self._messages(caller().role), mimetype="text/event-stream")
        answer.headers["X-Accel-Buffering"] = "no"
        answer.call_on_close(self._places.release)  # a stream that never began has no `finally`
        return answer

    def _messages(self, role: Role) -> Iterator[str]:
        yield f"retry: {RETRY_MS}\n\n"
        yield self._view(role)
        for _ in self._desk.changes(BEAT_S):
            if self._closing.wait(PACE_S):
                return
            yield self._view(role)
        yield self._view(role)
        yield message("over", {})

    def _view(self, role: Role) -> str:
        return message("view", page_view(self._desk, role))


def message(event: str, data: Any) -> str:
    """Return one event; JSON has no line breaks of its own."""
    return f"event: {event}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
