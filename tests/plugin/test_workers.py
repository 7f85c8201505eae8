"""Workers of xdist: they never run two game days at a time (CASES E01, E06), and may die in one (CASES E09)."""

import pytest

DYING_WORKER = """
import os
from pathlib import Path

from harness.plugin_runs import PluginRuns


def die(self, experiment):
    with Path("started.txt").open("a") as file:
        file.write(experiment + chr(10))
    os._exit(1)


PluginRuns._run = die
"""
LOGGING_CLIENT = """
import os
import time
from pathlib import Path

from harness import plugin_runs
from harness.client import RunEnd


class LoggingClient:
    def __init__(self, job, show):
        self._log("start")

    def _log(self, what):
        with Path("log.txt").open("a") as file:
            file.write(what + " " + os.environ["PYTEST_XDIST_WORKER"] + chr(10))

    def wait(self):
        time.sleep(2.0)
        self._log("end")
        return RunEnd(20, None, "there is no run")


plugin_runs.RunClient = LoggingClient
"""
REHEARSE = ("-m", "gameday", "--gameday-rehearse", "--gameday-seed", "7", "-k", "pod-kill-under-burst", "-n", "2")


@pytest.mark.parametrize(("more", "starts"), [((), 1), (("--max-worker-restart", "1"), 2)])
def test_a_game_day_whose_worker_died_is_not_started_again_unless_that_is_asked_for_e09(project, more, starts):
    project.makeconftest(DYING_WORKER)
    result = project.runpytest_subprocess(*REHEARSE, *more, timeout=60)
    assert result.ret == 3, result.stdout.str()
    assert (project.path / "started.txt").read_text().splitlines() == ["pod-kill-under-burst"] * starts


def test_workers_of_one_session_take_turns_e01_e06(project):
    project.makeconftest(LOGGING_CLIENT)
    both = ("-k", "pod-kill-under-burst or queue-burst")
    result = project.runpytest_subprocess(*REHEARSE, *both, timeout=60)
    assert result.ret == 20, result.stdout.str()
    first, first_end, second, second_end = (project.path / "log.txt").read_text().splitlines()
    assert (first.replace("start", "end"), second.replace("start", "end")) == (first_end, second_end)
    assert {first, second} == {"start gw0", "start gw1"}
