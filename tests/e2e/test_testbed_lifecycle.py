"""Testbeds come and go: side by side, reused, cleared after a crash, gone without a trace.

Real control planes, light ones. Each test has a state folder of its own, short enough for a unix socket, and slots
that nobody gets by default, so that a person's own testbed is never touched.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from testbed.layout import Layout, default_port_base

pytestmark = pytest.mark.testbed

UP_TIMEOUT_S = 900
"""The first call may have to build the control plane."""


@pytest.fixture
def state_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gd"))
    yield folder
    for instance in (folder / "testbeds").glob("[a-z]*"):
        call(folder, "down", "--name", instance.name)
    shutil.rmtree(folder)


def call(state_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "testbed", *arguments],
        env={**os.environ, "GAMEDAY_STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        timeout=UP_TIMEOUT_S,
        check=False,
    )


def up(state_dir: Path, *arguments: str) -> str:
    done = call(state_dir, "up", "--light", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(state_dir: Path, name: str = "default") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(call(state_dir, "status", "--json", "--name", name).stdout)
    return document


def processes_of(state_dir: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get("GAMEDAY_TESTBED_DIR", "").startswith(str(state_dir)):
            found.append(f"{process.pid} {process.name()}")
    return found


def state_of(state_dir: Path, name: str = "default") -> dict[str, Any]:
    state: dict[str, Any] = json.loads((state_dir / "testbeds" / name / "testbed.json").read_text())
    return state


def test_a_testbed_comes_up_is_reused_and_goes_without_a_trace(state_dir: Path) -> None:
    assert "6 nodes Ready" in up(state_dir, "--slot", "10")
    generation = status(state_dir)["generation"]
    assert "reusing it" in up(state_dir)
    assert status(state_dir)["generation"] == generation
    folder = state_dir / "testbeds" / "default"
    target = json.loads((folder / "target.json").read_text())
    assert target["schema"] == "gameday.target/1"
    assert target["generation"] == generation
    assert target["components"] == ["core", "reaper"]
    runner = kubectl(folder / "kubeconfig", "auth", "can-i", "get", "secrets", "-A")
    assert runner.stdout.strip() == "no"
    down = call(state_dir, "down")
    assert down.returncode == 0, down.stderr
    assert processes_of(state_dir) == []
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert call(state_dir, "status").returncode == 4


def kubectl(kubeconfig: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("kubectl")
    command = [str(program), f"--kubeconfig={kubeconfig}", f"--cache-dir={kubeconfig.parent}/kubectl-cache", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_two_testbeds_run_side_by_side_and_one_going_leaves_the_other_alone(state_dir: Path) -> None:
    up(state_dir, "--slot", "11")
    up(state_dir, "--slot", "12", "--name", "two")
    first, second = status(state_dir), status(state_dir, "two")
    assert not set(first["ports"].values()) & set(second["ports"].values())
    assert call(state_dir, "down").returncode == 0
    assert status(state_dir, "two")["faults"] == []
    assert {program["state"] for program in status(state_dir, "two")["programs"]} <= {"RUNNING", "STARTING"}


def test_what_a_killed_supervisor_leaves_is_cleared_by_the_next_up(state_dir: Path) -> None:
    up(state_dir, "--slot", "13")
    generation = status(state_dir)["generation"]
    os.kill(state_of(state_dir)["supervisor"]["pid"], signal.SIGKILL)
    broken = call(state_dir, "status")
    assert broken.returncode == 4
    assert "its supervisor is gone" in broken.stdout
    said = up(state_dir, "--slot", "13")
    assert "clearing testbed default of an earlier run: its supervisor is gone" in said
    assert status(state_dir)["generation"] != generation
    assert status(state_dir)["condition"] == "living"


def test_a_testbed_whose_owner_was_killed_is_cleared_by_the_next_up(state_dir: Path) -> None:
    owner = subprocess.Popen(["sleep", "600"])
    try:
        up(state_dir, "--slot", "14", "--owner-pid", str(owner.pid))
        assert status(state_dir)["condition"] == "living"
    finally:
        owner.kill()
        owner.wait(10)
    before = processes_of(state_dir)
    assert status(state_dir)["condition"] == "orphaned"
    assert "its owner is gone" in up(state_dir, "--slot", "14")
    assert not set(before) & set(processes_of(state_dir))


def test_a_killed_api_server_is_restarted_and_told_by_status(state_dir: Path) -> None:
    up(state_dir, "--slot", "15")
    [first] = [program["pid"] for program in status(state_dir)["programs"] if program["name"] == "kube-apiserver"]
    os.kill(first, signal.SIGKILL)
    deadline_s = time.monotonic() + 60
    while not (exits := _unexpected_exits(state_dir)) and time.monotonic() < deadline_s:
        time.sleep(0.2)
    assert exits == ["terminated by SIGKILL"]
    assert "kube-apiserver has ended by itself" in call(state_dir, "status").stdout


def _unexpected_exits(state_dir: Path) -> list[str]:
    programs = {program["name"]: program for program in status(state_dir)["programs"]}
    exits: list[str] = programs["kube-apiserver"]["unexpected_exits"]
    return exits


def test_an_up_that_is_terminated_leaves_no_process_and_no_secret(state_dir: Path) -> None:
    command = [sys.executable, "-m", "testbed", "up", "--light", "--slot", "10"]
    environment = {**os.environ, "GAMEDAY_STATE_DIR": str(state_dir)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "etcd healthy" in line:
                process.terminate()
                break
        process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert processes_of(state_dir) == []
    assert [path.name for path in (state_dir / "testbeds" / "default").iterdir()] == ["logs"]


def test_a_taken_port_stops_up_before_anything_starts(state_dir: Path) -> None:
    port = Layout("default", 10, default_port_base(10), state_dir).ports.prometheus
    with socket.create_server(("127.0.0.1", port)):
        refused = call(state_dir, "up", "--light", "--slot", "10")
    assert refused.returncode == 4
    assert f"127.0.0.1:{port} (prometheus) is taken by" in refused.stderr
    assert str(os.getpid()) in refused.stderr
    assert processes_of(state_dir) == []
