"""Hands arrivals to users when they are due: one desk a user class. Gevent inside, no Locust.

An arrival goes to a user that waits, else it waits for one. It is never forgotten: it is started, or dropped after the
time that a request may take, and both are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent import get_hub, getcurrent

from loadprofiles.accounts import ArrivalBook

NAP_MIN_S = 0.0005
"""Arrivals that are due within this time go out together: it costs half a millisecond and saves a switch each."""


@dataclass(eq=False, slots=True)
class Desk:
    """Where the users of one class wait, or what waits for them."""

    idle: deque[Any] = field(default_factory=deque)
    waiting: deque[float] = field(default_factory=deque)
    handed: dict[Any, float] = field(default_factory=dict)
    """Greenlets that were called and have not run yet: one that is killed on the way gives its arrival back."""
    asked: bool = False
    """Whether a user has ever asked for an arrival."""
    dropped: int = 0


class Office:
    """Hands arrivals to users.

    Args:
        names: User classes.
        timeout_s: An arrival that nobody took up for so long is dropped.
        now_s: The run's clock.
    """

    def __init__(self, names: Iterable[str], timeout_s: float, now_s: Callable[[], float]) -> None:
        self.book = ArrivalBook()
        self._desks = {name: Desk() for name in names}
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._open = True

    def offer(self, name: str, intended_s: float) -> None:
        """Hand out an arrival that is due."""
        self.book.offer(intended_s)
        self._hand(self._desks[name], intended_s)

    def pass_over(self, intended_s: float) -> None:
        """Note an arrival that was due while this worker was held up: offered, and dropped at once."""
        self.book.offer(intended_s)
        self.book.drop(self._now_s() - intended_s)

    def _hand(self, desk: Desk, intended_s: float) -> None:
        if not desk.idle:
            desk.waiting.append(intended_s)
            return
        user = desk.idle.popleft()
        desk.handed[user] = intended_s
        get_hub().loop.run_callback(user.switch)

    def taker(self, name: str) -> Callable[[], float]:
        """Return what a user of a class calls: it waits for an arrival and returns when that was due."""
        desk = self._desks[name]

        def take() -> float:
            desk.asked = True
            while self._open:
                intended_s = desk.waiting.popleft() if desk.waiting else self._rest(desk)
                now_s = self._now_s()
                if now_s - intended_s <= self._timeout_s:
                    self.book.start(intended_s, now_s)
                    return intended_s
                self.book.drop(now_s - intended_s)
            raise gevent.GreenletExit

        return take

    def _rest(self, desk: Desk) -> float:
        user = getcurrent()
        desk.idle.append(user)
        try:
            get_hub().switch()
        except BaseException:  # the user is stopped, or gives up, while it waits
            if user in desk.handed:
                self._hand(desk, desk.handed.pop(user))
            else:
                desk.idle.remove(user)
            raise
        intended_s = desk.handed.pop(user)
        if not self._open:  # it was called only to be sent home
            raise gevent.GreenletExit
        return intended_s

    def expire(self) -> float | None:
        """Drop arrivals that waited longer than a request may last; return since when the oldest waits, or None."""
        now_s = self._now_s()
        for desk in self._desks.values():
            while desk.waiting and now_s - desk.waiting[0] > self._timeout_s:
                self.book.drop(now_s - desk.waiting.popleft())
                desk.dropped += 1
        return min((desk.waiting[0] for desk in self._desks.values() if desk.waiting), default=None)

    def silent(self) -> list[str]:
        """Return the classes whose arrivals were dropped although no user has ever asked for one."""
        return [name for name, desk in self._desks.items() if desk.dropped and not desk.asked]

    def close(self) -> None:
        """Hand out nothing more; users that wait end."""
        self._open = False
        for desk in self._desks.values():
            while desk.idle:
                user = desk.idle.popleft()
                desk.handed[user] = float("-inf")
                get_hub().loop.run_callback(user.switch)


def sleep_until(t_s: float, now_s: Callable[[], float]) -> None:
    """Sleep until a time on the run's clock, at least for `NAP_MIN_S` where it has not come."""
    while (left_s := t_s - now_s()) > 0:
        gevent.sleep(max(left_s, NAP_MIN_S))


__all__ = ["Desk", "Office", "sleep_until"]
