"""The request log's file: appends batches of rows as an Arrow IPC stream that survives a SIGKILL, and counts losses.

Each batch is handed to the kernel before the next is read. Knows nothing of Locust nor of processes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from harness.model.load import REQUEST_COLUMNS

_FLOAT, _WHOLE, _TEXT = pa.float64(), pa.int64(), pa.string()
SCHEMA = pa.schema(
    list(zip(REQUEST_COLUMNS, (_FLOAT, _FLOAT, _FLOAT, _WHOLE, _TEXT, _TEXT, _WHOLE, _WHOLE, _TEXT), strict=True))
)
STREAM_FILE = "requests.arrow"


class RequestStream:
    """The request log of a run, while it is written.

    Attributes:
        received: Rows that are in the file.
        announced: Rows that the generator has sent or has requests open for, as far as it told.
        problem: Why rows could not be stored, or empty.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / STREAM_FILE
        self._lock = threading.Lock()
        self.received = 0
        self.announced = 0
        self.problem = ""
        self._sink: Any = self._path.open("xb", buffering=0)
        self._writer = pa.ipc.new_stream(self._sink, SCHEMA)

    def append(self, rows: Sequence[Sequence[Any]]) -> None:
        """Store a batch; rows that the disk refuses are lost, and counted as such."""
        columns = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), SCHEMA.types, strict=True)]
        with self._lock:
            try:
                self._writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
                self.received += len(rows)
            except (OSError, pa.ArrowException, ValueError) as error:
                self.problem = self.problem or f"{self._path.name}: {error}"

    def announce(self, total: int) -> None:
        """Note how many rows there must be in all, at least."""
        self.announced = max(self.announced, total)

    @property
    def lost(self) -> int:
        """Rows known to be lost."""
        return max(0, self.announced - self.received)

    def close(self) -> None:
        """End the stream. Idempotent."""
        with self._lock:
            if self._sink.closed:
                return
            try:
                self._writer.close()
            except (OSError, pa.ArrowException) as error:
                self.problem = self.problem or f"{self._path.name}: {error}"
            finally:
                self._sink.close()

    def read(self) -> pd.DataFrame:
        """Return all rows, by the order of their start (`REQUEST_COLUMNS`). After `close`."""
        with pa.OSFile(str(self._path)) as source, pa.ipc.open_stream(source) as reader:
            table = reader.read_all()
        rows: pd.DataFrame = table.to_pandas()
        return rows.sort_values(["worker", "seq"], ignore_index=True)
