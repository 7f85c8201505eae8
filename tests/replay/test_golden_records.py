"""Golden records: stored runs, also of older versions, are judged by today's code to the byte as they always were."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from harness import store
from harness.judgement import judge_run
from harness.model.verdict import Outcome
from harness.registries import EXPERIMENTS_DIR, PROJECT_DIR
from tests.replay import golden


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", golden.names())
def test_a_golden_record_gives_the_same_verdicts_to_the_byte(tmp_path: Path, name: str) -> None:
    found = golden.answers(golden.unpack(name, tmp_path))
    told = f"the verdicts of {name} changed; `python -m tests.replay.golden {name}` prints how, and takes them over"
    assert found == golden.verdicts_file(name).read_bytes(), told


@pytest.mark.parametrize("name", golden.names())
def test_judging_writes_nothing_into_a_stored_run(tmp_path: Path, name: str) -> None:
    run_dir = golden.unpack(name, tmp_path)
    before = digests(run_dir)
    judge_run(run_dir)
    assert digests(run_dir) == before


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project's Python in its folder."""
    whole = [sys.executable, "-m", *command]
    return subprocess.run(whole, cwd=PROJECT_DIR, timeout=120, check=False, capture_output=True, text=True)


@pytest.mark.parametrize(("name", "status"), [("v1-queue-burst", 0), ("inconclusive-fault-absent", 20)])
def test_replay_through_pytest_and_through_the_command_gives_the_same_verdicts(
    tmp_path: Path, name: str, status: int
) -> None:
    run_dir = golden.unpack(name, tmp_path)
    options = ("-m", "gameday", f"--gameday-replay={run_dir}", "-p", "no:cacheprovider", "-rA")
    replayed = run("pytest", *options, "experiments/test_gameday.py")
    assert replayed.returncode == status, replayed.stdout
    assert run("harness.cli", "report", str(run_dir)).returncode in (0, status)
    found = (run_dir / "verdicts.json").read_bytes()
    assert found == golden.verdicts_file(name).read_bytes()
    for verdict in json.loads(found)["verdicts"]:
        word = {"PASS": "PASSED", "FAIL": "FAILED", "INCONCLUSIVE": "ERROR"}[verdict["outcome"]]
        assert f"{word} experiments/test_gameday.py::test_assertion_holds[{run_dir.name}:{verdict['assertion']}]" in (
            replayed.stdout
        )


def test_every_experiment_has_a_golden_record_and_so_has_every_answer(tmp_path: Path) -> None:
    made = {experiment for experiment, _ in golden.MADE.values()}
    assert made == {path.stem for path in EXPERIMENTS_DIR.glob("*.yaml")}
    assert set(golden.MADE) <= set(golden.names())
    outcomes: Counter[Outcome] = Counter()
    for name in golden.names():
        run_dir = golden.unpack(name, tmp_path / name)
        (run_dir / "verdicts.json").write_bytes(golden.verdicts_file(name).read_bytes())
        loaded = store.load_verdicts(run_dir)
        assert loaded is not None and loaded[0]
        outcomes.update(verdict.outcome for verdict in loaded[0])
    assert set(outcomes) == set(Outcome)
