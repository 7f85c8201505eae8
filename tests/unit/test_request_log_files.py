"""Files of the request log keep every value to the microsecond, whatever cut them short and whoever wrote them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import SpecError
from harness.model.load import REQUEST_COLUMNS
from harness.request_log import RequestStream, batch_bytes, batch_from
from harness.request_log_files import frame_to_parquet, read_requests, read_stream, to_parquet
from tests.unit.request_rows import DRAWN, TIMES, Row, as_frame, batch, numbered, row, rows_drawn


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[RequestStream]:
    made = RequestStream(tmp_path / "requests.arrow")
    yield made
    made.close()


def assert_same(found: pd.DataFrame, rows: Sequence[Row]) -> None:
    """Compare to half a microsecond, and a float's own error."""
    wanted = as_frame(rows)
    assert tuple(found.columns) == REQUEST_COLUMNS
    for name in TIMES:
        assert found[name].dtype == np.float64
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-15, atol=0.500001e-6, equal_nan=True)
    for name in REQUEST_COLUMNS[3:]:
        assert found[name].tolist() == wanted[name].tolist(), name


@DRAWN
@given(rows=rows_drawn)
def test_rows_come_back_to_half_a_microsecond_on_every_way(rows: list[Row], tmp_path: Path) -> None:
    names = ("requests.arrow", "requests.parquet", "frame.parquet")
    stream_file, parquet, frame_file = (tmp_path / name for name in names)
    stream_file.unlink(missing_ok=True)
    stream = RequestStream(stream_file)
    stream.append(batch_from(batch_bytes(batch(rows))), 0, 0)
    stream.close()
    assert_same(read_stream(stream_file).rows, rows)
    to_parquet(stream_file, parquet)
    assert_same(read_requests(parquet).rows, sorted(rows, key=lambda r: (r[6], r[7])))
    frame_to_parquet(as_frame(rows), frame_file, lost=4)
    found = read_requests(frame_file)
    assert_same(found.rows, rows)
    assert (found.lost, found.damage) == (4, "")


def test_whole_microseconds_come_back_as_the_same_floats(tmp_path: Path) -> None:
    rows = [row(n, intended_s=60 + n / 1e6, start_s=60.5 + 3 * n / 1e6, latency_s=n / 1e6) for n in range(2000)]
    frame_to_parquet(as_frame(rows), tmp_path / "requests.parquet")
    found = read_requests(tmp_path / "requests.parquet").rows
    for at, name in enumerate(TIMES):
        assert found[name].tolist() == [round(one[at], 6) for one in rows]


@pytest.mark.parametrize("pods", [127, 128, 129, 40_000])
def test_any_number_of_pods_keep_their_names(pods: int, stream: RequestStream) -> None:
    rows = [row(n, pod=f"pod-{n}") for n in range(pods)] + [row(pods, pod=None), row(pods + 1, pod="pod-3")]
    for first in range(0, len(rows), 20_000):
        stream.append(batch(rows[first : first + 20_000]), 0, first)
    stream.close()
    found = read_stream(stream.path).rows["pod"]
    assert found.iloc[:pods].tolist() == [one[8] for one in rows[:pods]]
    assert found.isna().sum() == 1 and found.iloc[-1] == "pod-3"


def test_texts_are_categories_and_what_was_never_answered_has_no_latency(tmp_path: Path) -> None:
    rows = [row(0), row(1, latency_s=None, outcome="unfinished", status=0, pod=""), row(2, latency_s=float("inf"))]
    frame_to_parquet(as_frame(rows), tmp_path / "requests.parquet")
    found = read_requests(tmp_path / "requests.parquet").rows
    assert set(found.select_dtypes("category").columns) == {"outcome", "endpoint", "pod"}
    assert np.isnan(found["latency_s"]).tolist() == [False, True, True]


# Broken files --------------------------------------------------------------------------------------------------------


@DRAWN
@given(share=st.floats(0, 1))
def test_a_stream_that_is_cut_at_any_byte_keeps_its_whole_batches_and_says_so(share: float, tmp_path: Path) -> None:
    path = tmp_path / "requests.arrow"
    path.unlink(missing_ok=True)
    stream, edges = RequestStream(path), []
    for first in range(0, 60, 10):
        stream.append(numbered(first, 10), 0, first)
        edges.append(path.stat().st_size)
    stream.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * (len(whole) - 1))])
    found, kept = read_stream(path), 10 * sum(edge <= path.stat().st_size for edge in edges)
    assert found.rows["seq"].tolist() == list(range(kept))
    assert found.lost == 1
    assert found.damage.startswith(f"requests.arrow: breaks off after {kept} rows")
    to_parquet(path, tmp_path / "requests.parquet", lost=7)
    converted = read_requests(tmp_path / "requests.parquet")
    assert (len(converted.rows), converted.lost, converted.damage) == (kept, 8, found.damage)


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.request_log import RequestStream
from tests.unit.request_rows import numbered
stream = RequestStream(Path(sys.argv[1]))
for first in range(0, 1000, 50):
    stream.append(numbered(first, 50), 0, first)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_batch_that_was_appended_survives_a_sigkill(tmp_path: Path) -> None:
    path, root = tmp_path / "requests.arrow", Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=root, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    found = read_stream(path)
    assert found.rows["seq"].tolist() == list(range(1000))
    assert "its writer was killed" in found.damage


def test_a_refused_conversion_leaves_the_stream_and_no_half_file(
    stream: RequestStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.append(numbered(0, 10), 0, 0)
    stream.close()
    parquet = stream.path.with_name("requests.parquet")

    def refuse(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        to_parquet(stream.path, parquet)
    assert [path.name for path in stream.path.parent.iterdir()] == ["requests.arrow"]


def test_a_long_log_is_sorted_in_groups_and_keeps_every_row(stream: RequestStream) -> None:
    wanted = 0
    for number in range(3):
        for worker in (1, 0):
            rows = [row(seq, worker=worker) for seq in reversed(range(number * 30_000, number * 30_000 + 30_000))]
            stream.append(batch(rows), worker, number * 30_000)
            wanted += len(rows)
    stream.close()
    parquet = stream.path.with_name("requests.parquet")
    to_parquet(stream.path, parquet)
    with pq.ParquetFile(parquet) as file:
        assert file.num_row_groups > 1
    found = read_requests(parquet)
    assert (len(found.rows), found.lost) == (wanted, 0)
    assert len(found.rows.drop_duplicates(["worker", "seq"])) == wanted


# Older files ---------------------------------------------------------------------------------------------------------


@DRAWN
@given(rows=rows_drawn)
def test_files_of_older_versions_read_with_the_very_same_values(rows: list[Row], tmp_path: Path) -> None:
    wanted = as_frame(rows)
    table = pa.Table.from_pandas(wanted, preserve_index=False).replace_schema_metadata({"gameday.requests_lost": "3"})
    stream_file, parquet = tmp_path / "requests.arrow", tmp_path / "requests.parquet"
    pq.write_table(table, parquet)
    with pa.OSFile(str(stream_file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    for found, lost in ((read_requests(parquet), 3), (read_stream(stream_file), 0)):
        assert (found.lost, found.damage) == (lost, "")
        for name in REQUEST_COLUMNS:
            np.testing.assert_array_equal(found.rows[name].to_numpy(), wanted[name].to_numpy())


def test_an_older_stream_is_read_and_never_converted(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(as_frame([row()]), preserve_index=False)
    path = tmp_path / "requests.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(SpecError, match="no request log of today's form"):
        to_parquet(path, tmp_path / "requests.parquet")


@pytest.mark.parametrize("dropped", ["latency_s", "latency_us"])
def test_a_file_that_lacks_a_column_is_one_clear_error(dropped: str, tmp_path: Path) -> None:
    old = pa.Table.from_pandas(as_frame([row()]), preserve_index=False)
    table = old if dropped in old.column_names else pa.Table.from_batches([batch([row()])])
    pq.write_table(table.drop_columns([dropped]), tmp_path / "requests.parquet")
    with pytest.raises(SpecError, match=f"{dropped}: there is no such column"):
        read_requests(tmp_path / "requests.parquet")


def test_an_empty_log_is_whole(stream: RequestStream) -> None:
    stream.close()
    assert (len(read_stream(stream.path).rows), read_stream(stream.path).lost) == (0, 0)
    parquet = stream.path.with_name("requests.parquet")
    to_parquet(stream.path, parquet)
    found = read_requests(parquet)
    assert (tuple(found.rows.columns), len(found.rows), found.lost) == (REQUEST_COLUMNS, 0, 0)
