"""A drill's journal on disk, its folder, its seal and its lock: what a crash, a full disk or a second drill leave."""

import os
import stat
import threading
from pathlib import Path

import pytest

from harness.drill import journal as journal_module
from harness.drill.folders import find_drill, list_drills, make_folder, running_drill, sole_drill
from harness.drill.journal import JOURNAL_FILE, Journal, read_drill
from harness.drill.seal import Hidden, choose, read_hidden, seal_problem, unseal_run, write_hidden
from harness.model.drill import DrillError

PAIRS = [("one", "a"), ("one", "b"), ("two", "c")]


def written(folder: Path, notes: int = 3) -> Journal:
    journal = Journal(folder, environ={})
    for number in range(notes):
        journal.append(("note", "ana", {"text": f"note {number} ⚡"}))
    return journal


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    journal = written(tmp_path)
    assert read_drill(tmp_path) == journal.drill == Journal(tmp_path, environ={}).drill
    assert [e.seq for e in journal.drill.entries] == [1, 2, 3]


@pytest.mark.parametrize("torn", [b'{"seq": 4, "at', b"\xc3", b"{}"])
def test_a_torn_last_line_is_no_entry_and_is_cut_off_before_the_next(tmp_path: Path, torn: bytes) -> None:
    written(tmp_path)
    with (tmp_path / JOURNAL_FILE).open("ab") as file:
        file.write(torn)
    assert len(read_drill(tmp_path).entries) == 3
    Journal(tmp_path, environ={}).append(("note", "ana", {"text": "after"}))
    assert [e.detail["text"] for e in read_drill(tmp_path).entries][-1] == "after"


@pytest.mark.parametrize("line", [b"not json\n", b'{"seq": 7, "at_unix_s": 1, "kind": "x", "by": "y", "detail": {}}\n'])
def test_damage_in_the_middle_is_named_with_its_line(tmp_path: Path, line: bytes) -> None:
    written(tmp_path)
    with (tmp_path / JOURNAL_FILE).open("ab") as file:
        file.write(line)
    with pytest.raises(DrillError, match=r"journal.jsonl:4 is no entry"):
        read_drill(tmp_path)


def test_a_disk_that_refuses_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = written(tmp_path)
    before = (tmp_path / JOURNAL_FILE).read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, "fsync", full)
    with pytest.raises(DrillError, match="No space left on device"):
        journal.append(("note", "ana", {"text": "lost"}))
    monkeypatch.undo()
    assert (tmp_path / JOURNAL_FILE).read_bytes() == before
    journal.append(("note", "ana", {"text": "kept"}))
    assert read_drill(tmp_path) == journal.drill


def test_secrets_of_the_environment_are_kept_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path, environ={"GAMEDAY_HEADER_AUTHORIZATION": "s3cr3t-value-12345"})
    journal.append(("note", "ana", {"text": "the header is s3cr3t-value-12345"}))
    assert "s3cr3t" not in (tmp_path / JOURNAL_FILE).read_text()
    assert read_drill(tmp_path) == journal.drill


def test_many_threads_leave_no_hole(tmp_path: Path) -> None:
    journal = Journal(tmp_path, environ={})
    said = [("note", "x", {"text": str(number)}) for number in range(20)]
    threads = [threading.Thread(target=journal.append, args=(one,)) for one in said]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [e.seq for e in read_drill(tmp_path).entries] == list(range(1, 21))


# seal -----------------------------------------------------------------------------------------------------------------


def test_the_choice_is_repeatable_by_seed_and_reaches_every_fault() -> None:
    again = [choose(PAIRS, 3), choose(PAIRS, 3)]
    assert again[0].fault == again[1].fault and again[0].nonce != again[1].nonce
    assert {(one.experiment, one.fault) for one in (choose(PAIRS, seed) for seed in range(60))} == set(PAIRS)
    assert len({choose(PAIRS, None).seed for _ in range(5)}) == 5


def test_the_sealed_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    hidden = choose(PAIRS, 3)
    before = os.umask(0)
    try:
        sealed = write_hidden(tmp_path, hidden)
    finally:
        os.umask(before)
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o700
    assert stat.S_IMODE((sealed / "hidden.json").stat().st_mode) == 0o600
    assert read_hidden(tmp_path) == hidden


def test_what_is_revealed_must_be_what_was_sealed(tmp_path: Path) -> None:
    hidden, journal = choose(PAIRS, 3), Journal(tmp_path, environ={})
    journal.append(("opened", "drill", {"seal": hidden.seal}))
    assert seal_problem(journal.drill, hidden) == ""
    for other in (
        Hidden("two", hidden.fault, hidden.seed, hidden.nonce),
        Hidden(hidden.experiment, "z", hidden.seed, hidden.nonce),
        Hidden(hidden.experiment, hidden.fault, hidden.seed, "00" * 32),
    ):
        assert "not what was sealed" in seal_problem(journal.drill, other)


def test_the_runs_record_moves_out_of_the_seal(tmp_path: Path) -> None:
    folder, runs = tmp_path / "drills" / "d", tmp_path
    folder.mkdir(parents=True)
    run = write_hidden(folder, choose(PAIRS, 3)) / "20261128-1100-drill-7f3a"
    assert unseal_run(folder, runs) is None
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run.parent / "latest").symlink_to(run.name)
    assert unseal_run(folder, runs) == runs / run.name
    assert (runs / "latest").resolve() == (runs / run.name).resolve()
    assert sorted(p.name for p in run.parent.iterdir()) == ["hidden.json"]


# folders --------------------------------------------------------------------------------------------------------------


def test_a_second_drill_on_a_target_is_refused_and_names_the_first(tmp_path: Path) -> None:
    with sole_drill(tmp_path, "local") as lock:
        lock.write_text("20261128-1100-7f3a")
        assert running_drill(tmp_path, "local") == "20261128-1100-7f3a"
        with pytest.raises(DrillError, match="20261128-1100-7f3a is on local already"), sole_drill(tmp_path, "local"):
            pass
        with sole_drill(tmp_path, "staging"):  # another target is another matter
            pass
    assert running_drill(tmp_path, "local") == "" and running_drill(tmp_path, "kind") == ""
    with sole_drill(tmp_path, "local"):
        pass


def test_drills_are_found_by_id_by_a_part_of_it_and_as_the_latest(tmp_path: Path) -> None:
    with pytest.raises(DrillError, match="there is no drill 'latest'"):
        find_drill(tmp_path, "latest")
    folders = [make_folder(tmp_path, at_s) for at_s in (1_800_000_000.0, 1_800_003_600.0)]
    for folder in folders:
        written(folder)
    assert list_drills(tmp_path) == [folder.name for folder in folders]
    assert find_drill(tmp_path, "latest") == folders[1] == find_drill(tmp_path, folders[1].name)
    assert find_drill(tmp_path, folders[0].name[:13]) == folders[0]
    with pytest.raises(DrillError, match="2 drills are called like"):
        find_drill(tmp_path, folders[0].name[:5])
