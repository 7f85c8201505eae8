"""Golden records: today's code gives stored runs the answers that were given when they were stored, byte for byte.

`python -m tests.replay.golden` prints what changed and stores the new answers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from harness.registries import EXPERIMENTS_DIR, PROJECT_DIR
from harness.store import load_record
from tests.replay import golden

ONE = "pod-kill-under-burst"


def call(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("name", golden.names())
def test_a_golden_record_gets_the_same_answers_byte_for_byte(name: str, tmp_path: Path) -> None:
    assert golden.answers(golden.unpack(name, tmp_path)) == golden.verdicts_file(name).read_bytes()


def test_there_is_one_of_every_experiment_and_of_every_outcome() -> None:
    assert {path.stem for path in EXPERIMENTS_DIR.glob("*.yaml")} <= set(golden.names())
    stored = (json.loads(golden.verdicts_file(name).read_text())["verdicts"] for name in golden.names())
    assert {verdict["outcome"] for verdicts in stored for verdict in verdicts} == {"PASS", "FAIL", "INCONCLUSIVE"}


def test_golden_records_are_small() -> None:
    sizes = [path.stat().st_size for path in golden.GOLDEN_DIR.glob("*.zip")]
    assert max(sizes) < 200_000
    assert sum(sizes) < 3_000_000


def test_judging_twice_is_the_same_and_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    run_dir = golden.unpack(ONE, tmp_path)
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    assert golden.answers(run_dir) == golden.answers(run_dir)
    assert {name: (run_dir / name).read_bytes() for name in before} == before


WORDS = {"PASS": "PASSED", "FAIL": "FAILED", "INCONCLUSIVE": "ERROR"}


@pytest.mark.parametrize(
    ("name", "status"),
    [(ONE, 0), ("v1-queue-burst", 0), ("fail-node-left-cordoned", 1), ("inconclusive-fault-absent", 20)],
)
def test_pytests_replay_gives_the_same_answers_as_the_run_did(name: str, status: int, tmp_path: Path) -> None:
    run_dir = golden.unpack(name, tmp_path / "runs")
    options = ["-m", "gameday", f"--gameday-replay={run_dir}", "-p", "no:cacheprovider", "-rA"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("GAMEDAY_", "PYTEST_"))}
    done = call([sys.executable, "-m", "pytest", *options, "experiments"], cwd=PROJECT_DIR, env=environ)
    assert done.returncode == status, done.stdout + done.stderr
    stored = json.loads(golden.verdicts_file(name).read_text())["verdicts"]
    items = {v["assertion"]: f"{WORDS[v['outcome']]} experiments/test_gameday.py" for v in stored}
    for assertion, item in items.items():
        assert f"{item}::test_assertion_holds[{run_dir.name}:{assertion}]" in done.stdout


def test_the_command_stores_the_same_answers_byte_for_byte(tmp_path: Path) -> None:
    run_dir = golden.unpack("inconclusive-fault-absent", tmp_path)
    done = call([sys.executable, "-m", "harness.cli", "report", str(run_dir)])
    assert done.returncode == 20, done.stderr
    assert (run_dir / "verdicts.json").read_bytes() == golden.verdicts_file("inconclusive-fault-absent").read_bytes()


# Older versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["metrics-blackout", "gpu-exhaustion", "fail-node-left-cordoned"])
def test_a_record_of_version_1_gets_the_answers_that_it_gets_as_a_later_one(name: str, tmp_path: Path) -> None:
    run_dir = golden.unpack(name, tmp_path)
    wanted = load_record(run_dir).timeline
    golden.as_version_1(run_dir)
    old = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    assert load_record(run_dir).timeline == wanted
    assert golden.answers(run_dir) == golden.verdicts_file(name).read_bytes()
    assert {file: (run_dir / file).read_bytes() for file in old} == old, "a stored record is never rewritten"


def test_a_newer_record_is_one_clear_error(tmp_path: Path) -> None:
    run_dir = golden.unpack(ONE, tmp_path)
    header = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps({**header, "schema": "gameday.record/99"}))
    done = call([sys.executable, "-m", "harness.cli", "report", str(run_dir)])
    assert done.returncode == 4
    assert "gameday.record/99" in done.stderr and "Traceback" not in done.stderr


def test_archives_hold_records_only() -> None:
    for name in golden.names():
        with zipfile.ZipFile(golden.GOLDEN_DIR / f"{name}.zip") as archive:
            assert not [entry for entry in archive.namelist() if entry.endswith((".html", "verdicts.json"))]
