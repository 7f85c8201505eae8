"""Records of older versions read as today's would, step by step and in memory; unknown ones are refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import store, store_migration
from harness.model.errors import SpecError
from harness.model.record import RECORD_VERSION
from harness.store_migration import STEPS, Documents, migrated
from tests.replay import golden


def test_there_is_one_step_from_every_older_version_to_the_next() -> None:
    assert set(STEPS) == set(range(1, RECORD_VERSION))


def test_without_its_step_a_drain_of_version_1_would_end_with_its_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = golden.unpack("node-drain-under-burst", tmp_path)
    today = store.load_record(run_dir).timeline.injections()
    golden.as_version_1(run_dir)
    monkeypatch.setattr(store_migration, "STEPS", {**STEPS, 1: lambda documents: documents})
    misread = store.load_record(run_dir).timeline.injections()
    assert misread[0].window.end_s < today[0].window.end_s


def test_a_record_that_was_written_as_version_1_is_read(tmp_path: Path) -> None:
    run_dir = golden.unpack("v1-queue-burst", tmp_path)
    assert json.loads((run_dir / "run.json").read_text())["schema"] == "gameday.record/1"
    undone = list(store.load_record(run_dir).timeline.of("undo"))
    assert undone and all(event.detail["operation"] == "none" for event in undone)


def undo(**detail: Any) -> dict[str, Any]:
    """Return the line of an undo event."""
    return {"seq": 1, "t_s": 2.0, "actor": "harness", "kind": "undo", "subject": "drain", "detail": detail}


BARE = Documents({}, {}, [undo(record_id="r1", step="done")], undo=[{"record_id": "r1", "operation": "patch"}])


def operation(documents: Documents) -> Any:
    """Return what the first line says was undone, after the migration from version 1."""
    line = migrated(documents, 1, "run.json").lines[0]
    return None if line is None else line["detail"].get("operation")


def test_an_undo_event_of_version_1_gets_the_operation_of_its_record() -> None:
    assert operation(BARE) == "patch"
    assert operation(replace(BARE, lines=[undo(record_id="r1", operation="delete")])) == "delete"


@pytest.mark.parametrize("records", [None, [], {}, ["r1"], [{"record_id": "other", "operation": "patch"}], [{}]])
def test_an_undo_event_whose_record_is_missing_stays_as_it_was(records: Any) -> None:
    assert operation(replace(BARE, undo=records)) is None


@pytest.mark.parametrize("identity", [None, [], {}, 3, "other"])
def test_an_undo_event_with_an_odd_record_id_stays_as_it_was(identity: Any) -> None:
    assert operation(replace(BARE, lines=[undo(record_id=identity)])) is None


@pytest.mark.parametrize("line", [None, {}, {"kind": "undo"}, {"kind": "undo", "detail": 3}, {"kind": "note"}])
def test_lines_that_are_no_undo_events_pass_through_a_step(line: Any) -> None:
    assert migrated(replace(BARE, lines=[line]), 1, "run.json").lines == [line]


def test_todays_documents_are_not_touched() -> None:
    assert migrated(BARE, RECORD_VERSION, "run.json") is BARE


def test_a_version_that_no_step_leads_on_from_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"run\.json: schema: no step leads from gameday\.record/0 to today's"):
        migrated(BARE, 0, "run.json")
