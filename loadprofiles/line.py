"""The line between a worker and the load child: what is said on it, numbered and acknowledged. No sockets, no Locust.

Locust's own messages carry it. A message that was not acknowledged is said again, and one that comes twice is taken
once, so that a broken connection loses nothing while both ends live. Bounded: a worker that nobody hears stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadprofiles.shares import Share

HELLO, WELCOME, PING, PONG, GO, BEAT, SAY, ACK, STOP = (
    "gameday-" + word for word in ("hello", "welcome", "ping", "pong", "go", "beat", "say", "ack", "stop")
)
AGAIN_AFTER_S = 2.0
LEAD_S = 0.3
"""How far ahead a new list of shares holds, so that every worker has heard of it by then.

What is due until so long after a list was told is therefore settled by that list."""
FRESH_S = 1.0
"""A sign of life that took longer was waiting while its worker stood still: it says nothing of the shares of now."""
PAUSE_AFTER_S = 2.0
"""A worker that has heard nothing for so long starts no request: the others are about to take its share over."""
LOST_AFTER_S = 3.0
"""A worker that was not heard for so long is lost. More than `PAUSE_AFTER_S`, so that no arrival is sent twice."""
END_AFTER_S = 15.0
"""As long as the run's Lease: a worker that was cut off for so long ends."""
UNHEARD_MAX = 4_000


@dataclass(eq=False)
class Sender:
    """A worker's end: numbers what it says, and says it again until it is acknowledged (an `Outlet`).

    Attributes:
        put: Sends one message; may lose it.
        now_s: Any monotonic clock.
        dropped: Messages given up because nobody acknowledged for too long.
    """

    put: Callable[[dict[str, Any]], None]
    now_s: Callable[[], float]
    dropped: int = 0
    _next: int = 0
    _unheard: deque[dict[str, Any]] = field(default_factory=deque)
    _said_s: float = 0.0

    def send(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        """Say one message."""
        whole: dict[str, Any] = {"n": self._next, "message": dict(message), "blob": blob}
        self._next += 1
        if len(self._unheard) >= UNHEARD_MAX:
            self.dropped += 1
            return
        self._unheard.append(whole)
        self._said_s = self.now_s()
        self.put(whole)

    def acknowledged(self, until: int) -> None:
        """Forget what the other end has taken: everything up to this number."""
        while self._unheard and self._unheard[0]["n"] <= until:
            self._unheard.popleft()

    def repeat(self) -> None:
        """Say again what nobody has acknowledged, unless something was said just now."""
        if self._unheard and self.now_s() - self._said_s > AGAIN_AFTER_S:
            self._said_s = self.now_s()
            for whole in tuple(self._unheard):
                self.put(whole)

    @property
    def waiting(self) -> int:
        """Messages that were not acknowledged yet."""
        return len(self._unheard)


@dataclass(eq=False)
class Receiver:
    """The load child's end, one a worker: takes each message once, in order."""

    expected: int = 0

    def take(self, whole: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bytes]]:
        """Yield the message where it is the next one; one that came before, or from behind a gap, yields nothing."""
        if whole["n"] == self.expected:
            self.expected += 1
            yield whole["message"], bytes(whole["blob"])

    @property
    def acknowledge(self) -> int:
        """The number up to which everything was taken."""
        return self.expected - 1


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One exchange that compares two clocks.

    Attributes:
        offset_s: What to add to the worker's clock to get the other's.
        uncertainty_s: Half of the time that the exchange took.
    """

    offset_s: float
    uncertainty_s: float


def clock_reading(asked_s: float, theirs_s: float, heard_s: float) -> ClockReading:
    """Compare clocks as NTP does (RFC 5905): the other's answer lies in the middle of asking and hearing."""
    return ClockReading(theirs_s - (asked_s + heard_s) / 2, (heard_s - asked_s) / 2)


def shares_as_plain(shares: tuple[Share, ...]) -> list[list[Any]]:
    """Return shares as a message carries them."""
    return [[share.from_s, list(share.members)] for share in shares]


def shares_from_plain(plain: list[list[Any]]) -> tuple[Share, ...]:
    """Return shares from a message."""
    return tuple(Share(float(from_s), tuple(members)) for from_s, members in plain)
