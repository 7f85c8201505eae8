import dataclasses
import os
import stat
import subprocess
from pathlib import Path

import pytest

from testbed.controlplane.errors import OperatorError
from testbed.controlplane.processes import ProcessId
from testbed.controlplane.state import InstanceState, lowest_free_slot, read_state, write_state

ALIVE = ProcessId.of(os.getpid())
STATE = InstanceState("h1test", 0, 21000, "g1")


def dead() -> ProcessId:
    process = subprocess.Popen(["sleep", "60"])
    identity = ProcessId.of(process.pid)
    process.kill()
    process.wait(10)
    return identity


def test_a_state_is_read_as_it_was_written_and_is_private(tmp_path: Path) -> None:
    state = dataclasses.replace(STATE, components=("core", "keda"), owner=ALIVE, supervisor=dead())
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert stat.S_IMODE((tmp_path / "testbed.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["testbed.json"]


def test_no_state_is_no_error_and_an_unreadable_one_is_named(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    for content in ("{", "[]", '{"schema": "other/1"}', '{"schema": "gameday.testbed/1"}'):
        (tmp_path / "testbed.json").write_text(content)
        with pytest.raises(OperatorError, match=r"testbed\.json: not a testbed's state"):
            read_state(tmp_path)


@pytest.mark.parametrize(
    ("owner", "booter", "supervisor", "condition"),
    [
        (None, None, "alive", "living"),
        ("alive", None, "alive", "living"),
        ("dead", None, "alive", "orphaned"),
        ("dead", None, "dead", "orphaned"),
        (None, None, "dead", "broken"),
        (None, "alive", None, "living"),
        (None, "dead", None, "broken"),
        (None, "dead", "alive", "living"),
        (None, "alive", "dead", "broken"),
        (None, None, None, "broken"),
    ],
)
def test_the_condition_follows_from_who_is_alive(
    owner: str | None, booter: str | None, supervisor: str | None, condition: str
) -> None:
    who = {"alive": ALIVE, "dead": dead()}
    owner_id, booter_id, supervisor_id = (who.get(name or "") for name in (owner, booter, supervisor))
    state = dataclasses.replace(STATE, owner=owner_id, booter=booter_id, supervisor=supervisor_id)
    assert state.condition() == condition


def test_the_lowest_slot_that_no_living_instance_holds_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMEDAY_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("testbed.controlplane.state.slots_in_use", lambda: {1})
    for name, slot, supervisor in (("a", 0, ALIVE), ("b", 2, dead())):
        folder = tmp_path / "testbeds" / name
        folder.mkdir(parents=True)
        write_state(folder, dataclasses.replace(STATE, name=name, slot=slot, supervisor=supervisor))
    (tmp_path / "testbeds" / "unreadable").mkdir()
    (tmp_path / "testbeds" / "unreadable" / "testbed.json").write_text("{")
    assert lowest_free_slot() == 2
    monkeypatch.setattr("testbed.controlplane.state.slots_in_use", lambda: set(range(16)))
    with pytest.raises(OperatorError, match="all 16 slots"):
        lowest_free_slot()
