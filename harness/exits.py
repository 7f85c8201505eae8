"""Exit statuses and their order (DESIGN §3). Values only."""

from __future__ import annotations

from collections.abc import Iterable

HELD = 0
BROKEN = 1
STOPPED = 2
CRASHED = 3
USAGE = 4
INCONCLUSIVE = 20

_ORDER = (CRASHED, STOPPED, BROKEN, USAGE, INCONCLUSIVE, HELD)

MEANING = {
    HELD: "everything held",
    BROKEN: "something is broken",
    STOPPED: "stopped, report written",
    CRASHED: "an exception that is not ours",
    USAGE: "usage, bad file, nothing selected, or identity refused",
    INCONCLUSIVE: "nothing broken, but something could not be told",
}


def worst(statuses: Iterable[int]) -> int:
    """Return the status of several runs: the first of 3, 2, 1, 4, 20 that occurs; none at all is 4."""
    found = set(statuses)
    return next((status for status in _ORDER if status in found), USAGE if not found else CRASHED)
