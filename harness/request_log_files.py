"""Files of the request log: a stream becomes Parquet without ever being held whole, and both read back as a frame.

A file of the log is never trusted: what is torn is cut and named, what is missing is counted. Must know no run folder:
paths are handed in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.model.errors import SpecError
from harness.model.load import REQUEST_COLUMNS
from harness.model.record import no_requests
from harness.request_log import EOS, FIRST_KEY, LOG_SCHEMA, MICROS_PER_S, WORKER_KEY, batch_of

ROWS_PER_GROUP = 2**16
"""Rows that a conversion holds at once: they and what sorts them take 30 MB, the libraries 120."""

TEXT_COLUMNS = ("outcome", "endpoint", "worker", "pod")
"""Read as codes into a dictionary, since few of them differ; workers were texts once."""

_NUMBERS = ("intended_us", "lag_us", "latency_us", "seq")
"""Columns that hardly repeat a value: their differences are small, so these are what is stored."""

LOST_KEY, DAMAGE_KEY = b"gameday.requests_lost", b"gameday.requests_damage"
_REMEDY = "the run folder is damaged"
_UNTHREADED = pa.ipc.IpcReadOptions(use_threads=False)  # batches are small: threads cost more than they save


@dataclass(frozen=True)
class StoredRequests:
    """A request log as it was read.

    Attributes:
        rows: Columns `REQUEST_COLUMNS`; texts are categories. The order is that of no clock.
        lost: Rows known to be lost, at least.
        damage: What is wrong with the file, in one sentence, or empty.
    """

    rows: pd.DataFrame
    lost: int = 0
    damage: str = ""


# The stream ----------------------------------------------------------------------------------------------------------


class StreamReader:
    """Reads a stream batch by batch, as far as it goes. Iterate once; then the rest is known.

    Attributes:
        rows: Rows read.
        damage: What is wrong with it, or empty.
    """

    def __init__(self, path: Path) -> None:
        self.rows = 0
        self.damage = ""
        self._path = path
        self._rows_of: dict[bytes, tuple[int, int]] = {}

    @property
    def lost(self) -> int:
        """Rows that are missing between those that were read, and one more for a log that breaks off."""
        return sum(end - rows for end, rows in self._rows_of.values()) + bool(self.damage)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches before the tear."""
        try:
            with pa.OSFile(str(self._path)) as source, pa.ipc.open_stream(source, options=_UNTHREADED) as reader:
                good_bytes = source.tell()
                for batch, metadata in _batches(reader):
                    batch.validate(full=True)
                    self._count(batch.num_rows, metadata)
                    good_bytes = source.tell()
                    yield batch
                if source.size() - good_bytes != len(EOS):
                    self._tear("its writer was killed")
        except (pa.ArrowException, OSError, ValueError) as error:
            self._tear((str(error).splitlines() or [type(error).__name__])[0])

    def _count(self, rows: int, metadata: Mapping[bytes, bytes]) -> None:
        self.rows += rows
        if WORKER_KEY in metadata:
            end, before = self._rows_of.get(metadata[WORKER_KEY], (0, 0))
            self._rows_of[metadata[WORKER_KEY]] = (max(end, int(metadata[FIRST_KEY]) + rows), before + rows)

    def _tear(self, why: str) -> None:
        self.damage = f"{self._path.name}: breaks off after {self.rows} rows, what followed is lost ({why})"


def _batches(reader: Any) -> Iterator[tuple[pa.RecordBatch, Mapping[bytes, bytes]]]:
    while True:
        try:
            batch, metadata = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            return
        yield batch, dict(metadata or {})


def read_stream(path: Path) -> StoredRequests:
    """Read a stream, also one whose writer was killed, and one of older versions (float columns).

    Raises:
        SpecError: It is a stream of something else.
    """
    reader = StreamReader(path)
    batches = list(reader)
    if not batches:
        return StoredRequests(no_requests(), reader.lost, reader.damage)
    if _is_compact(path, batches[0].schema.names):
        return StoredRequests(_frame(reader.rows, batches), reader.lost, reader.damage)
    return StoredRequests(_old_frame(pa.Table.from_batches(batches).column), reader.lost, reader.damage)


# Parquet -------------------------------------------------------------------------------------------------------------


def to_parquet(stream: Path, parquet: Path, lost: int = 0) -> None:
    """Write the rows of a stream as Parquet, whole or not at all; a tear is told in the file's metadata.

    Args:
        stream: `requests.arrow`, closed.
        parquet: What to write.
        lost: Rows known to be lost, by whoever collected them.

    Raises:
        OSError: The disk refused; the stream is still there then.
        SpecError: It is a stream of something else.
    """
    reader = StreamReader(stream)
    with _new_parquet(parquet) as writer:
        for table in _row_groups(reader, stream):
            writer.write_table(table.sort_by([("worker", "ascending"), ("seq", "ascending")]))
        torn = bool(reader.damage)
        writer.add_key_value_metadata(_told(max(lost, reader.lost - torn) + torn, reader.damage))


def frame_to_parquet(rows: pd.DataFrame, parquet: Path, lost: int = 0) -> None:
    """Write rows that are in memory (columns `REQUEST_COLUMNS`) as Parquet, whole or not at all and in their order.

    Raises:
        OSError: The disk refused.
        PortError: A value does not fit its column.
    """
    batch = batch_of([rows[name] for name in REQUEST_COLUMNS])
    with _new_parquet(parquet) as writer:
        writer.write_table(pa.Table.from_batches([batch]), row_group_size=ROWS_PER_GROUP)
        writer.add_key_value_metadata(_told(lost, ""))


def _told(lost: int, damage: str) -> dict[bytes, bytes]:
    return {LOST_KEY: str(lost).encode()} | ({DAMAGE_KEY: damage.encode()} if damage else {})


def _row_groups(batches: Iterable[pa.RecordBatch], stream: Path) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        if not batch.schema.equals(LOG_SCHEMA):
            raise SpecError(str(stream), "", "it is no request log of today's form", "read it, do not convert it")
        held.append(batch)
        rows += batch.num_rows
        if rows >= ROWS_PER_GROUP:
            yield _table(held)
            held, rows = [], 0
    if held:
        yield _table(held)


def _table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()


@contextmanager
def _new_parquet(path: Path) -> Iterator[pq.ParquetWriter]:
    encodings = dict.fromkeys(_NUMBERS, "DELTA_BINARY_PACKED")
    repeating = [name for name in LOG_SCHEMA.names if name not in encodings]
    with _new_file(path) as file, pq.ParquetWriter(
        file, LOG_SCHEMA, compression="zstd", use_dictionary=repeating, column_encoding=encodings
    ) as writer:  # fmt: skip
        yield writer


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary neighbour that takes the place of ``path`` once it is written and synced."""
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with neighbour.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbour, path)
    finally:
        neighbour.unlink(missing_ok=True)


def read_requests(path: Path) -> StoredRequests:
    """Read a Parquet log, also one of older versions.

    Raises:
        SpecError: It is no Parquet, or lacks a column.
    """
    try:
        with pq.ParquetFile(path, read_dictionary=list(TEXT_COLUMNS), pre_buffer=False) as file:
            metadata = file.metadata.metadata or {}
            if _is_compact(path, file.schema_arrow.names):
                rows = _frame(file.metadata.num_rows, file.iter_batches(ROWS_PER_GROUP, use_threads=False))
            else:  # column by column: a table of millions of rows would be held twice
                rows = _old_frame(lambda name: file.read([name], use_threads=False).column(0))
    except (pa.ArrowException, OSError) as error:
        raise SpecError(str(path), "", f"not Parquet: {error}", _REMEDY) from None
    pa.default_memory_pool().release_unused()
    lost = metadata.get(LOST_KEY, b"0")
    damage = metadata.get(DAMAGE_KEY, b"").decode(errors="replace")
    return StoredRequests(rows, int(lost) if lost.isdigit() else 1, damage)


# Columns as they are judged ------------------------------------------------------------------------------------------


def _is_compact(path: Path, names: Sequence[str]) -> bool:
    """Tell the compact form from that of old, whose columns are `REQUEST_COLUMNS` themselves."""
    compact = LOG_SCHEMA.names[0] in names
    missing = [name for name in (LOG_SCHEMA.names if compact else REQUEST_COLUMNS) if name not in names]
    if missing:
        raise SpecError(str(path), missing[0], "there is no such column", _REMEDY)
    return compact


def _old_frame(column: Callable[[str], pa.ChunkedArray]) -> pd.DataFrame:
    return pd.DataFrame({name: column(name).to_pandas() for name in REQUEST_COLUMNS}, copy=False)


def _frame(rows: int, batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """Return the rows of compact batches with the columns and units of `REQUEST_COLUMNS`.

    Filled batch by batch, in types as narrow as is safe: to touch fresh memory may take longer than to decode the rows.
    """
    floats = {name: np.empty(rows, np.float64) for name in REQUEST_COLUMNS[:3]}
    kinds = {"status": np.int32, "worker": np.int32, "seq": np.int64}
    numbers: dict[str, npt.NDArray[Any]] = {name: np.empty(rows, kind) for name, kind in kinds.items()}
    texts = {name: _Texts(rows) for name in ("outcome", "endpoint", "pod")}
    done = 0
    for batch in batches:
        part = slice(done, done + batch.num_rows)
        done = part.stop
        _fill_times(batch, [values[part] for values in floats.values()])
        for name, values in numbers.items():
            values[part] = batch.column(name).to_numpy()
        for name, codes in texts.items():
            codes.fill(part, batch.column(name))
    found = {**floats, **numbers, **{name: codes.categories() for name, codes in texts.items()}}
    return pd.DataFrame(found, columns=list(REQUEST_COLUMNS), copy=False)


def _fill_times(batch: pa.RecordBatch, into: Sequence[npt.NDArray[np.float64]]) -> None:
    """Write intended start, start and latency in seconds; NaN where there is none."""
    intended_us, lag_us, latency_us = (batch.column(at).to_numpy(zero_copy_only=False) for at in range(3))
    for values, micros in zip(into, (intended_us, intended_us + lag_us, latency_us), strict=True):
        np.divide(micros, MICROS_PER_S, out=values)


class _Texts:
    """A column of texts as codes into one dictionary, though every batch brings its own."""

    def __init__(self, rows: int) -> None:
        self._codes: npt.NDArray[Any] = np.empty(rows, np.int8)
        self._places: dict[str, int] = {}

    def fill(self, part: slice, column: pa.DictionaryArray) -> None:
        places = [self._places.setdefault(text, len(self._places)) for text in column.dictionary.to_pylist()]
        self._codes = self._codes.astype(np.min_scalar_type(-len(self._places) - 1), copy=False)  # wider where it must
        own = np.array([*places, -1], self._codes.dtype)  # the last one stands for null
        self._codes[part] = own[column.indices.fill_null(len(places)).to_numpy(zero_copy_only=False)]

    def categories(self) -> pd.Categorical[str]:
        return pd.Categorical.from_codes(self._codes, categories=pd.Index(list(self._places), dtype="str"))
