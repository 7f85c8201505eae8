"""The reader of event streams: the same events wherever the bytes are cut, and bounded memory whatever comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadprofiles.sse import EVENT_BYTES_MAX, Event, EventReader, EventTooLargeError


def events_of(text: bytes, cuts: list[int] | None = None) -> list[Event]:
    reader, edges = EventReader(), sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts or [])})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"data: one\n\n", [Event("one")]),
        (b"data:one\r\rdata: two\r\n\r\n", [Event("one"), Event("two")]),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event("YHOO\n+2\n10")]),
        (b": a comment\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
         [Event("first event", id="1"), Event("second event"), Event(" third event")]),
        (b"data\n\ndata\ndata\n\ndata:", [Event(""), Event("\n")]),
        (b"data:test\n\ndata: test\n\n", [Event("test"), Event("test")]),
        (b"event: done\ndata: {}\n\nevent: lost\n\ndata: x\n\n", [Event("{}", "done"), Event("x")]),
        (b"id: a\0b\nid: 7\ndata: x\n\ndata: y\n\n", [Event("x", id="7"), Event("y", id="7")]),
        (b"\xef\xbb\xbfdata: marked\n\n", [Event("marked")]),
        (b"\xef\xbb", []),
        (b"nonsense\nwhat: ever\ndata: x\n\n", [Event("x")]),
        (b"data: never ended\n", []),
        (b"data: \xff\n\n", [Event("\ufffd")]),
    ],
)  # fmt: skip
def test_events_are_read_as_the_standard_says(text: bytes, expected: list[Event]) -> None:
    assert events_of(text) == expected
    assert events_of(text, list(range(len(text)))) == expected  # byte by byte


def test_the_time_to_wait_before_coming_back_is_kept() -> None:
    reader = EventReader()
    assert list(reader.feed(b"retry: 2500\nretry: 1e9\nretry: -1\nretry:\nretry: " + b"9" * 5000 + b"\n\n")) == []
    assert reader.retry_s == 2.5


LINES = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)
FIELDS = st.sampled_from(["data: ", "data:", "data", "event: ", "id: ", ": ", "retry: ", ""])
ENDS = st.sampled_from(["\n", "\r", "\r\n"])


@given(st.lists(st.tuples(FIELDS, LINES, ENDS), max_size=30), st.lists(st.integers(0, 10_000), max_size=30))
def test_where_the_pieces_end_changes_nothing(lines: list[tuple[str, str, str]], cuts: list[int]) -> None:
    text = "".join(field + line + end for field, line, end in lines).encode()
    assert events_of(text, cuts) == events_of(text)


@given(st.lists(st.lists(LINES, min_size=1, max_size=4), max_size=8), ENDS, st.lists(st.integers(0, 10_000)))
def test_what_was_sent_arrives(sent: list[list[str]], end: str, cuts: list[int]) -> None:
    text = "".join("".join(f"data: {line}{end}" for line in lines) + end for lines in sent).encode()
    assert [event.data.split("\n") for event in events_of(text, cuts)] == sent


@given(st.binary(max_size=400), st.lists(st.integers(0, 400)))
def test_any_bytes_are_read(text: bytes, cuts: list[int]) -> None:
    assert events_of(text, cuts) == events_of(text)


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 4096, b"data: " + b"x" * 4096 + b"\n"])
def test_a_stream_without_an_end_is_refused_before_it_fills_the_memory(piece: bytes) -> None:
    reader = EventReader()
    with pytest.raises(EventTooLargeError):
        for _ in range(2 * EVENT_BYTES_MAX // len(piece)):
            assert list(reader.feed(piece)) == []
