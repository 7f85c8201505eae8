"""Interrupted game days (against the twin, slowed down): the conductor outlives its client, undoes and reports."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.registries import PROJECT_DIR

LIMIT_S = 90.0
RUN = ("-m", "harness.cli", "run", "pod-kill-under-burst", "--rehearse", "--seed", "7")


@pytest.fixture
def slow_twin(monkeypatch):
    """Let the simulated 170 s take about 17, so that there is something to interrupt."""
    monkeypatch.setenv("GAMEDAY_TWIN", json.dumps({"pace_ratio": 0.1}))


def events(folder: Path) -> list[dict]:
    runs = sorted((folder / "runs").glob("2*"))
    if not runs or not (runs[0] / "events.jsonl").exists():
        return []
    return [json.loads(line) for line in (runs[0] / "events.jsonl").read_text().splitlines() if line.endswith("}")]


def wait_for(condition, what: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        time.sleep(0.05)


def injecting(folder: Path) -> bool:
    return any(e["kind"] == "fault" and e["detail"]["step"] == "acted" for e in events(folder))


def run_dir(folder: Path) -> Path:
    return next((folder / "runs").glob("2*"))


def undone_and_reported(folder: Path) -> bool:
    return (run_dir(folder) / "report.html").exists()


def assert_stopped_and_restored(folder: Path) -> None:
    seen = events(folder)
    summary = json.loads((run_dir(folder) / "run.json").read_text())
    assert summary["header"]["ending"] == "stopped" if "header" in summary else summary["ending"] == "stopped"
    undone = [e for e in seen if e["kind"] == "undo" and e["detail"]["step"] == "done"]
    assert undone
    stop_seq = next(e["seq"] for e in seen if e["kind"] == "stop")
    assert not [e for e in seen if e["seq"] > stop_seq and e["kind"] == "fault" and e["detail"]["step"] == "acted"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_client_stops_undoes_reports_and_ends_with_2(tmp_path, slow_twin, number):
    with subprocess.Popen([sys.executable, *RUN], cwd=tmp_path, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: injecting(tmp_path), "the first fault")
        client.send_signal(number)
        client.send_signal(number)  # the second must not cut the undo short
        assert client.wait(LIMIT_S) == 2
    assert_stopped_and_restored(tmp_path)


def test_a_background_job_whose_sigint_the_shell_ignores_can_still_be_stopped_e04(tmp_path, slow_twin):
    command = ["bash", "-c", "trap '' INT; exec \"$@\"", "bash", sys.executable, *RUN]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: injecting(tmp_path), "the first fault")
        client.send_signal(signal.SIGINT)
        assert client.wait(LIMIT_S) == 2


def test_the_sigkill_of_the_client_is_a_stop_request_to_the_conductor(tmp_path, slow_twin):
    with subprocess.Popen([sys.executable, *RUN], cwd=tmp_path, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: injecting(tmp_path), "the first fault")
        client.kill()
    wait_for(lambda: undone_and_reported(tmp_path), "the report of a run without a client")
    assert_stopped_and_restored(tmp_path)


def test_a_client_that_is_suspended_holds_up_neither_the_run_nor_its_undo(tmp_path, monkeypatch):
    monkeypatch.setenv("GAMEDAY_TWIN", json.dumps({"pace_ratio": 0.02}))
    with subprocess.Popen([sys.executable, *RUN], cwd=tmp_path, stderr=subprocess.DEVNULL) as client:
        wait_for(lambda: events(tmp_path), "the first event")
        client.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: undone_and_reported(tmp_path), "the report, though nobody reads the stream")
        finally:
            client.send_signal(signal.SIGCONT)
        assert client.wait(LIMIT_S) == 0


PYTEST = (
    "-m", "pytest", "-p", "no:locust", "-p", "harness.plugin", "-p", "no:cacheprovider", "--rootdir", ".",
    "-m", "gameday", "--gameday-rehearse", "--gameday-seed", "7", "-k", "pod-kill-under-burst",
    str(PROJECT_DIR / "experiments" / "test_gameday.py"),
)  # fmt: skip


def in_pytest(tmp_path: Path, *more: str) -> subprocess.Popen:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gameday: a game day\n")
    out = (tmp_path / "pytest.log").open("w")
    with out:
        command = [sys.executable, *PYTEST, "-c", "pytest.ini", *more]
        return subprocess.Popen(command, cwd=tmp_path, stdout=out, stderr=out, env=os.environ.copy())


def test_a_timeout_that_kills_pytest_leaves_an_undone_and_reported_run_e02(tmp_path, slow_twin):
    with in_pytest(tmp_path, "--timeout", "9", "--timeout-method", "thread") as session:
        assert session.wait(LIMIT_S) != 0
    wait_for(lambda: undone_and_reported(tmp_path), "the report of a run whose pytest was killed")
    assert json.loads((run_dir(tmp_path) / "run.json").read_text())
    assert [e for e in events(tmp_path) if e["kind"] == "phase" and e["subject"] == "recover"]


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["in-process", "xdist"])
def test_sigterm_to_pytest_stops_and_undoes_the_run_e03(tmp_path, slow_twin, workers):
    with in_pytest(tmp_path, *workers) as session:
        wait_for(lambda: injecting(tmp_path), "the first fault")
        session.terminate()
        session.wait(LIMIT_S)
    wait_for(lambda: undone_and_reported(tmp_path), "the report")
    assert_stopped_and_restored(tmp_path)
    assert session.returncode != 0
