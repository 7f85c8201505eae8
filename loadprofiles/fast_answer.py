"""Answers of the fast HTTP path: the value, and the reader that makes one of the bytes of a connection.

llhttp (by httptools) decides what the bytes mean; headers are looked at only when somebody asks for them, since a load
generator rarely does. Whatever a server sends ends in a whole answer or in an `ExchangeError`, and in bounded memory.
No sockets, no clock, no Locust.
"""

from __future__ import annotations

import json
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from loadprofiles.fast_errors import ExchangeError

POD_HEADERS = ("x-gameday-pod", "x-pod")
_POD_MARKS = tuple(f"\r\n{name}:".encode() for name in POD_HEADERS)
_POD_CHARACTERS_MAX = 253
_HEAD_END = b"\r\n\r\n"
_FIRST_FINAL, _FIRST_BAD, _SWITCHING, _LOWEST = 200, 300, 101, 100


class Answer:
    """An answer that was read whole.

    Attributes:
        status: The status code.
        first_byte_s: When its first bytes were read, on the monotonic clock.
        last_byte_s: When its last bytes were read.
    """

    __slots__ = ("_body", "_head", "first_byte_s", "last_byte_s", "status")

    def __init__(self, status: int, head: bytes, body: bytes | bytearray, first_byte_s: float, last_byte_s: float):
        self.status = status
        self.first_byte_s = first_byte_s
        self.last_byte_s = last_byte_s
        self._head = head
        self._body = body

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Headers by name in lower case; lines of one name are joined by commas."""
        return headers_of(self._head)

    @property
    def body(self) -> bytes:
        """The body; empty where pieces were handed out as they came."""
        if type(self._body) is not bytes:
            self._body = bytes(self._body)
        return self._body

    @property
    def body_bytes(self) -> int:
        """Length of the body; 0 where pieces were handed out as they came."""
        return len(self._body)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self._body)

    @property
    def pod(self) -> str:
        """The pod that says it answered, or an empty text."""
        lower = self._head.lower()
        for mark in _POD_MARKS:
            at = lower.find(mark)
            if at >= 0:
                value = self._head[at + len(mark) :].partition(b"\r\n")[0].strip()
                return value[:_POD_CHARACTERS_MAX].decode("ascii", "replace")
        return ""


def headers_of(head: bytes) -> dict[bytes, bytes]:
    """Return the headers of a head that llhttp found well-formed."""
    found: dict[bytes, bytes] = {}
    name = b""
    for line in head.split(b"\r\n")[1:-1]:
        if line[:1] in (b" ", b"\t"):  # a folded line goes on with the value before it
            found[name] = found.get(name, b"") + b" " + line.strip()
            continue
        key, _, value = line.partition(b":")
        name = key.strip().lower()
        found[name] = found[name] + b", " + value.strip() if name in found else value.strip()
    return found


class AnswerReader:
    """Reads the answers of one connection, one after the other; llhttp calls its ``on_`` methods.

    They must not raise: httptools would hide what they raise. What they find wrong waits in `_fault` for `feed`.

    Attributes:
        done: The answer is whole.
        answered: The head of the final answer is read.
        soiled: Bytes came that belong to no answer: nothing on this connection can be trusted any more.
        keep: The server lets the connection live.
        pieces: Pieces of the body that nobody took yet, where they are handed out as they come.
        now_s: Set before each `feed`.
        first_s: When the first bytes of the final answer came.
    """

    __slots__ = (
        "_body", "_body_bytes", "_body_bytes_max", "_fault", "_handed_out", "_head_only", "_header_bytes_max",
        "_interims", "_parser", "_raw", "answered", "done", "first_s", "keep", "now_s", "pieces", "soiled", "status",
    )  # fmt: skip

    def __init__(self, header_bytes_max: int, body_bytes_max: int) -> None:
        self._header_bytes_max = header_bytes_max
        self._body_bytes_max = body_bytes_max
        self._parser = HttpResponseParser(self)
        self._head_only = False
        self.soiled = False
        self.now_s = 0.0
        self.begin(head_only=False, handed_out=False)

    def begin(self, head_only: bool, handed_out: bool) -> None:
        """Get ready for the next answer.

        Args:
            head_only: The request was a HEAD, whose answer has no body whatever its headers say.
            handed_out: The body of a good answer goes to `pieces` and is not kept.
        """
        if self._head_only:  # llhttp still waits for the body that its headers told of
            self._parser = HttpResponseParser(self)
        self.status = self._interims = self._body_bytes = 0
        self.done = self.answered = False
        self.keep = True
        self.first_s = 0.0
        self.pieces: list[bytes] = []
        self._raw = b""
        self._body: bytes | bytearray = b""
        self._fault: ExchangeError | None = None
        self._head_only = head_only
        self._handed_out = handed_out

    def feed(self, data: bytes) -> None:
        """Take bytes as they came.

        Raises:
            ExchangeError: No answer can become of them.
        """
        in_head = not self.answered
        if in_head:
            self._raw = self._raw + data if self._raw else data
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as error:
            self.soiled = True
            if not self.done:
                raise ExchangeError("switching-protocols", "server switched the protocol unasked", 101) from error
        except HttpParserError as error:
            self.soiled = True
            if not self.done:
                raise (self._fault or self._malformed(str(error))) from error
        if in_head and (len(self._raw) > self._header_bytes_max or self._interims or self._head_only or not self.keep):
            self._check_head()
        if self._fault is not None:
            raise self._fault

    def _check_head(self) -> None:
        """Look at what is rare: a long head, interim answers, HEAD, a connection that ends with this answer."""
        heads = self._raw
        if self.answered:
            heads = self._raw[: len(self._raw) - len(self._after_head())]
        if len(heads) > self._header_bytes_max:
            self._fault = ExchangeError("header-too-large", f"head over {self._header_bytes_max} bytes", self.status)
        elif self.answered and not self.keep and not self.done and not self._has_length():
            self._fault = ExchangeError("unframed", "answer ends only with the connection", self.status)
        elif self._head_only and self.answered:
            self.soiled = self.soiled or self._after_head() != b""

    def _has_length(self) -> bool:
        headers = headers_of(self._final_head())
        coding = headers.get(b"transfer-encoding")
        return coding.lower().endswith(b"chunked") if coding is not None else b"content-length" in headers

    def _malformed(self, what: str) -> ExchangeError:
        return ExchangeError("malformed", f"answer is not HTTP: {what}", self.status)

    def ended(self) -> ExchangeError:
        """Say what the end of the connection cut off."""
        if not self._raw:
            return ExchangeError("closed-before-answer", "connection closed before the answer")
        if not self.answered:
            return ExchangeError("cut-off", "answer cut off within its head", self.status)
        length = headers_of(self._final_head()).get(b"content-length", b"").decode("latin-1")
        whole = f"{length} bytes" if length else "a chunked body"
        return ExchangeError("cut-off", f"answer cut off after {self._body_bytes} of {whole}", self.status)

    def take(self) -> Answer:
        """Return the answer that is done.

        Raises:
            ExchangeError: It calls itself something else than HTTP/1.
        """
        raw = self._raw
        head = self._final_head() if self._interims else raw[: raw.find(_HEAD_END) + 2]
        if not head.startswith(b"HTTP/1."):
            head = self._final_head()
            if not head.startswith(b"HTTP/1."):
                raise self._malformed("unknown version of the protocol")
        answer = Answer(self.status, head, self._body, self.first_s, self.now_s)
        self._raw = self._body = b""  # an idle connection holds no body
        return answer

    def _split(self) -> tuple[bytes, bytes]:
        head, rest = b"", self._raw
        for _ in range(self._interims + 1):
            head, _, rest = rest.lstrip(b"\r\n").partition(_HEAD_END)
        return head + b"\r\n", rest

    def _final_head(self) -> bytes:
        return self._split()[0]

    def _after_head(self) -> bytes:
        return self._split()[1]

    def on_message_begin(self) -> None:
        """Note the first byte of an answer, or of what follows one."""
        if self.done:
            self.soiled = True
        else:
            self.first_s = self.now_s

    def on_headers_complete(self) -> None:
        """Note what the head says; interim answers are passed over."""
        if self.done:
            return
        self.status = status = self._parser.get_status_code()
        if status >= _FIRST_FINAL:
            self.answered = True
            self.keep = self._parser.should_keep_alive()
            self.done = self._head_only
            self._handed_out = self._handed_out and status < _FIRST_BAD
        elif status == _SWITCHING:
            self._fault = ExchangeError("switching-protocols", "server switched the protocol unasked", status)
        elif status < _LOWEST:
            self._fault = self._malformed("impossible status")

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body, or put it out for whoever takes pieces."""
        if self.done or not self.answered:
            self.soiled = True
            self._fault = self._fault or (None if self.done else self._malformed("interim answer with a body"))
            return
        self._body_bytes += len(piece)
        if self._handed_out:
            self.pieces.append(piece)
        elif self._body_bytes > self._body_bytes_max:
            self._fault = ExchangeError("body-too-large", f"body over {self._body_bytes_max} bytes", self.status)
        elif not self._body:
            self._body = piece
        else:  # one growing array: a list of many tiny pieces would take many times their size
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += piece

    def on_message_complete(self) -> None:
        """Note the end of an answer."""
        if self.done:
            return
        if self.answered:
            self.done = True
        else:
            self._interims += 1
