"""The command `drill`: a name is an experiment, every refusal is one line with its exit status."""

from pathlib import Path

import pytest

from harness import cli
from harness.drill.folders import sole_drill
from harness.drill.journal import Journal

END = {"end": "mitigated", "reason": "marked", "run_dir": "", "exit_status": 0}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["drill", *arguments])
    return int(ended.value.code or 0)


def held(runs: Path, *, over: bool) -> Path:
    folder = runs / "drills" / "20261128-1100-7f3a"
    folder.mkdir(parents=True)
    journal = Journal(folder, environ={})
    journal.append(("opened", "drill", {"drill_id": folder.name, "target": "local", "seal": "x"}))
    if over:
        journal.append(("ended", "drill", END))
    return folder


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("nothing", "--rehearse"), 4, "there is no such experiment file"),
        (("queue-burst", "--rehearse"), 4, "queue-burst is no drill"),
        (("gpu-shortage", "--rehearse", "--limit", "soon"), 4, "'soon' is not a duration"),
        (("gpu-shortage", "--rehearse", "--limit", "0s"), 4, "0 s leaves no time"),
        (("gpu-shortage", "--rehearse", "--fault", "zebra"), 4, "no drill has a fault 'zebra'"),
        (("gpu-shortage", "--rehearse", "--with-testbed"), 4, "it is for --target local only"),
        (("gpu-shortage", "--target", "nowhere"), 4, "no target 'nowhere'"),
        (("gpu-shortage", "--rehearse", "--port", "70000"), 4, "70000 is not in the range"),
        (("debrief", "zebra"), 20, "there is no drill 'zebra'"),
        (("stop", "--target", "local"), 20, "no drill runs on local from here"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], status: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--runs-dir", str(tmp_path)) == status
    told = capsys.readouterr()
    assert said in told.err and "Traceback" not in told.err


def test_the_help_leads_a_newcomer_to_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-h") == 0
    told = capsys.readouterr().out
    assert "drill NAME... [OPTIONS] | COMMAND" in told
    assert "drill hold -h" in told and "docs/drills.md" in told and "hold " in told
    for way in (("hold", "-h"), ("network-policy", "-h")):
        assert run(*way) == 0
        assert "--limit" in capsys.readouterr().out


def test_the_list_has_what_can_be_drilled_and_what_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = held(tmp_path, over=True)
    assert run("list", "--runs-dir", str(tmp_path)) == 0
    told = capsys.readouterr().out
    assert "gpu-shortage" in told and "queue-burst" not in told
    assert folder.name in told and "mitigated" in told and "0 of 4" in told


def test_a_drill_that_is_damaged_is_listed_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (held(tmp_path, over=True) / "journal.jsonl").write_text("zebra\n")
    assert run("list", "--runs-dir", str(tmp_path)) == 0
    assert "journal.jsonl:1" in capsys.readouterr().out


def test_one_that_still_runs_has_no_debrief_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = held(tmp_path, over=False)
    with sole_drill(tmp_path, "local") as lock:
        lock.write_text(folder.name)
        assert run("debrief", "--runs-dir", str(tmp_path)) == 20
    assert "still runs" in capsys.readouterr().err


def test_one_that_was_never_sealed_cannot_be_revealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held(tmp_path, over=False)
    assert run("debrief", "--runs-dir", str(tmp_path)) == 20
    assert "what drill 20261128-1100-7f3a hides cannot be read" in capsys.readouterr().err
