"""Whole drills against the twin: the real conductor beneath, its record sealed and revealed, a debrief at every end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from harness import registries
from harness.drill.afterwards import debrief_anew
from harness.drill.folders import STOP_FILE, drills_dir, find_drill, list_drills, sole_drill
from harness.drill.holding import hold
from harness.drill.journal import read_drill
from harness.drill.preparing import Wish
from harness.model.drill import DrillError
from harness.model.errors import SpecError

LIMIT_S = 90.0
SETTINGS = registries.PROJECT_DIR / "gameday.toml"
NAME, FAULT = "zebra-shortage", "stripe-the-zebra"
ANSWER = "Somebody unplugged the zebras."


@pytest.fixture(autouse=True)
def fast_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let twenty simulated seconds take one."""
    monkeypatch.setenv("GAMEDAY_TWIN", json.dumps({"pace_ratio": 0.05}))


def written(folder: Path) -> Path:
    """Write an experiment whose fault hurts nobody, so that its steady state holds while it is on."""
    document = yaml.safe_load((registries.EXPERIMENTS_DIR / "gpu-exhaustion.yaml").read_text())
    document["method"] = [{**document["method"][-1], "name": FAULT}]
    game = document["extensions"][0]
    targets = {"detected": "1m", "acknowledged": "2m", "diagnosed": "3m", "mitigated": "4m"}
    faults = {FAULT: {"answer": ANSWER, "hints": ["look"]}}
    game["faults"] = {FAULT: {"hold": "10s", "max_hold": "40s"}}
    game["assertions"] = {"pdb-safety": game["assertions"]["pdb-safety"]}
    game["drill"] = {"limit": "10m", "targets": targets, "faults": faults}
    path = folder / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def wish(folder: Path, script: str | None = None, **more: Any) -> Wish:
    path = None
    if script is not None:
        path = folder / "people.yaml"
        path.write_text(script)
    asked: dict[str, Any] = {
        "names": (str(written(folder)),),
        "fault": FAULT,
        "seed": 7,
        "script": path,
        "pages": False,
        **more,
    }
    return Wish(settings=SETTINGS, target="", runs_dir=folder / "runs", **asked)


def wait_for(condition: Any, what: str) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        time.sleep(0.05)


HIDDEN_WORDS = (NAME, FAULT, ANSWER, "exhaust_gpus", "GPUs are exhausted", "gpu-1")
"""What a drill must not say before its end: experiment, fault, answer, action, title, victim."""


MENDED = """
- {at: 0s, mark: detected, by: ana}
- {at: 0s, mark: acknowledged, by: ana}
- {at: 0s, step: "1", by: ana}
- {at: 0s, mark: diagnosed, by: ana}
- {at: 0s, mark: mitigated, by: ana}
"""


def test_a_drill_that_people_end_is_revealed_and_has_a_debrief(tmp_path: Path) -> None:
    lines: list[str] = []
    status = hold(wish(tmp_path, MENDED), lines.append)

    folder = find_drill(tmp_path / "runs", "latest")
    drill = read_drill(folder)
    end = drill.end
    assert end is not None and end.detail["end"] == "mitigated", lines
    assert status == end.detail["exit_status"] == 0
    run_dir = Path(end.detail["run_dir"])
    assert run_dir.parent == tmp_path / "runs" and (run_dir / "run.json").is_file()
    header = json.loads((run_dir / "run.json").read_text())
    assert header["ending"] == "completed"
    assert header["facts"]["drill"]["experiment"] == NAME
    assert sorted(one.name for one in (folder / "sealed").iterdir()) == ["hidden.json", "run.log"]
    assert {"debrief.json", "debrief.md", "debrief.html"} <= {one.name for one in folder.iterdir()}

    revealed_at = next(n for n, line in enumerate(lines) if line.startswith("revealed"))
    before = "\n".join(lines[:revealed_at])
    assert not [word for word in HIDDEN_WORDS if word in before]
    sealed = [entry for entry in drill.entries if entry.seq < drill.of("revealed")[0].seq]
    told = json.dumps([dict(entry.detail) for entry in sealed])
    assert not [word for word in HIDDEN_WORDS if word in told]
    assert debrief_anew(tmp_path / "runs", "latest", lines.append) == 0


def test_the_safety_stop_from_another_terminal_ends_with_2(tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def stop() -> None:
        wait_for(lambda: list_drills(runs) and read_drill(find_drill(runs, "latest")).state == "running", "running")
        (drills_dir(runs) / list_drills(runs)[0] / STOP_FILE).write_text("fire in the kitchen")

    thread = threading.Thread(target=stop)
    thread.start()
    assert hold(wish(tmp_path), lambda line: None) == 2
    thread.join()
    end = read_drill(find_drill(runs, "latest")).end
    assert end is not None and end.detail["reason"] == "another terminal: fire in the kitchen"


def test_nobody_who_mends_it_ends_with_1_at_the_limit(tmp_path: Path) -> None:
    assert hold(wish(tmp_path, limit_s=2.0), lambda line: None) == 1
    end = read_drill(find_drill(tmp_path / "runs", "latest")).end
    assert end is not None and end.detail["end"] == "time limit"


def test_two_drills_at_once_are_refused(tmp_path: Path) -> None:
    with (
        sole_drill(tmp_path / "runs", ""),
        pytest.raises(DrillError, match="two at once could not be told apart"),
    ):
        hold(wish(tmp_path), lambda line: None)
    assert list_drills(tmp_path / "runs") == []


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"names": ("queue-burst",)}, "queue-burst is no drill"),
        ({"names": ("nothing",)}, "there is no such experiment file"),
        ({"fault": "zebra"}, "no drill has a fault 'zebra'"),
        ({"limit_s": 60.0, "script": "- {at: 1s, mark: mended}"}, "got 'mended', allowed are detected"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(tmp_path: Path, more: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        hold(wish(tmp_path, **more), lambda line: None)
    assert not (tmp_path / "runs").exists()


def test_a_target_without_an_alert_route_holds_no_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "gameday.toml"
    settings.write_text(SETTINGS.read_text())
    given = Wish(names=(str(written(tmp_path)),), settings=settings, target="staging", runs_dir=tmp_path / "runs")
    monkeypatch.delenv("GAMEDAY_TARGET", raising=False)
    with pytest.raises((DrillError, SpecError)):
        hold(given, lambda line: None)
    assert list_drills(tmp_path / "runs") == []


def a_process_that_holds(tmp_path: Path, runs: Path) -> subprocess.Popen[bytes]:
    """Start a drill against the twin as a process of its own."""
    command = [sys.executable, "-m", "harness.cli", "drill", str(written(tmp_path)), "--rehearse", "--no-page"]
    return subprocess.Popen([*command, "--runs-dir", str(runs)], stdout=subprocess.DEVNULL)


def test_a_drill_whose_process_dies_can_be_ended_and_debriefed(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = a_process_that_holds(tmp_path, runs)
    try:
        wait_for(lambda: list_drills(runs) and read_drill(find_drill(runs, "latest")).state == "running", "running")
        with pytest.raises(DrillError, match="still runs"):
            debrief_anew(runs, "latest", lambda line: None)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    folder = find_drill(runs, "latest")
    run = next((folder / "sealed").glob("2*"))
    wait_for((run / "report.html").exists, "the conductor's own end")
    assert debrief_anew(runs, "latest", lambda line: None) == 20
    drill = read_drill(folder)
    assert drill.of("revealed") and drill.end is not None and "its process died" in drill.end.detail["reason"]
    assert Path(drill.end.detail["run_dir"]).is_dir() and (folder / "debrief.md").is_file()


def test_no_participant_is_sent_what_is_hidden_while_the_drill_runs(tmp_path: Path) -> None:
    seen: list[str] = []
    over = threading.Event()

    def tell(line: str) -> None:
        if line.startswith("participants"):
            threading.Thread(target=watch, args=(line.split()[1],), daemon=True).start()
        if line.startswith("revealed"):
            over.set()

    def watch(link: str) -> None:
        base, token = link.split("/participants#")
        headers = {"Authorization": f"Bearer {token}"}
        while not over.wait(0.2):
            view = requests.get(f"{base}/api/view", headers=headers, timeout=5).json()
            if not over.is_set():
                seen.append(json.dumps(view))

    hold(wish(tmp_path, MENDED, pages=True), tell)
    over.set()
    running = [text for text in seen if '"state": "running"' in text]
    assert len(running) > 5
    before_the_end = [text for text in seen if '"state": "ending"' not in text]
    for word in HIDDEN_WORDS[:-1]:  # the runbook names nodes of its own accord
        assert not [text for text in before_the_end if word in text], word


def test_the_conductor_is_told_nothing_by_its_arguments(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    process = a_process_that_holds(tmp_path, runs)
    try:
        wait_for(lambda: list_drills(runs) and (drills_dir(runs) / list_drills(runs)[0] / "sealed").is_dir(), "a drill")
        wait_for(partial(_children, process.pid), "its conductor")
        told = " ".join(_children(process.pid))
        assert FAULT not in told and NAME not in told
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT_S)
    assert process.returncode == 2


def _children(pid: int) -> list[str]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    pids = path.read_text().split() if path.exists() else []
    return [
        Path(f"/proc/{one}/cmdline").read_text().replace("\0", " ") for one in pids if os.path.exists(f"/proc/{one}")
    ]
