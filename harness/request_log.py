"""The request log in its compact form: what a batch of rows is on the wire and on disk, and the stream that it joins.

Times are whole microseconds, that is the log's resolution. Workers, drivers and the store share this file, so it
must know no process, no Locust and no run folder's other files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.model.errors import PortError
from harness.model.load import REQUEST_COLUMNS

MICROS_PER_S = 1_000_000
TIME_MAX_S = 1e9
"""No run lasts so long (32 years): a time beyond it is a mistake, and its microseconds would not fit a float."""

_TEXT = pa.dictionary(pa.int32(), pa.string())
LOG_SCHEMA = pa.schema(
    {
        "intended_us": pa.int64(),
        "lag_us": pa.int64(),
        "latency_us": pa.int64(),
        "status": pa.int16(),
        "outcome": _TEXT,
        "endpoint": _TEXT,
        "worker": pa.int16(),
        "seq": pa.int64(),
        "pod": _TEXT,
    }
)
"""Columns in the order of `REQUEST_COLUMNS`; a start is kept as its lag behind the intended one. A time is null where
the row has none, so a latency of an answer that never came."""

WORKER_KEY, FIRST_KEY = b"gameday.worker", b"gameday.first"
"""Metadata of a batch in the stream: whose it is, and the number of its first row in that worker's own count."""


def _stream_bytes(
    batches: Sequence[pa.RecordBatch], compression: str | None = None, metadata: dict[bytes, bytes] | None = None
) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with pa.ipc.new_stream(sink, LOG_SCHEMA, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch, custom_metadata=metadata)
    found: bytes = sink.getvalue().to_pybytes()
    return found


_EMPTY = _stream_bytes(())
_HEADER, EOS = _EMPTY[:-8], _EMPTY[-8:]
pa.array([])  # imports pandas: better now than at a worker's first batch, when it holds up the load


# Batches -------------------------------------------------------------------------------------------------------------


def batch_of(columns: Sequence[Any]) -> pa.RecordBatch:
    """Build a batch.

    Args:
        columns: One sequence a column, in the order of `REQUEST_COLUMNS` and with its units: times are seconds, and
            None or NaN where there is none.

    Raises:
        PortError: A value does not fit its column; names the column.
    """
    if len(columns) != len(REQUEST_COLUMNS):
        raise _misfit(f"{len(columns)} columns instead of {len(REQUEST_COLUMNS)}")
    given = dict(zip(REQUEST_COLUMNS, columns, strict=True))
    intended_us, start_us, latency_us = (_micros(given, name) for name in ("intended_s", "start_s", "latency_s"))
    try:
        times = [_times(one) for one in (intended_us, start_us - intended_us, latency_us)]
        rest = [_column(given, kind) for kind in list(LOG_SCHEMA)[len(times) :]]
        return pa.record_batch([*times, *rest], schema=LOG_SCHEMA)
    except (ValueError, pa.ArrowException) as error:
        raise _misfit(str(error)) from error


def _micros(given: dict[str, Any], name: str) -> npt.NDArray[np.float64]:
    try:
        found = np.asarray(given[name], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _misfit(f"{name}: {error}") from error
    if np.any(np.abs(found) > TIME_MAX_S, where=np.isfinite(found)):
        raise _misfit(f"{name}: a time is beyond {TIME_MAX_S:g} s")
    return np.where(np.isfinite(found), np.rint(found * MICROS_PER_S), np.nan)


def _times(micros: npt.NDArray[np.float64]) -> pa.Array:
    unknown = np.isnan(micros)
    return pa.array(np.where(unknown, 0, micros).astype(np.int64), mask=unknown)


def _column(given: dict[str, Any], kind: pa.Field) -> pa.Array:
    try:
        if pa.types.is_dictionary(kind.type):
            return pa.array(given[kind.name], pa.string()).dictionary_encode()
        found = pa.array(given[kind.name], kind.type)
    except (TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise _misfit(f"{kind.name}: {error}") from error
    if found.null_count:
        raise _misfit(f"{kind.name}: a value is missing")
    return found


def _misfit(problem: str) -> PortError:
    return PortError("load", "log requests", problem, "rows have the columns and units of REQUEST_COLUMNS")


def batch_bytes(batch: pa.RecordBatch) -> bytes:
    """Return a batch as bytes that say for themselves what they are."""
    return _stream_bytes([batch])


def batch_from(data: bytes) -> pa.RecordBatch:
    """Return the batch that `batch_bytes` made, checked to its last offset: the bytes may come from anywhere.

    Raises:
        PortError: They are torn, damaged or something else.
    """
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
            if not reader.schema.equals(LOG_SCHEMA):
                raise _unreadable("they are no request log")
            batches = list(reader)
        if len(batches) != 1 or not data.endswith(EOS):
            raise _unreadable(f"there are {len(batches)} whole batches in them instead of one")
        batches[0].validate(full=True)
        if any(batches[0].column(name).null_count for name in ("status", "worker", "seq")):
            raise _unreadable("a status or a number is missing")
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:
        raise _unreadable(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    return batches[0]


def _unreadable(problem: str) -> PortError:
    remedy = "workers and driver must be of one version; see the load generator's log"
    return PortError("load", "read a batch of rows", problem, remedy)


# The stream ----------------------------------------------------------------------------------------------------------


@dataclass
class _Tally:
    """Which rows of one worker are accounted for; its rows are numbered from 0."""

    received: int = 0
    announced: int = 0
    end: int = 0
    gaps: list[tuple[int, int]] = field(default_factory=list)

    def take(self, first: int, count: int) -> list[tuple[int, int]]:
        """Return which of the rows ``[first, first + count)`` are new; from now on they are accounted for."""
        last = first + count
        new = [(max(a, first), min(b, last)) for a, b in self.gaps if a < last and first < b]
        self.gaps = [piece for gap in self.gaps for piece in _without(gap, (first, last))]
        if first > self.end:
            self.gaps.append((self.end, first))
        if last > self.end:
            new.append((max(first, self.end), last))
            self.end = last
        return new

    @property
    def whole_until(self) -> int:
        return self.gaps[0][0] if self.gaps else self.end

    @property
    def lost(self) -> int:
        return max(self.announced, self.end) - self.received


def _without(gap: tuple[int, int], taken: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Return what is left of a stretch of rows."""
    for a, b in ((gap[0], min(gap[1], taken[0])), (max(gap[0], taken[1]), gap[1])):
        if a < b:
            yield a, b


class RequestStream:
    """The request log of a run while it is written: an Arrow IPC stream that a SIGKILL can only cut short.

    Each batch is in the kernel's hands before `append` returns. What the disk refuses is lost, and counted as such: it
    never ends the run.

    Args:
        path: The file; it must not exist.

    Attributes:
        path: The file.
        problem: Why rows could not be stored, or empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._lock = threading.Lock()
        self._tallies: dict[int, _Tally] = {}
        self._file = path.open("xb", buffering=0)
        self._good_bytes = 0
        self._write(_HEADER)

    def append(self, batch: pa.RecordBatch, worker: int, first: int) -> int:
        """Store a batch, but of rows that came twice only one.

        Args:
            batch: Rows as `batch_of` makes them.
            worker: Who sends it.
            first: The number of its first row in that worker's own count, which begins with 0.

        Returns:
            What may be acknowledged: up to this number no row of the worker is missing.
        """
        with self._lock:
            tally = self._tallies.setdefault(worker, _Tally())
            for begin, end in tally.take(first, batch.num_rows):
                metadata = {WORKER_KEY: str(worker).encode(), FIRST_KEY: str(begin).encode()}
                piece = batch.slice(begin - first, end - begin)
                if self._write(_stream_bytes([piece], "zstd", metadata)[len(_HEADER) : -len(EOS)]):
                    tally.received += end - begin
            return tally.whole_until

    def announce(self, total: int, worker: int = 0) -> None:
        """Note how many rows of a worker there must be in all, at least: sent, or requests still open."""
        with self._lock:
            tally = self._tallies.setdefault(worker, _Tally())
            tally.announced = max(tally.announced, total)

    @property
    def received(self) -> int:
        """Rows that are in the file."""
        with self._lock:
            return sum(tally.received for tally in self._tallies.values())

    @property
    def lost(self) -> int:
        """Rows known to be lost: announced, skipped in a worker's count, or refused by the disk."""
        with self._lock:
            return sum(tally.lost for tally in self._tallies.values())

    @property
    def lost_by_worker(self) -> dict[int, int]:
        """Rows known to be lost, by worker; workers without a loss are left out."""
        with self._lock:
            return {worker: tally.lost for worker, tally in sorted(self._tallies.items()) if tally.lost}

    def close(self) -> None:
        """End the stream. Idempotent, never raises."""
        with self._lock:
            if self._file.closed:
                return
            self._write(EOS)
            self._file.close()

    def _write(self, data: bytes) -> bool:
        """Write whole messages or none: what follows a torn one could never be read again."""
        if self._file.closed:
            self.problem = self.problem or f"{self.path.name}: rows came after its end"
            return False
        try:
            self._write_whole(data if self._good_bytes or data is _HEADER else _HEADER + data)
        except OSError as error:
            self.problem = self.problem or f"{self.path.name}: {error.strerror or error}"
            return False
        return True

    def _write_whole(self, data: bytes) -> None:
        if os.fstat(self._file.fileno()).st_size != self._good_bytes:  # a write was refused half-way
            self._file.truncate(self._good_bytes)
            self._file.seek(self._good_bytes)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self._good_bytes += len(data)
