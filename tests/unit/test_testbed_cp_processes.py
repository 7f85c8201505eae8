import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.controlplane.errors import OperatorError
from testbed.controlplane.processes import Marks, ProcessId, kill_marked, marked, slots_in_use

Sleeper = Callable[[Marks], "subprocess.Popen[bytes]"]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    started: list[subprocess.Popen[bytes]] = []

    def start(marks: Marks) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
        process = subprocess.Popen(command, env={**os.environ, **marks.environment()}, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()  # from here on it has been exec'd and shows its environment
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def marks(tmp_path: Path, name: str = "h1test", generation: str | None = "g1", slot: int = 15) -> Marks:
    return Marks(name, generation, tmp_path, slot)


def test_strays_of_an_instance_are_killed_and_named(tmp_path: Path, sleeper: Sleeper) -> None:
    strays = [sleeper(marks(tmp_path)), sleeper(marks(tmp_path))]
    killed = kill_marked(marks(tmp_path))
    assert len(killed) == 2
    assert all(any(str(stray.pid) in text for text in killed) for stray in strays)
    assert all(stray.wait(10) is not None for stray in strays)


def test_another_instance_is_never_swept(tmp_path: Path, sleeper: Sleeper) -> None:
    other = sleeper(marks(tmp_path / "b", name="h1test-b"))
    same_name_elsewhere = sleeper(marks(tmp_path / "c", generation="g9"))
    assert kill_marked(marks(tmp_path)) == []
    assert other.poll() is None
    assert same_name_elsewhere.poll() is None


def test_strays_of_an_earlier_generation_are_found_by_their_folder(tmp_path: Path, sleeper: Sleeper) -> None:
    stray = sleeper(marks(tmp_path, generation="lost"))
    assert [process.pid for process in marked(marks(tmp_path, generation=None))] == [stray.pid]
    kill_marked(marks(tmp_path))
    assert stray.wait(10) is not None


def test_a_pod_that_has_only_the_mark_itself_is_found_by_its_generation(tmp_path: Path) -> None:
    environment = {"GAMEDAY_TESTBED": "h1test:g1"}
    assert marks(tmp_path).on(environment)
    assert not marks(tmp_path, generation="g2").on(environment)
    assert not marks(tmp_path, generation=None).on({"GAMEDAY_TESTBED": "h1test:None"})
    assert not marks(tmp_path, name="h1").on(environment)
    assert not marks(tmp_path).on({})


def test_slots_of_marked_processes_count_as_held(tmp_path: Path, sleeper: Sleeper) -> None:
    sleeper(marks(tmp_path, slot=13))
    assert 13 in slots_in_use()


def test_a_process_is_told_apart_from_a_later_one_with_its_pid() -> None:
    this = ProcessId.of(os.getpid())
    assert this.alive()
    assert not ProcessId(this.pid, this.start_ticks + 1).alive()


def test_a_zombie_does_not_count_as_alive() -> None:
    process = subprocess.Popen(["true"])
    identity = ProcessId(process.pid, 0)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(OperatorError, match="does not exist"):
        ProcessId.of(process.pid)
    process.wait(10)
    assert not identity.alive()
