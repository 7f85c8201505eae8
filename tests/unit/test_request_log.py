"""The request log on its way: batches from anywhere, and a stream that takes no row twice and loses none silently."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import PortError
from harness.request_log import EOS, LOG_SCHEMA, TIME_MAX_S, RequestStream, batch_bytes, batch_from, batch_of
from harness.request_log_files import read_stream
from tests.unit.request_rows import DRAWN, batch, numbered, row


def stored(stream: RequestStream) -> list[int]:
    """Close a stream and return the numbers of its rows, sorted."""
    stream.close()
    return sorted(int(seq) for seq in read_stream(stream.path).rows["seq"])


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[RequestStream]:
    made = RequestStream(tmp_path / "requests.arrow")
    yield made
    made.close()


# Batches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"status": None}, "status: a value is missing"), ({"status": "200"}, "status"), ({"status": 70_000}, "status"),
        ({"worker": "w1"}, "worker"), ({"seq": 2**70}, "seq"), ({"endpoint": 7}, "endpoint"),
        ({"intended_s": "soon"}, "intended_s"), ({"start_s": TIME_MAX_S * 2}, "start_s: a time is beyond"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named_by_its_column(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(PortError, match=named):
        batch([row(), row(1, **changes)])


def test_columns_of_other_number_or_length_are_refused() -> None:
    with pytest.raises(PortError, match="8 columns instead of 9"):
        batch_of([[1]] * 8)
    with pytest.raises(PortError, match="log requests"):
        batch_of([*([1.0, 2.0],) * 3, *([[1]] * 6)])


@DRAWN
@given(data=st.data())
def test_bytes_that_are_torn_or_changed_are_a_batch_or_one_clear_error(data: st.DataObject) -> None:
    whole = bytearray(batch_bytes(numbered(0, 5)))
    if data.draw(st.booleans(), "torn"):
        cut = bytes(whole[: data.draw(st.integers(0, len(whole) - 1), "length")])
        with pytest.raises(PortError, match="read a batch of rows"):
            batch_from(cut)
        return
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4), "places"):
        whole[place] = data.draw(st.integers(0, 255), "byte")
    try:
        found = batch_from(bytes(whole))
    except PortError:
        return
    assert found.schema.equals(LOG_SCHEMA)
    assert found.validate(full=True) is None


def test_a_batch_of_something_else_is_refused() -> None:
    sink, other = pa.BufferOutputStream(), pa.table({"x": [1]})
    with pa.ipc.new_stream(sink, other.schema) as writer:
        writer.write_table(other)
    for data in (sink.getvalue().to_pybytes(), b"", b"{}", batch_bytes(numbered(0, 1)) * 2, EOS):
        with pytest.raises(PortError, match="workers and driver must be of one version"):
            batch_from(data[:-4] if data.count(EOS) > 1 else data)


# Numbers -------------------------------------------------------------------------------------------------------------


def test_a_batch_that_comes_twice_is_stored_once(stream: RequestStream) -> None:
    for _ in range(2):
        assert stream.append(numbered(0, 10), 0, 0) == 10
    assert stream.append(numbered(5, 10), 0, 5) == 15
    assert (stream.received, stream.lost) == (15, 0)
    assert stored(stream) == list(range(15))


def test_a_gap_is_a_loss_until_it_is_filled(stream: RequestStream) -> None:
    assert stream.append(numbered(0, 10), 0, 0) == 10
    assert stream.append(numbered(30, 10), 0, 30) == 10
    assert (stream.received, stream.lost, stream.lost_by_worker) == (20, 20, {0: 20})
    assert stream.append(numbered(5, 15), 0, 5) == 20
    assert stream.lost == 10
    assert stream.append(numbered(0, 40), 0, 0) == 40
    assert stream.lost == 0
    assert stored(stream) == list(range(40))


def test_workers_have_numbers_of_their_own_and_announcements_count(stream: RequestStream) -> None:
    stream.append(numbered(0, 10, worker=1), 1, 0)
    stream.append(numbered(0, 5, worker=2), 2, 0)
    stream.announce(12, 1)
    stream.announce(3, 2)
    stream.announce(4, 3)
    assert (stream.received, stream.lost_by_worker) == (15, {1: 2, 3: 4})


@DRAWN
@given(
    sent=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=25
    )
)  # fmt: skip
def test_any_order_of_batches_stores_each_row_once_and_counts_the_rest(
    sent: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    path = tmp_path / "requests.arrow"
    path.unlink(missing_ok=True)
    stream = RequestStream(path)
    wanted: set[tuple[int, int]] = set()
    ends: dict[int, int] = {}
    for worker, first, count in sent:
        wanted |= {(worker, seq) for seq in range(first, first + count)}
        ends[worker] = max(ends.get(worker, 0), first + count)
        missing = [seq for seq in range(ends[worker]) if (worker, seq) not in wanted]
        assert stream.append(numbered(first, count, worker), worker, first) == min(missing, default=ends[worker])
    stream.close()
    found = read_stream(path)
    assert sorted(zip(found.rows["worker"], found.rows["seq"], strict=True)) == sorted(wanted)
    assert (stream.received, stream.lost) == (len(wanted), sum(ends.values()) - len(wanted))
    assert found.lost == stream.lost


# A full disk ---------------------------------------------------------------------------------------------------------


class FullDisk:
    """A file that takes only so many bytes more, unless there is room again."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.room_bytes = sys.maxsize

    def write(self, data: memoryview) -> int:
        if self.room_bytes <= 0:
            raise OSError(28, os.strerror(28))
        taken: int = self._file.write(data[: self.room_bytes])
        self.room_bytes -= taken
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("room_bytes", [0, 1, 700])
def test_what_a_full_disk_refuses_is_lost_and_counted_and_what_comes_later_is_stored(
    room_bytes: int, stream: RequestStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(stream._file)
    monkeypatch.setattr(stream, "_file", disk)
    stream.append(numbered(0, 10), 0, 0)
    disk.room_bytes = room_bytes
    stream.append(numbered(10, 10), 0, 10)
    stream.append(numbered(20, 10), 0, 20)
    disk.room_bytes = sys.maxsize
    assert stream.append(numbered(30, 10), 0, 30) == 40, "what is lost for good need not be sent again"
    assert (stream.received, stream.lost) == (20, 20)
    assert "No space left on device" in stream.problem
    assert stored(stream) == [*range(10), *range(30, 40)]
    assert read_stream(stream.path).lost == 20


def test_a_disk_that_is_full_from_the_start_still_gets_a_readable_file(
    stream: RequestStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream._file.truncate(5)
    monkeypatch.setattr(stream, "_good_bytes", 0)
    stream.append(numbered(0, 10), 0, 0)
    assert stored(stream) == list(range(10))


def test_rows_after_the_end_are_lost_and_no_error(stream: RequestStream) -> None:
    stream.close()
    stream.append(numbered(0, 10), 0, 0)
    stream.close()
    assert (stream.received, stream.lost) == (0, 10)
    assert "after its end" in stream.problem
