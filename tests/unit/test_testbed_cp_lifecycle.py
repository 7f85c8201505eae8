"""Clean-up of a failed `up`."""

import os
import signal

import pytest

from testbed.controlplane.lifecycle import _deaf


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_cut_a_clean_up_short_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    done = []
    with _deaf():
        os.kill(os.getpid(), number)
        done.append("cleared")
    assert done == ["cleared"]
    assert signal.getsignal(number) == before
