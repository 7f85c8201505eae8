"""`gameday prune`: oldest first, never the newest, never a run that may go on, never through a link."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import retention, store
from harness.model.errors import SpecError
from harness.retention import Limits, StoredRun, parse_size_bytes, plan
from tests.unit.stored_folders import stored, truncated
from tests.unit.test_cli import status_of

BEGIN = datetime(2026, 11, 25, tzinfo=UTC)


def run(number, size_bytes=100, **changes):
    return StoredRun(Path(f"runs/run-{number}"), BEGIN + timedelta(hours=number), size_bytes, **changes)


def ids(runs):
    return [int(one.path.name.removeprefix("run-")) for one in runs]


def folder(runs_dir, name, *, hour=0, ending="completed", outcome="PASS", facts=None, size_bytes=1000):
    """Write the least that retention looks at."""
    path = runs_dir / name
    path.mkdir(parents=True)
    started = (BEGIN + timedelta(hours=hour)).isoformat()
    (path / "run.json").write_text(json.dumps({"started_at": started, "ending": ending, "facts": facts or {}}))
    (path / "verdicts.json").write_text(json.dumps({"verdicts": [{"outcome": outcome}]}))
    (path / "requests.parquet").write_bytes(b"x" * size_bytes)
    return path


def prune(runs_dir, *arguments):
    return status_of("prune", "--runs-dir", str(runs_dir), *arguments)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("2GiB", 2 * 1024**3), ("500MB", 500_000_000), ("1.5 KiB", 1536), ("7", 7), ("0", 0), ("3g", 3_000_000_000)],
)
def test_sizes_are_read(text, size_bytes):
    assert parse_size_bytes(text) == size_bytes


def test_the_oldest_go_until_the_count_is_kept():
    assert ids(plan([run(n) for n in range(5)], Limits(runs=2)).going) == [0, 1, 2]


def test_the_oldest_go_until_the_size_is_kept_and_both_limits_hold():
    runs = [run(n) for n in range(5)]
    assert ids(plan(runs, Limits(size_bytes=350)).going) == [0, 1]
    assert ids(plan(runs, Limits(runs=4, size_bytes=150)).going) == [0, 1, 2, 3]


def test_the_newest_stays_however_big_and_that_is_told():
    found = plan([run(0), run(1, 10_000)], Limits(size_bytes=1))
    assert ids(found.staying) == [1] and "more than --max-size 1 B" in found.over


def test_what_is_held_or_failed_stays_and_others_go_for_it():
    runs = [run(0, held="it may still go on"), run(1, failed=True), run(2), run(3)]
    assert ids(plan(runs, Limits(runs=2)).going) == [1, 2]
    found = plan(runs, Limits(runs=1, failed=True))
    assert ids(found.going) == [2] and found.over


def test_a_run_and_its_control_run_count_as_one_and_go_together():
    runs = [run(0), run(1, control_run="run-0"), run(2), run(3, control_run="run-2")]
    assert not plan(runs, Limits(runs=2)).going
    assert ids(plan(runs, Limits(runs=1)).going) == [0, 1]
    assert not plan([run(0), run(1, control_run="run-1"), run(2, control_run="gone")], Limits(runs=3)).going


RUNS = st.lists(
    st.builds(
        run, st.integers(0, 9), st.integers(0, 500), held=st.sampled_from(["", "held"]), failed=st.booleans(),
        control_run=st.sampled_from(["", *(f"run-{n}" for n in range(10))]),
    ),
    unique_by=lambda one: one.path,
).map(lambda runs: sorted(runs, key=lambda one: one.started_at))  # fmt: skip


@given(RUNS, st.integers(1, 9), st.none() | st.integers(0, 2000), st.booleans())
def test_whatever_the_runs_the_newest_and_the_held_stay_and_nothing_is_lost_or_doubled(runs, keep, size, failed):
    found = plan(runs, Limits(keep, size, failed))
    assert sorted(ids(found.going) + ids(found.staying)) == ids(runs)
    assert not any(one.held or (failed and one.failed) for one in found.going)
    assert not runs or runs[-1] in found.staying


def test_the_command_removes_says_how_much_and_latest_stays_right(tmp_path, capsys):
    for number in range(4):
        stored(tmp_path, f"run-{number}", header={"started_at": (BEGIN + timedelta(hours=number)).isoformat()})
    assert prune(tmp_path, "--keep", "2", "--dry-run") == 0
    assert "would remove run-0" in capsys.readouterr().out and len(store.list_runs(tmp_path)) == 4
    assert prune(tmp_path, "--keep", "2") == 0
    said = capsys.readouterr().out
    assert "removed run-0" in said and "removed 2 run folders" in said and "2 stay" in said
    assert store.list_runs(tmp_path) == ["run-2", "run-3"]
    assert (tmp_path / "latest").resolve() == tmp_path / "run-3"


def test_a_run_without_an_ending_stays_until_it_is_quiet_and_a_dead_one_goes(tmp_path, capsys):
    going, dead = (folder(tmp_path, f"run-{n}", hour=n, ending=None) for n in range(2))
    folder(tmp_path, "run-2", hour=2)
    old = time.time() - 2 * retention.QUIET_S
    for path in (*dead.iterdir(), dead):
        os.utime(path, (old, old))
    assert prune(tmp_path, "--keep", "1") == 0
    assert store.list_runs(tmp_path) == ["run-0", "run-2"]
    said = capsys.readouterr()
    assert f"{going.name}: it may still go on" in said.err and "removed run-1" in said.out


def test_what_latest_points_to_stays_even_where_it_is_not_the_newest(tmp_path):
    for number in range(3):
        folder(tmp_path, f"run-{number}", hour=number)
    (tmp_path / "latest").symlink_to("run-0")
    assert prune(tmp_path, "--keep", "1") == 0
    assert store.list_runs(tmp_path) == ["run-0", "run-2"]


def test_keep_failed_keeps_what_failed_and_what_was_never_judged(tmp_path):
    folder(tmp_path, "run-0", hour=0, outcome="FAIL")
    (folder(tmp_path, "run-1", hour=1) / "verdicts.json").unlink()
    folder(tmp_path, "run-2", hour=2, outcome="INCONCLUSIVE")
    folder(tmp_path, "run-3", hour=3)
    assert prune(tmp_path, "--keep", "1", "--keep-failed") == 0
    assert store.list_runs(tmp_path) == ["run-0", "run-1", "run-3"]


def test_links_are_never_followed_and_what_is_no_run_is_never_touched(tmp_path):
    outside = folder(tmp_path / "outside", "precious")
    runs_dir = tmp_path / "runs"
    old = folder(runs_dir, "run-0")
    (old / "logs").symlink_to(outside, target_is_directory=True)
    (old / "request-log").symlink_to(outside / "requests.parquet")
    (runs_dir / "run-00").symlink_to(outside, target_is_directory=True)
    (runs_dir / ".pruned-elsewhere").symlink_to(outside, target_is_directory=True)
    (runs_dir / "notes").mkdir()
    folder(runs_dir, "run-1", hour=1)
    assert prune(runs_dir, "--keep", "1") == 0
    assert not old.exists() and (runs_dir / "run-00").is_symlink() and (runs_dir / "notes").is_dir()
    assert sorted(path.name for path in outside.iterdir()) == ["requests.parquet", "run.json", "verdicts.json"]


def test_a_removal_that_was_cut_off_is_finished_by_the_next(tmp_path):
    folder(tmp_path, "run-1")
    shutil.move(folder(tmp_path, "run-0"), tmp_path / ".pruned-run-0")
    assert prune(tmp_path, "--keep", "5") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "it is not said how much to keep"),
        (("--keep", "0"), "the newest run always stays"),
        (("--keep", "x"), "'x' is not a valid integer"),
        (("--max-size", "much"), "'much' is not a size"),
        (("--max-size", "-1GiB"), "'-1GiB' is not a size"),
    ],
)
def test_a_mistake_is_one_clear_error_and_removes_nothing(tmp_path, capsys, arguments, told):
    folder(tmp_path, "run-0")
    assert prune(tmp_path, *arguments) == 4
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said and store.list_runs(tmp_path) == ["run-0"]


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path, capsys):
    assert prune(tmp_path / "nowhere", "--keep", "1") == 4
    assert "there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(15))
def test_truncated_runs_never_end_in_a_traceback_and_the_newest_stays(tmp_path, seed):
    for number in range(3):
        truncated(folder(tmp_path, f"run-{number}", hour=number), seed + number)
    assert prune(tmp_path, "--keep", "1", "--max-size", "1") == 0
    assert store.list_runs(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", '{"started_at": 5, "facts": 7}', '{"started_at": "2026-11-25"}', "\x00"])
def test_a_header_that_is_something_else_is_old_by_its_folder(tmp_path, text):
    path = folder(tmp_path, "run-0")
    (path / "run.json").write_text(text)
    (found,) = retention.stored_runs(tmp_path, time.time())
    assert found.started_at.tzinfo is not None and found.control_run == ""


def test_limits_that_say_nothing_are_refused():
    with pytest.raises(SpecError):
        Limits()
