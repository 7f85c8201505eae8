"""The books of an open-loop user: each request waits for its arrival, and is one row whatever becomes of it.

Imported by the load child only. No header value is logged, and nothing is tried twice.
"""

from __future__ import annotations

from harness.model.load import RequestOutcome
from loadprofiles.accounts import Open
from loadprofiles.fast_http import Answer, Limits
from loadprofiles.fast_user import FastSession
from loadprofiles.measured import SessionRules


class PacedBooks:
    """`loadprofiles.fast_user.Books` over the pacer and the request log."""

    __slots__ = ("_announcer", "_errors", "_log", "_now_s", "_origin_s", "_take")

    def __init__(self, rules: SessionRules) -> None:
        self._take, self._log, self._now_s = rules.take, rules.log, rules.now_s
        self._errors, self._origin_s, self._announcer = rules.errors, rules.origin_s, rules.announcer

    def begin(self, endpoint: str) -> Open:
        """Wait for the next arrival, and open its row."""
        intended_s = self._take()
        return self._log.start(intended_s, self._now_s(), endpoint)

    def end(
        self,
        ticket: Open,
        end_s: float | None,
        status: int,
        outcome: RequestOutcome,
        *,
        kind: str = "",
        answer: Answer | None = None,
    ) -> None:
        """Close the row."""
        if outcome is not RequestOutcome.OK:
            self._errors[kind or f"status {status}"] += 1
        ended_s = self._now_s() if end_s is None else end_s - self._origin_s
        self._log.end(ticket, ended_s, status, outcome, pod=answer.pod if answer is not None else "")
        if self._announcer.heard:
            size_bytes = answer.body_bytes if answer is not None else 0
            self._announcer.tell(ticket.endpoint, ended_s - ticket.start_s, status, outcome, kind, size_bytes)


def paced_session(rules: SessionRules) -> FastSession:
    """Return the session of one paced user."""
    limits = Limits(rules.timeout_s, rules.timeout_s, rules.timeout_s)
    return FastSession(rules.base_url, rules.headers, limits, rules.reconnect_every, PacedBooks(rules))
