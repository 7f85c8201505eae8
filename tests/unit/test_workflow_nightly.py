"""The nightly workflow: actionlint finds nothing, every experiment is in it, and a night without verdicts is none."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.controlplane.build import programs_dir
from testbed.controlplane.console import Progress
from testbed.controlplane.programs import FAMILIES
from testbed.kind import night

REPOSITORY = Path(__file__).parents[2]
WORKFLOW = REPOSITORY / ".github" / "workflows" / "nightly.yml"


def jobs() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return found


def steps(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = jobs()[job]["steps"]
    return found


def test_actionlint_finds_nothing() -> None:
    actionlint = programs_dir(FAMILIES["lint"], Progress()) / "actionlint"
    # Without the programs that it would call where they happen to be installed.
    command = [str(actionlint), "-no-color", "-shellcheck=", "-pyflakes=", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_experiment_is_in_the_matrix() -> None:
    expected = yaml.safe_load(WORKFLOW.read_text())["env"]["EXPECTED"].split()
    assert json.loads(night.plan(expected)) == sorted(expected)
    with pytest.raises(night.NightError, match=r"gone: no-such; not in the nightly's EXPECTED: .*cascade"):
        night.plan(["no-such"])


def test_whatever_ends_a_game_day_the_faults_are_taken_back_and_the_cluster_goes() -> None:
    undo = next(step for step in steps("gameday") if "kind down" in step.get("run", ""))
    assert undo["if"] == "always()" and "--recover" in undo["run"]
    assert jobs()["gameday"]["strategy"]["fail-fast"] is False
    assert yaml.safe_load(WORKFLOW.read_text())["concurrency"]["cancel-in-progress"] is False


def test_every_job_has_a_limit_and_nothing_of_the_event_reaches_a_shell_unquoted() -> None:
    for name, job in jobs().items():
        assert job["timeout-minutes"] <= 60, name
        assert not [step for step in job["steps"] if "${{" in step.get("run", "")], "values go through env"


def test_the_night_is_green_only_where_every_other_job_was() -> None:
    others, last = sorted(set(jobs()) - {"complete"}), jobs()["complete"]
    assert sorted(last["needs"]) == others
    told = next(step["env"] for step in last["steps"] if "success" in step.get("run", ""))
    assert sorted(told.values()) == [f"${{{{ needs.{job}.result }}}}" for job in others if job != "plan"]


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    summary = {"experiment": "cascade", "seed": 7, "outcome": "PASS", "verdicts": [{}], **changes}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "brief.md").write_text("# cascade\n")
    return folder


def test_tonights_run_is_told_and_last_nights_from_the_cache_is_not(tmp_path: Path) -> None:
    written(tmp_path / "latest")
    assert night.report("cascade", 7, tmp_path) == "# cascade\n"
    with pytest.raises(night.NightError, match="tonight left no run"):
        night.report("cascade", 8, tmp_path)
    with pytest.raises(night.NightError, match=r"summary\.json"):
        night.report("cascade", 7, tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"verdicts": []}, "0 verdicts"), ({"experiment": "node-loss"}, "of node-loss")],
)
def test_a_night_is_complete_only_with_a_verdict_of_every_scenario(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    written(tmp_path / "gameday-cascade" / "runs" / "latest")
    assert "| cascade | PASS | 1 |" in night.complete(["cascade"], tmp_path)
    with pytest.raises(night.NightError, match="node-drain: no summary"):
        night.complete(["cascade", "node-drain"], tmp_path)
    written(tmp_path / "other" / "gameday-cascade", **changes)
    with pytest.raises(night.NightError, match=said):
        night.complete(["cascade"], tmp_path / "other")


def test_the_command_ends_with_1_where_something_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert night.main(["complete", str(tmp_path), "cascade"]) == 1
    assert "night: cascade: no summary.json" in capsys.readouterr().err
    written(tmp_path / "latest")
    assert night.main(["report", "cascade", "--seed", "7", "--runs-dir", str(tmp_path)]) == 0
