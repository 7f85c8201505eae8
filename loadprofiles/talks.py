"""The closed loop beside the arrivals: when people who hold conversations may ask, and what became of it. No Locust.

A person is late for nothing: a turn is meant for the moment at which its think time ended. All turns together stay
under what the target allows beside the arrivals. Gevent inside; nothing here may count a turn as an arrival.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import gevent
import gevent.event

from loadprofiles.talk_totals import StreamCount

EMPTY_TURNS_MAX = 20
"""Turns without a request after which a class that never sent one is named as silent."""
BURST_S = 0.2
"""How much of its limit may go out at once."""


class Cuttable(Protocol):
    """A session in the middle of a stream."""

    def cut(self) -> None:
        """Hang up."""
        ...


@dataclass(eq=False)
class Talks:
    """All conversations of one worker.

    Attributes:
        now_s: The run's clock.
        limit_rps: What their requests may come to, together.
        turns: Requests started so far.
        held_back: Of these, started later than meant because of the limit.
        gave_up: Conversations that ended because somebody lost patience.
        sent: Requests by user class.
        empty: Turns without a request, by user class.
        streams: By endpoint.
        open_streams: Sessions that are reading one.
    """

    now_s: Callable[[], float]
    limit_rps: float
    turns: int = 0
    held_back: int = 0
    gave_up: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    empty: Counter[str] = field(default_factory=Counter)
    streams: dict[str, StreamCount] = field(default_factory=dict)
    open_streams: set[Cuttable] = field(default_factory=set)
    _began_s: float = math.inf
    _free_s: float = -math.inf
    _counted: int = 0
    _on: Any = field(default_factory=gevent.event.Event)
    _over: Any = field(default_factory=gevent.event.Event)

    def begin(self, began_s: float) -> None:
        """Let people begin to think at ``began_s``."""
        self._began_s = began_s

    def allow(self, allowed: bool) -> None:
        """Let turns begin, or hold them: this worker has no share of the load."""
        if allowed:
            self._on.set()
        else:
            self._on.clear()

    def close(self) -> None:
        """Begin no further turn, and hang up on streams: they may have no end of their own."""
        self._over.set()
        self._on.set()
        for session in tuple(self.open_streams):
            session.cut()

    def think(self, think_s: float) -> float:
        """Wait for so long; return when that was over, which is when the turn is meant to begin.

        Raises:
            GreenletExit: The load is over.
        """
        self._allowed()
        due_s = max(self.now_s(), self._began_s) + think_s
        self._sleep_until(due_s)
        held_s = self._allowed()
        return due_s if held_s == 0 else self.now_s()

    def _allowed(self) -> float:
        """Wait until this worker may send; return how long that took."""
        since_s = self.now_s()
        waited = not self._on.is_set()
        self._on.wait()
        if self._over.is_set():
            raise gevent.GreenletExit
        return self.now_s() - since_s if waited else 0.0

    def _sleep_until(self, t_s: float) -> None:
        while (left_s := t_s - self.now_s()) > 0:
            if self._over.wait(left_s):
                raise gevent.GreenletExit

    def admit(self, user_class: str) -> float:
        """Wait until one more request keeps the limit, and count it; return when it goes.

        Raises:
            GreenletExit: The load is over.
        """
        self._allowed()
        now_s = self.now_s()
        gap_s = 1.0 / self.limit_rps
        self._free_s = max(self._free_s, now_s - BURST_S) + gap_s
        if self._free_s > now_s:
            self.held_back += 1
            self._sleep_until(self._free_s)
        self.turns += 1
        self.sent[user_class] += 1
        return self.now_s()

    def note_stream(self, endpoint: str, events: int, first_event_s: float | None) -> None:
        """Note what came on a stream."""
        self.streams.setdefault(endpoint, StreamCount()).add(events, first_event_s)

    def second(self) -> int:
        """Return the requests started since the last call."""
        counted, self._counted = self._counted, self.turns
        return self.turns - counted

    def summary(self) -> dict[str, Any]:
        """Return what a worker says of its conversations at the end."""
        streams = {endpoint: asdict(found) for endpoint, found in self.streams.items()}
        return {"turns": self.turns, "held_back": self.held_back, "gave_up": self.gave_up, "streams": streams}

    def silent(self) -> list[str]:
        """Return the classes whose turns ask for nothing."""
        return [name for name, turns in self.empty.items() if turns >= EMPTY_TURNS_MAX and not self.sent[name]]


__all__ = ["Talks"]
