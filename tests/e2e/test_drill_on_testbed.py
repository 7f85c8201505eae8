"""Drills of scripted people on a whole local testbed, with real alerts: from the command to the debrief.

One by default, for they take minutes; ``GAMEDAY_DRILLS`` names others, with spaces between (`make drills`: all four).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.drill.journal import read_drill
from harness.model.drill import DrillEnd, Mark, seal_of
from harness.registries import PROJECT_DIR

pytestmark = [pytest.mark.testbed, pytest.mark.e2e]

DRILLS = os.environ.get("GAMEDAY_DRILLS", "gpu-shortage").split()
LIMIT_S = 1500.0
"""With the programs of alerting to be built first, where they are not."""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="gd"))  # short, for the supervisor's unix socket
    yield made
    shutil.rmtree(made)


def hold(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = PROJECT_DIR / "experiments" / "participants" / f"{name}.yaml"
    command = [
        sys.executable, "-m", "harness.cli", "drill", name, "--target", "local", "--with-testbed", "--allow-changes",
        "--limit", "6m", "--seed", "7", "--script", str(script), "--runs-dir", str(folder / "runs"),
    ]  # fmt: skip
    environ = os.environ | {"GAMEDAY_STATE_DIR": str(folder / "state")}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_is_held_paged_mitigated_and_debriefed(name: str, folder: Path) -> None:
    done = hold(name, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (held,) = (folder / "runs" / "drills").glob("2*")
    told = read_drill(held)
    assert told.end is not None
    assert told.end.detail["end"] == DrillEnd.MITIGATED
    assert set(told.marks) == set(Mark)
    (revealed,) = told.of("revealed")
    assert revealed.detail["experiment"] == name
    hidden = {key: revealed.detail[key] for key in ("experiment", "fault")}
    assert seal_of(hidden, revealed.detail["nonce"]) == told.opened()["seal"]
    keep_quiet(done.stdout.split("revealed")[0], revealed.detail)
    debrief: dict[str, Any] = json.loads((held / "debrief.json").read_text())
    assert debrief["drill_id"] == held.name
    assert (held / "debrief.html").stat().st_size > 0
    assert not list((held / "sealed").rglob("run.json")), "the run's record is still sealed"
    (run,) = (folder / "runs").glob("2*")
    assert json.loads((run / "run.json").read_text())["ending"] == "completed"
    pages = [entry.detail["alert"] for entry in told.of("page") if entry.detail["state"] == "firing"]
    assert pages, "nobody was paged"


def keep_quiet(before_the_reveal: str, revealed: Mapping[str, Any]) -> None:
    """What people could read until then names neither the fault nor what it was."""
    assert revealed["fault"] not in before_the_reveal
    assert revealed["answer"] not in before_the_reveal
