"""Counters of the target's query pack as a proof: what they said before the deed, and by how much they rose since."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from experiments.faults.context import FaultContext
from harness.model.errors import PortError
from harness.model.signal import increase
from harness.model.target import Target
from harness.model.time import Window

QUIET_S = 60.0
"""How long a counter must have stood still for its rise to be a fault's doing."""

Readings = Mapping[str, float]
"""Values by readable labels."""


def doubts(target: Target | None, signal: str) -> tuple[str, ...]:
    """Say beforehand what would leave a fault without its proof.

    Args:
        target: The target, if it is known.
        signal: Name of the counter in its query pack.
    """
    if target is not None and signal not in target.signals:
        return (f"it cannot be proven: the target's query pack has no signal {signal}",)
    if target is not None and (target.prometheus_token_env or target.prometheus_password_env):
        return ("it cannot be proven: faults are not given the credentials of the metrics store",)
    return ()


def reading(context: FaultContext, signal: str, mine: Callable[[str], bool]) -> Readings | str:
    """Return what a counter says now, or why it can prove nothing.

    Args:
        context: What the fault works with.
        signal: Name of the counter in the query pack.
        mine: Tells by its labels whether a series counts.
    """
    if context.metrics is None:
        return "no metrics source proves it"
    if context.target is None or signal not in context.target.signals:
        return f"no metrics source proves it: the target's query pack has no signal {signal}"
    try:
        return present(context, signal, mine)
    except PortError as error:
        return f"no metrics source proves it: {error}"


def present(context: FaultContext, signal: str, mine: Callable[[str], bool]) -> Readings:
    """Return what a counter says now, where `reading` has found that it can be asked.

    Raises:
        PortError: It cannot be asked now.
    """
    if context.metrics is None or context.target is None:
        raise AssertionError("unreachable: `reading` looked")
    found = context.metrics.instant(context.target.signals[signal])
    return {labels: value for labels, value in found.items() if mine(labels)}


def restless(context: FaultContext, signal: str) -> str:
    """Say that a counter rises without the fault's doing, or that this cannot be told; empty where it stood still.

    A platform that is short of something counts the same errors as one that a fault has cut off.

    Args:
        context: What the fault works with.
        signal: Name of the counter, which `reading` has found.
    """
    if context.metrics is None or context.target is None:
        raise AssertionError("unreachable: `reading` looked")
    now_s = context.clock.now_s()
    window = Window(now_s - QUIET_S, now_s)
    found = context.metrics.harvest([context.target.signals[signal]], window)
    if problem := found.problem(signal):
        return f"whether it stood still before cannot be told: {problem}"
    rose = increase(found.series(signal), window)
    if not rose:
        return ""
    return f"{signal} rose by {rose:g} in the {QUIET_S:.0f} s before the change: that it goes on rising proves nothing"


def next_scrape_s(context: FaultContext) -> float:
    """Return how long until what was counted last is in the store: it must not be taken for a fault's own."""
    return 1.5 * context.target.scrape_interval_s if context.target is not None else 0.0


def rise(before: Readings, after: Readings) -> float:
    """Return by how much a counter rose between two readings; a series that fell, or is new, began from 0."""
    return sum(value - (before.get(labels, 0.0) if value >= before.get(labels, 0.0) else 0.0)
               for labels, value in after.items())  # fmt: skip
