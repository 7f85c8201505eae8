"""Waiting for something to become true, for a limited time, while the programs it depends on live."""

import time
from collections.abc import Callable, Iterable

from testbed.controlplane.errors import OperatorError

_LOOK_EVERY_S = 0.1
_CHECK_PROGRAMS_EVERY = 5


def wait_until(
    what: str,
    true: Callable[[], bool],
    *,
    timeout_s: float,
    fault: Callable[[], str | None],
    explain: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Wait until `true()`; return the seconds that it took.

    Args:
        what: what is waited for, for the message.
        true: looked at ten times a second.
        timeout_s: how long to wait at most.
        fault: why waiting is in vain (a program died); None while it is not.
        explain: what to say when time is up.
        clock: seconds that only grow.
        sleep: waits for so many seconds.

    Raises:
        OperatorError: a program died, or time is up.
    """
    start_s = clock()
    look = 0
    while not true():
        if look % _CHECK_PROGRAMS_EVERY == 0 and (died := fault()):
            raise OperatorError(died)
        if clock() - start_s > timeout_s:
            raise OperatorError(f"{what}: not within {timeout_s:.0f} s. {explain()}".rstrip())
        look += 1
        sleep(_LOOK_EVERY_S)
    return clock() - start_s


def first_fault(faults: Iterable[str | None]) -> str | None:
    """Return the first that is one."""
    return next((found for found in faults if found), None)
