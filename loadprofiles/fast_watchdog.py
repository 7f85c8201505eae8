"""Deadlines of the fast HTTP path: one greenlet a process in place of a timer a request. It raises nothing in others.

A greenlet that waits is told by its socket: the watchdog marks the exchange and shuts the connection down, which wakes
whoever waits on it, in the middle of nothing.
"""

from __future__ import annotations

import heapq
import math
from itertools import count
from time import monotonic
from typing import Protocol
from weakref import WeakKeyDictionary

import gevent

LONGEST_NAP_S = 0.05
"""A client with shorter limits than all others may begin meanwhile: its deadline is found that late at most."""


class Watched(Protocol):
    """Something with a deadline. Deadlines of one may only move on: it is looked at when its last one is due."""

    def deadline_s(self) -> float:
        """When it is to be expired, on the monotonic clock; infinite if it is not to be watched."""

    def expire(self) -> None:
        """End it; nothing may be raised."""

    def unwatched(self) -> None:
        """Know that the watchdog has let go: the next deadline needs a new call of `Watchdog.watch`."""


class Watchdog:
    """Expires what is due. It lives as long as something is watched."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Watched]] = []
        self._numbers = count()
        self._greenlet: gevent.Greenlet | None = None

    def watch(self, watched: Watched) -> None:
        """Look after something until it has no deadline."""
        heapq.heappush(self._due, (watched.deadline_s(), next(self._numbers), watched))
        if not self._greenlet:
            self._greenlet = gevent.spawn(self._run)

    def _run(self) -> None:
        while self._due:
            gevent.sleep(min(max(self._due[0][0] - monotonic(), 0.0), LONGEST_NAP_S))
            gevent.sleep(0)  # what came in while the process was held up is read first
            self._look(monotonic())

    def _look(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            watched = heapq.heappop(self._due)[2]
            deadline_s = watched.deadline_s()
            if deadline_s <= now_s:
                watched.expire()
                deadline_s = max(watched.deadline_s(), now_s + LONGEST_NAP_S)  # it was told, and has not run yet
            if math.isinf(deadline_s):
                watched.unwatched()
            else:
                heapq.heappush(self._due, (deadline_s, next(self._numbers), watched))


_WATCHDOGS: WeakKeyDictionary[gevent.hub.Hub, Watchdog] = WeakKeyDictionary()


def watchdog() -> Watchdog:
    """Return the watchdog of this process (strictly, of this hub)."""
    hub = gevent.get_hub()
    found = _WATCHDOGS.get(hub)
    if found is None:
        found = _WATCHDOGS[hub] = Watchdog()
    return found
