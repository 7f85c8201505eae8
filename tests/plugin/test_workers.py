"""Workers of xdist that die in a game day (CASES E09)."""

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
REHEARSE = ("-m", "gameday", "--gameday-rehearse", "--gameday-seed", "7", "-k", "pod-kill-under-burst", "-n", "2")


@pytest.mark.parametrize(("more", "starts"), [((), 1), (("--max-worker-restart", "1"), 2)])
def test_a_game_day_whose_worker_died_is_not_started_again_unless_that_is_asked_for_e09(project, more, starts):
    project.makeconftest(DYING_WORKER)
    result = project.runpytest_subprocess(*REHEARSE, *more, timeout=60)
    assert result.ret not in {0, 5}, result.stdout.str()
    assert (project.path / "started.txt").read_text().splitlines() == ["pod-kill-under-burst"] * starts
