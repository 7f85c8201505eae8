"""Game days against the in-memory twin, through pytest: outcomes, exit statuses, xdist, replay."""

import json

import pytest

REHEARSE = ("-m", "gameday", "--gameday-rehearse", "--gameday-seed", "7", "-k", "pod-kill-under-burst")


def latest(project):
    return (project.path / "runs" / "latest").resolve()


def test_a_rehearsed_game_day_passes_item_by_item_and_leaves_its_reports(project):
    result = project.runpytest_subprocess(*REHEARSE)
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "deselected"}, result.stdout.str()
    assert outcomes["passed"] == 5
    assert result.ret == 0
    for name in ("report.html", "junit.xml", "summary.json", "brief.md", "verdicts.json"):
        assert (latest(project) / name).stat().st_size > 100
    expected = "gameday: 1 experiment, about * min of simulated time"
    result.stdout.fnmatch_lines(["gameday: rehearsal, seed 7*", expected, "*everything held*"])


def test_the_run_happens_once_for_all_its_items_also_over_xdist(project):
    result = project.runpytest_subprocess(*REHEARSE, "-n", "2")
    assert result.ret == 0, result.stdout.str()
    assert len(list((project.path / "runs").glob("2*"))) == 1


def test_a_stored_run_is_judged_again_with_the_same_verdicts(project):
    assert project.runpytest_subprocess(*REHEARSE).ret == 0
    before = json.loads((latest(project) / "verdicts.json").read_text())
    result = project.runpytest_subprocess("-m", "gameday", "--gameday-replay", "latest")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("gameday: * min of *")
    assert result.parseoutcomes()["passed"] == 5
    assert json.loads((latest(project) / "verdicts.json").read_text()) == before


def test_replay_of_a_run_that_is_not_there_is_exit_4(project):
    result = project.runpytest_subprocess("-m", "gameday", "--gameday-replay", "nosuch")
    assert result.ret == 4
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_x_hides_no_verdict_of_the_same_run(project, monkeypatch):
    monkeypatch.setenv("GAMEDAY_TWIN", '{"pdb_missing": true}')
    result = project.runpytest_subprocess(*REHEARSE, "-x")
    assert result.parseoutcomes()["errors"] == 1  # the first item is inconclusive, -x ends the session there
    assert result.ret == 1, result.stdout.str()  # and the budget that is missing is still a failure


@pytest.mark.parametrize(
    ("switches", "outcomes", "status"),
    [
        ({"hpa_missing": True}, {"failed": 1, "errors": 4}, 1),
        ({"load_ratio": 0.5}, {"errors": 4, "passed": 1}, 20),
        ({"store_down_s": 90.0}, {"errors": 2, "passed": 3}, 20),
        ({"fault_absent": True}, {"errors": 4, "passed": 1}, 20),
        ({"undo_fails": True}, {"failed": 1, "passed": 4}, 1),
    ],
)
def test_what_goes_wrong_shows_in_the_right_items(project, monkeypatch, switches, outcomes, status):
    monkeypatch.setenv("GAMEDAY_TWIN", json.dumps(switches))
    result = project.runpytest_subprocess(*REHEARSE)
    found = {k: v for k, v in result.parseoutcomes().items() if k in {"passed", "failed", "errors"}}
    assert (found, result.ret) == (outcomes, status), result.stdout.str()


def test_a_node_that_an_undo_leaves_cordoned_fails_the_node_and_what_is_restored(project, monkeypatch):
    monkeypatch.setenv("GAMEDAY_TWIN", json.dumps({"undo_partial": True}))
    result = project.runpytest_subprocess(*REHEARSE[:-1], "node-drain-under-burst")
    assert result.ret == 1, result.stdout.str()
    found = {k: v for k, v in result.parseoutcomes().items() if k in {"passed", "failed", "errors"}}
    assert found == {"failed": 2, "passed": 6}
    result.stdout.fnmatch_lines(["*Node/general-2*"])


DYING_CONDUCTOR = """
from harness import plugin_runs
from harness.client import RunClient, RunEnd


class DyingClient:
    def __init__(self, job, show):
        self._client = None if "queue-burst" in job.experiment else RunClient(job, show)

    def wait(self):
        return self._client.wait() if self._client else RunEnd(3, None, "the conductor ended and said nothing")


plugin_runs.RunClient = DyingClient
"""


@pytest.mark.parametrize("also", ["", "pod-kill-under-burst or "], ids=["alone", "beside a run that held"])
def test_an_experiment_without_a_record_is_never_hidden_by_one_that_held(project, also):
    (project.path / "conftest.py").write_text(DYING_CONDUCTOR)
    options = (*REHEARSE[:-1], f"{also}(queue-burst and restored)")
    result = project.runpytest_subprocess(*options)
    assert result.ret == 3, result.stdout.str()
    assert result.parseoutcomes()["errors"] == 1


def test_a_failing_test_of_ones_own_beside_a_run_that_held_is_not_0(project):
    project.makepyfile(
        test_own="import pytest\n\n\n@pytest.mark.gameday\ndef test_own_pod_kill_under_burst():\n    assert False\n"
    )
    result = project.runpytest_subprocess(*REHEARSE[:-1], "pod-kill-under-burst or own")
    assert result.ret == 1, result.stdout.str()


FAILING_VIEW = """
from harness import plugin_runs


class FailingClient:
    def __init__(self, job, show):
        with open("started.txt", "a") as log:
            log.write("x")

    def wait(self):
        raise ZeroDivisionError("an exception that is not ours")


plugin_runs.RunClient = FailingClient
"""


def test_an_unexpected_exception_never_starts_the_game_day_again_for_the_next_item(project):
    (project.path / "conftest.py").write_text(FAILING_VIEW)
    result = project.runpytest_subprocess(*REHEARSE)
    assert result.ret == 3, result.stdout.str()
    assert result.parseoutcomes()["errors"] == 5
    assert (project.path / "started.txt").read_text() == "x"


def test_a_control_run_comes_first_and_its_items_are_those_of_the_run_with_faults(project):
    result = project.runpytest_subprocess(*REHEARSE, "--gameday-control")
    assert (result.ret, result.parseoutcomes()["passed"]) == (0, 5), result.stdout.str()
    runs = [folder for folder in (project.path / "runs").glob("2*") if folder.is_dir()]
    assert sorted("-control-" in folder.name for folder in runs) == [False, True]
    assert "-control-" not in latest(project).name
    assert "effect" in json.loads((latest(project) / "summary.json").read_text())


def test_a_control_run_does_not_go_with_a_replay(project):
    result = project.runpytest_subprocess("-m", "gameday", "--gameday-replay", "latest", "--gameday-control")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--gameday-control makes a run*leave one out*"])
