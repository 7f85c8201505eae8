import itertools

import pytest

from harness import exits


def test_the_first_of_crashed_stopped_broken_usage_inconclusive_wins():
    order = [3, 2, 1, 4, 20, 0]
    for better, worse in itertools.combinations(reversed(order), 2):
        assert exits.worst([better, worse]) == exits.worst([worse, better]) == worse


def test_nothing_at_all_is_usage_and_an_unknown_status_is_a_crash_e05():
    assert exits.worst([]) == exits.USAGE
    assert exits.worst([77]) == exits.CRASHED


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 20])
def test_every_status_has_a_meaning(status):
    assert exits.MEANING[status]
