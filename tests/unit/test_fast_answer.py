"""The reader of answers, byte by byte and without sockets: what it makes of bytes does not depend on how they come."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadprofiles.fast_answer import Answer, AnswerReader
from loadprofiles.fast_errors import KINDS, ExchangeError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Pod: planner-a\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Pod: no\r\n\r\n"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfull"
VALID = [OK, CHUNKED, INTERIM + OK, FULL, b"HTTP/1.1 204 No Content\r\n\r\n", b"\r\n" + OK]


def read(pieces: Iterable[bytes], head_only: bool = False, reader: AnswerReader | None = None) -> Answer:
    """Feed pieces, then the end of the connection."""
    reader = reader or AnswerReader(8192, 8192)
    reader.begin(head_only, handed_out=False)
    for number, piece in enumerate(pieces, 1):
        reader.now_s = float(number)
        reader.feed(piece)
        if reader.done:
            return reader.take()
    raise reader.ended()


def outcome(pieces: Iterable[bytes], head_only: bool = False) -> tuple[object, ...]:
    try:
        answer = read(pieces, head_only)
    except ExchangeError as error:
        return (error.kind,)
    return answer.status, answer.body, answer.pod, sorted(answer.headers)


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(edges)]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """Draw an answer with some bytes put in, left out or changed."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        noise = st.one_of(st.binary(max_size=4), st.sampled_from([b"\r\n", b"\n", b":", b"0", b" ", b"chunked", OK]))
        data[at : at + draw(st.integers(0, 3))] = draw(noise)
    return bytes(data)


@given(st.one_of(spoilt(), st.binary(max_size=200)), st.lists(st.integers(0, 500), max_size=8), st.booleans())
@settings(max_examples=1500, deadline=None)
def test_bytes_mean_the_same_in_whatever_pieces_they_come(data: bytes, cuts: list[int], head_only: bool) -> None:
    """And they mean a whole answer or an error from the list, nothing else."""
    whole = outcome([data] if data else [], head_only)
    assert outcome(split(data, cuts), head_only) == whole
    assert outcome((bytes([byte]) for byte in data), head_only) == whole
    assert len(whole) > 1 or whole[0] in KINDS


@given(st.sampled_from(VALID), st.integers(0, 300))
def test_no_part_of_an_answer_is_an_answer(data: bytes, cut: int) -> None:
    part = data[: cut % len(data)]
    assert outcome([part] if part else [])[0] in ("cut-off", "closed-before-answer")


@given(st.sampled_from(VALID), st.binary(min_size=1, max_size=50).filter(lambda more: more.strip(b"\r\n")))
def test_what_comes_with_an_answer_and_is_none_of_it_soils_the_connection(data: bytes, more: bytes) -> None:
    reader = AnswerReader(8192, 8192)
    read([data + more], reader=reader)
    assert reader.soiled
    kept = AnswerReader(8192, 8192)
    read([data], reader=kept)
    assert not kept.soiled


def test_a_reader_reads_one_answer_after_the_other() -> None:
    reader = AnswerReader(8192, 8192)
    assert [read([OK], reader=reader).body for _ in range(3)] == [b"ok"] * 3
    assert read([CHUNKED[:-2], CHUNKED[-2:]], reader=reader).body == b"hello!"
    assert read([OK[:-2]], head_only=True, reader=reader).body == b""
    assert read([OK], reader=reader).status == 200
    assert (reader.soiled, reader.keep) == (False, True)


def test_an_answer_tells_its_parts() -> None:
    told = b'HTTP/1.1 200 OK\r\nX-Gameday-Pod:  planner-b \r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 9\r\n\r\n{"a": [1]'
    answer = read([INTERIM, told[:30], told[30:]])
    assert (answer.pod, answer.headers[b"x-a"], answer.body) == ("planner-b", b"1, 2", b'{"a": [1]')
    assert (answer.first_byte_s, answer.last_byte_s) == (2.0, 3.0)
    with pytest.raises(ValueError, match="delimiter"):
        answer.json()
    assert read([OK.replace(b"ok", b"42")]).json() == 42
    assert read([OK.replace(b"X-Pod", b"X-Pad")]).pod == ""
    assert len(read([OK.replace(b"planner-a", b"p" * 4000)]).pod) == 253


def test_a_body_of_tiny_pieces_takes_no_more_than_its_size() -> None:
    size_bytes = 200_000
    reader = AnswerReader(8192, size_bytes)
    reader.begin(head_only=False, handed_out=False)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    tracemalloc.start()
    for _ in range(size_bytes // 2):
        reader.feed(b"2\r\nab\r\n")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 3 * size_bytes
    with pytest.raises(ExchangeError, match="body over 200000 bytes"):
        reader.feed(b"1\r\na\r\n")
