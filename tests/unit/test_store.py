"""The store writes a record that reads back the same, also when the run, the disk or the file breaks."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from harness import store
from harness.model.errors import SpecError
from harness.model.record import Ending
from harness.model.timeline import Event
from harness.request_log import RequestStream, batch_of
from harness.store import RunStore, StoreError
from tests.unit import stored_folders
from tests.unit import stored_runs as runs


def whole_run(runs_dir: Path, **changes: Any) -> Path:
    """Write a whole record the way the conductor does."""
    return stored_folders.write(runs.record(**changes), runs_dir)


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    wanted, got = runs.record(requests_lost=3), store.load_record(whole_run(tmp_path, requests_lost=3))
    assert got.header == wanted.header
    assert got.experiment == wanted.experiment
    assert got.timeline == wanted.timeline
    assert got.requests_lost == 3
    assert (got.fingerprint_before, got.undo) == (wanted.fingerprint_before, wanted.undo)
    texts = got.requests.select_dtypes("category").columns
    assert set(texts) == {"outcome", "endpoint", "pod"}
    pd.testing.assert_frame_equal(got.requests.astype(wanted.requests.dtypes), wanted.requests, atol=1e-6)
    for name, one in wanted.harvest.signals.items():
        read = got.harvest.signals[name]
        assert (read.signal, read.step_s, read.series[0].labels) == (one.signal, one.step_s, one.series[0].labels)
        np.testing.assert_array_equal(read.series[0].values, one.series[0].values)


def test_samples_that_are_nan_stay_nan_and_series_without_samples_stay(tmp_path: Path) -> None:
    harvest = runs.harvest()
    depth = harvest.signals["queue_depth"]
    odd = replace(depth.series[0], values=np.full_like(depth.series[0].values, np.nan))
    empty = replace(depth.series[0], labels={"job": "gone"}, t_s=np.array([]), values=np.array([]))
    signals = {"queue_depth": replace(depth, series=(odd, empty), warnings=("partial",), error="")}
    got = store.load_record(whole_run(tmp_path, harvest=replace(harvest, signals=signals))).harvest.signals[
        "queue_depth"
    ]
    assert np.isnan(got.series[0].values).all() and len(got.series[0].values)
    assert len(got.series[1].values) == 0
    assert got.warnings == ("partial",)


def test_a_run_that_was_killed_reads_as_crashed_with_its_torn_line_left_out(tmp_path: Path) -> None:
    stored = RunStore.create(tmp_path, runs.header(ending=None), runs.experiment(), environ={})
    for event in runs.timeline(60.0).events:
        stored.append(event)
    with (stored.run_dir / "events.jsonl").open("ab") as journal:
        journal.write(b'{"seq": 999, "t_s": 1')
    got = store.load_record(stored.run_dir)
    assert got.header.ending is Ending.CRASHED
    assert "torn" in got.header.reason
    assert got.timeline.events[:-1] == runs.timeline(60.0).events
    assert "torn" in got.timeline.events[-1].detail["message"]
    assert got.requests.empty and got.harvest.signals == {}
    stored.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.store import RunStore
from tests.unit import stored_folders
from tests.unit import stored_runs as runs
stored = RunStore.create(Path(sys.argv[1]), runs.header(ending=None), runs.experiment())
for event in runs.timeline().events[:200]:
    stored.append(event)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_event_that_was_appended_survives_a_sigkill(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    got = store.load_record(store.find_run(tmp_path, "latest"))
    assert got.header.ending is Ending.CRASHED
    assert got.timeline.events == runs.timeline().events[:200]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda lines: [*lines[:4], b"{broken", *lines[5:]], "lines that cannot be read: 5"),
        (lambda lines: [*lines[:4], *lines[5:]], "holes before 6"),
    ],
)
def test_a_damaged_journal_never_counts_as_a_completed_run(tmp_path: Path, damage: Any, told: str) -> None:
    run_dir = whole_run(tmp_path)
    journal = run_dir / "events.jsonl"
    journal.write_bytes(b"\n".join(damage(journal.read_bytes().split(b"\n"))))
    got = store.load_record(run_dir)
    assert got.header.ending is Ending.CRASHED
    assert told in got.header.reason


def write_stream(path: Path, frame: pd.DataFrame) -> None:
    """Write a request log as the collector of record version 2 did, in batches of 100 rows."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)


def test_a_request_stream_without_its_parquet_is_read(tmp_path: Path) -> None:
    run_dir = whole_run(tmp_path)
    (run_dir / "requests.parquet").unlink()
    write_stream(run_dir / "requests.arrow", runs.requests())
    got = store.load_record(run_dir)
    assert (len(got.requests), got.requests_lost) == (len(runs.requests()), 0)


def test_a_torn_request_stream_keeps_the_rows_before_the_tear_and_tells_the_loss(tmp_path: Path) -> None:
    run_dir = whole_run(tmp_path)
    (run_dir / "requests.parquet").unlink()
    stream = run_dir / "requests.arrow"
    write_stream(stream, runs.requests())
    stream.write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])
    got = store.load_record(run_dir)
    assert 0 < len(got.requests) < len(runs.requests())
    assert len(got.requests) % 100 == 0
    assert got.requests_lost == 1
    assert "breaks off" in got.timeline.events[-1].detail["message"]


def test_an_empty_stream_file_is_a_loss_and_no_crash(tmp_path: Path) -> None:
    run_dir = whole_run(tmp_path)
    (run_dir / "requests.parquet").unlink()
    (run_dir / "requests.arrow").write_bytes(b"")
    got = store.load_record(run_dir)
    assert got.requests.empty and got.requests_lost == 1


def test_saving_the_log_drops_the_stream(tmp_path: Path) -> None:
    stored = RunStore.create(tmp_path, runs.header(), runs.experiment(), environ={})
    write_stream(stored.run_dir / "requests.arrow", runs.requests())
    stored.save_requests(runs.requests())
    assert not (stored.run_dir / "requests.arrow").exists()
    stored.close()


def stream_of(path: Path, frame: pd.DataFrame) -> RequestStream:
    """Write a request log as the driver does, in batches of 100 rows, and leave it open."""
    stream = RequestStream(path)
    for first in range(0, len(frame), 100):
        part = frame.iloc[first : first + 100]
        stream.append(batch_of([part[name] for name in part]), 1, first)
    return stream


def test_the_log_is_saved_from_its_stream_and_the_stream_dropped(tmp_path: Path) -> None:
    stored = RunStore.create(tmp_path, runs.header(), runs.experiment(), environ={})
    stream = stream_of(stored.run_dir / "requests.arrow", runs.requests())
    stream.close()
    stored.save_requests(stream.path, 2)
    stored.close()
    assert not stream.path.exists()
    got, wanted = store.load_record(stored.run_dir), runs.requests()
    assert got.requests_lost == 2
    for name in wanted:
        found = got.requests[name].astype(wanted[name].dtype)
        pd.testing.assert_series_equal(found, wanted[name], atol=1e-6, check_dtype=False)


def test_a_killed_conductor_leaves_its_rows_and_tells_that_the_log_breaks_off(tmp_path: Path) -> None:
    stored = RunStore.create(tmp_path, runs.header(ending=None), runs.experiment(), environ={})
    stream = stream_of(stored.run_dir / "requests.arrow", runs.requests())
    got = store.load_record(stored.run_dir)
    assert (len(got.requests), got.requests_lost) == (len(runs.requests()), 1)
    assert "breaks off" in got.timeline.events[-1].detail["message"]
    stream.path.write_bytes(stream.path.read_bytes()[:-9])
    torn = store.load_record(stored.run_dir)
    assert (len(torn.requests), torn.requests_lost) == ((len(runs.requests()) - 1) // 100 * 100, 1)
    stream.close()
    stored.close()


def test_a_disk_that_refuses_the_log_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = RunStore.create(tmp_path, runs.header(), runs.experiment(), environ={})

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, pytest.raises(StoreError, match=r"requests\.parquet.*free some space"):
        patched.setattr(os, "fsync", refuse)
        stored.save_requests(runs.requests())
    assert not list(stored.run_dir.glob("*requests.parquet*"))
    stored.close()


def test_a_newer_or_foreign_record_is_refused_by_name(tmp_path: Path) -> None:
    run_dir = whole_run(tmp_path)
    document = json.loads((run_dir / "run.json").read_text())
    known = (("gameday.record/99", "newer"), ("gameday.record/0", "no step"), ("other/1", "is not gameday.record"))
    for schema, told in (*known, ("gameday.record/²", "is not gameday.record"), ("", "no schema")):
        (run_dir / "run.json").write_text(json.dumps({**document, "schema": schema}))
        with pytest.raises(SpecError, match=told):
            store.load_record(run_dir)


def test_files_that_are_no_record_give_one_clear_message(tmp_path: Path) -> None:
    run_dir = whole_run(tmp_path)
    with pytest.raises(SpecError, match="no such file"):
        store.load_record(tmp_path / "nothing")
    (run_dir / "harvest.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SpecError, match="not Parquet"):
        store.load_record(run_dir)
    (run_dir / "experiment.json").write_text('{"name": 1}')
    with pytest.raises(SpecError, match="experiment"):
        store.load_record(run_dir)


def test_runs_are_found_by_latest_id_part_and_path(tmp_path: Path) -> None:
    run_dir = whole_run(tmp_path)
    for name in ("latest", runs.RUN_ID, "20261125", "7f3a", str(run_dir)):
        assert store.find_run(tmp_path, name) == run_dir.resolve()
    assert (tmp_path / "latest").is_symlink()
    assert store.list_runs(tmp_path) == [runs.RUN_ID]
    with pytest.raises(SpecError, match=r"no run 'x'.*7f3a"):
        store.find_run(tmp_path, "x")
    with pytest.raises(SpecError, match="none yet"):
        store.find_run(tmp_path / "empty", "latest")
    RunStore.create(tmp_path, runs.header(run_id="20261125-0142-b-0001"), runs.experiment(), environ={}).close()
    with pytest.raises(SpecError, match="2 runs are called like '20261125'"):
        store.find_run(tmp_path, "20261125")
    assert store.find_run(tmp_path, "latest").name == "20261125-0142-b-0001"


def test_run_ids_sort_by_time_and_differ_by_moment_and_seed() -> None:
    moment = datetime(2026, 11, 25, 1, 41, 7, tzinfo=UTC)
    made = store.new_run_id("pod-kill", moment, 1)
    assert made.startswith("20261125-0141-pod-kill-")
    assert made == store.new_run_id("pod-kill", moment, 1)
    assert (
        len({made, store.new_run_id("pod-kill", moment, 2), store.new_run_id("pod-kill", moment.replace(second=8), 1)})
        == 3
    )


def test_a_run_folder_is_never_written_twice(tmp_path: Path) -> None:
    whole_run(tmp_path)
    with pytest.raises(StoreError, match="exists already"):
        RunStore.create(tmp_path, runs.header(), runs.experiment(), environ={})


class FullDisk:
    """A journal file on a disk that takes a few bytes of a line and then no more, until there is room again."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.full = True

    def write(self, data: memoryview) -> int:
        if not self.full:
            return int(self._file.write(data))
        if len(data) < 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._file.write(data[:-5])
        self._file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_full_disk_is_told_once_and_never_stops_an_undo(tmp_path: Path) -> None:
    told: list[str] = []
    stored = RunStore.create(tmp_path, runs.header(), runs.experiment(), environ={}, on_failure=told.append)
    disk = FullDisk(stored._events)
    stored._events = disk  # type: ignore[assignment]
    events = [Event(n, float(n), "harness", "note", "x", {"message": "a line of some length"}) for n in range(1, 6)]
    for event in events[:3]:
        stored.append(event)
    assert len(told) == 1 and "No space left" in told[0] and "free some space" in told[0]
    assert stored.unwritten == 3
    disk.full = False
    for event in events[3:]:
        stored.append(event)
    assert stored.unwritten == 0
    stored.close()
    assert store.load_record(stored.run_dir).timeline.events == tuple(events)


def test_a_full_disk_raises_once_where_nobody_is_told(tmp_path: Path) -> None:
    stored = RunStore.create(tmp_path, runs.header(), runs.experiment(), environ={})
    stored._events = FullDisk(stored._events)  # type: ignore[assignment]
    event = Event(1, 0.0, "harness", "fault", "x", {})
    with pytest.raises(StoreError, match="No space left"):
        stored.append(event)
    stored.append(replace(event, seq=2))
    with pytest.raises(StoreError, match="the last 2 events"):
        stored.close()


def test_a_folder_that_cannot_be_made_gives_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file is in the way")
    with pytest.raises(StoreError, match="create the run folder"):
        RunStore.create(tmp_path / "runs", runs.header(), runs.experiment(), environ={})


def test_verdicts_read_back_and_figures_that_are_nan_stay_nan(tmp_path: Path) -> None:
    run_dir = whole_run(tmp_path)
    assert store.load_verdicts(run_dir) is None
    store.save_verdicts(run_dir, runs.verdicts(), runs.assumptions())
    loaded = store.load_verdicts(run_dir)
    assert loaded is not None
    verdicts, assumptions = loaded
    assert assumptions == runs.assumptions()
    assert [v.assertion for v in verdicts] == [v.assertion for v in runs.verdicts()]
    assert np.isnan(verdicts[3].figures["bound_ratio"])
    assert asdict(verdicts[0]) == asdict(runs.verdicts()[0])
    json.loads((run_dir / "verdicts.json").read_text(), parse_constant=pytest.fail)
