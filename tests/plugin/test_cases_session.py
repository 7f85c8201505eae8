"""What a session of pytest with workers must and must not do around game days (CASES D02, E07)."""

import pytest

from tests.plugin.test_workers import LOGGING_CLIENT, REHEARSE

NOT_PATCHED = """
import sys

import kubernetes.client


def test_nothing_of_ours_brings_gevent_or_locust_into_a_worker():
    import harness.plugin_runs
    import harness.drivers.locust_driver

    assert {"gevent", "locust"}.isdisjoint(sys.modules)
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_d01_d02_neither_pytest_nor_its_workers_import_gevent(project, workers):
    project.makepyfile(test_clean=NOT_PATCHED)
    result = project.runpytest_subprocess("-n", workers, timeout=120)
    result.assert_outcomes(passed=2)
    assert result.ret == 0


@pytest.mark.parametrize(("more", "started", "status"), [(("-x",), 1, 2), (("--maxfail", "2"), 2, 2), ((), 2, 20)])
def test_e07_after_a_failure_under_x_no_worker_starts_another_game_day(project, more, started, status):
    project.makeconftest(LOGGING_CLIENT)
    both = ("-k", "pod-kill-under-burst or queue-burst")
    result = project.runpytest_subprocess(*REHEARSE, *both, *more, timeout=120)
    assert result.ret == status, result.stdout.str()
    log = (project.path / "log.txt").read_text().splitlines()
    assert sum(line.startswith("start") for line in log) == started
