"""The debrief of any journal: every beginning of one, and entries that no version of ours wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.drill.debrief import drill_exit_status, read_debrief, write_debrief
from tests.unit import drill_journals as drills


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drills.store_run(tmp_path_factory.mktemp("runs"), drills.record(), drills.verdicts())


WHOLE = len(drills.journal(drills.whole()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, WHOLE), beneath=st.booleans())
@example(cut=WHOLE, beneath=True)
@example(cut=WHOLE, beneath=False)
@example(cut=WHOLE - 1, beneath=True)
def test_any_beginning_of_a_journal_has_a_debrief(
    tmp_path_factory: pytest.TempPathFactory, stored: Path, cut: int, beneath: bool
) -> None:
    folder = drills.folder(tmp_path_factory.mktemp("any"), drills.journal(drills.whole())[:cut])
    assert write_debrief(folder, stored if beneath else None).is_file()
    held = beneath and cut == WHOLE
    assert drill_exit_status(read_debrief(folder, stored if beneath else None)) == (0 if held else 20)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([
        "mark", "state", "text", "step", "command", "alert", "what", "end", "targets_s", "ok", "runbook", "limit_s",
    ]), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
KINDS = ["opened", "state", "mark", "hint", "note", "step", "command", "page", "action", "steady", "stop", "trouble",
         "revealed", "ended", "else"]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(st.tuples(st.floats(0, 1e3), st.sampled_from(KINDS), st.text(max_size=3), JUNK), max_size=6))
@example(said=[(0.0, "opened", "", None), (0.0, "mark", "", {"mark": []})])
def test_entries_of_another_version_are_no_exception(tmp_path_factory: pytest.TempPathFactory, said: list[Any]) -> None:
    folder = drills.folder(tmp_path_factory.mktemp("junk"), said)
    assert write_debrief(folder, None).is_file()
