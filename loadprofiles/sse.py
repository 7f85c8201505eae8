"""Reads ``text/event-stream``: pieces of bytes in, whole events out (WHATWG HTML, "Server-sent events"). Pure.

Pieces may end anywhere, also within a line end or a character. An event counts when its empty line has come; what
follows the last one is no event. Memory is bounded whatever a server sends. No sockets, no clock, no Locust.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

EVENT_BYTES_MAX = 1024 * 1024
"""Of one line, and of the data of one event."""

_BOM = b"\xef\xbb\xbf"
_DIGITS = frozenset("0123456789")
_RETRY_DIGITS_MAX = 12


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        data: Its ``data`` lines, joined by line ends.
        kind: Its ``event`` field; ``message`` where it has none.
        id: The last ``id`` that the stream has told, in this event or before.
    """

    data: str
    kind: str = "message"
    id: str = ""


class EventTooLargeError(Exception):
    """A line, or the data of an event, is larger than `EVENT_BYTES_MAX`."""


class EventReader:
    """Reads one stream.

    Attributes:
        last_id: The last ``id``; a client that comes back sends it as ``Last-Event-ID``.
        retry_s: How long a client should wait before it comes back, or None where the stream does not say.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_s: float | None = None
        self._rest = bytearray()
        self._begun = self._after_cr = False
        self._data: list[str] = []
        self._data_bytes = 0
        self._kind = ""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Yield the events that are whole now.

        Args:
            piece: What came next.

        Raises:
            EventTooLargeError: The stream holds too much that is no whole event.
        """
        for line in self._lines(piece):
            event = self._take(line.decode("utf-8", "replace"), len(line))
            if event is not None:
                yield event

    def _lines(self, piece: bytes) -> Iterator[bytes]:
        """Yield whole lines; they end with CR LF, LF or CR. Looks at each byte once, however small the pieces are."""
        if self._after_cr and piece:
            piece, self._after_cr = piece.removeprefix(b"\n"), False
        self._after_cr = self._after_cr or piece.endswith(b"\r")
        first, *others = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest += first
        for following in others:
            yield self._whole_line()
            self._rest += following
        if len(self._rest) > EVENT_BYTES_MAX:
            raise EventTooLargeError(f"a line over {EVENT_BYTES_MAX} bytes")

    def _whole_line(self) -> bytes:
        line = bytes(self._rest)
        self._rest.clear()
        line, self._begun = line if self._begun else line.removeprefix(_BOM), True
        return line

    def _take(self, line: str, line_bytes: int) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data_bytes += line_bytes
            if self._data_bytes > EVENT_BYTES_MAX:
                raise EventTooLargeError(f"an event over {EVENT_BYTES_MAX} bytes")
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self.last_id = value
        elif name == "retry" and value and _DIGITS.issuperset(value) and len(value) <= _RETRY_DIGITS_MAX:
            self.retry_s = int(value) / 1000
        return None  # a comment (an empty name), or a field that nobody knows

    def _dispatch(self) -> Event | None:
        data, kind = self._data, self._kind
        self._data, self._data_bytes, self._kind = [], 0, ""
        return Event("\n".join(data), kind or "message", self.last_id) if data else None


__all__ = ["EVENT_BYTES_MAX", "Event", "EventReader", "EventTooLargeError"]
