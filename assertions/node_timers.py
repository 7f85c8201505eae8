"""When an autoscaler of nodes may remove a node, and by when it must have: its timers, as its flags say. Pure.

Source: Cluster Autoscaler, FAQ, "How does scale-down work?" and "What are the parameters to CA?". The timers run beside
each other: a node must have been unneeded for long enough, and nodes come or gone, or a failure, be long enough ago. So
the last of them decides, and nobody may say before it that a node stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.model.time import parse_duration_s

UNNEEDED, UNREADY, SCAN = "scale-down-unneeded-time", "scale-down-unready-time", "scan-interval"
AFTER_ADD, AFTER_DELETE = "scale-down-delay-after-add", "scale-down-delay-after-delete"
AFTER_FAILURE, ENABLED = "scale-down-delay-after-failure", "scale-down-enabled"
UP_DELAY = "new-pod-scale-up-delay"
DEFAULTS: Mapping[str, str] = {
    UNNEEDED: "10m",
    UNREADY: "20m",
    AFTER_ADD: "10m",
    AFTER_DELETE: "0s",
    AFTER_FAILURE: "3m",
    SCAN: "10s",
    UP_DELAY: "0s",
}
"""Of the Cluster Autoscaler; a delay after a deletion that is 0 means its scan interval, which is added anyhow."""


@dataclass(frozen=True, slots=True)
class Timers:
    """The timers of a scale-down, in seconds, and where they come from.

    Attributes:
        flags: Flags as written, those of the experiment file before those of the autoscaler.
        known: Whether anybody said them; else they are the defaults, which a managed autoscaler may not have.
    """

    flags: Mapping[str, str]
    known: bool

    def of_s(self, flag: str) -> float:
        """Return a timer; its default where nobody wrote it, or wrote what is no duration."""
        try:
            return parse_duration_s(self.flags.get(flag) or DEFAULTS[flag])
        except ValueError:
            return parse_duration_s(DEFAULTS[flag])

    def is_off(self, flag: str) -> bool:
        """Tell whether a switch is off; every switch that is asked for is on by default."""
        return self.flags.get(flag, "true").lower() in {"false", "0", "f"}

    def told(self) -> str:
        """Return the timers in a line."""
        source = "its flags" if self.known else "its defaults, for its flags are not known"
        shown = (UNNEEDED, UNREADY, AFTER_ADD, AFTER_DELETE, AFTER_FAILURE, SCAN)
        return f"timers by {source}: " + ", ".join(f"{flag} {self.of_s(flag):g} s" for flag in shown)


@dataclass(frozen=True, slots=True)
class Held:
    """What holds a scale-down up, as instants of the run.

    Attributes:
        calm_s: The demand had ended: no node is expected to go before.
        unneeded_s: Since when enough nodes are unneeded; None where the autoscaler never thought so.
        unready: Whether those nodes are not Ready, which has a timer of its own.
        added_s: Nodes came.
        deleted_s: Nodes went, before the one that is waited for.
        failed_s: Removals failed.
    """

    calm_s: float
    unneeded_s: float | None = None
    unready: bool = False
    added_s: Sequence[float] = ()
    deleted_s: Sequence[float] = ()
    failed_s: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """The budget of a scale-down.

    Attributes:
        due_s: The first instant at which the autoscaler may remove the node.
        deadline_s: The instant by which it must be gone.
        rule: Which timer decided.
    """

    due_s: float
    deadline_s: float
    rule: str


def budget(timers: Timers, held: Held, within_s: float) -> Budget:
    """Return the budget of a scale-down; ``within_s`` is what draining and deleting may take once it is due."""
    timer = UNREADY if held.unready else UNNEEDED
    since_s = held.calm_s if held.unneeded_s is None else held.unneeded_s
    ends = [(held.calm_s, "the end of the demand"), (since_s + timers.of_s(timer), timer)]
    for flag, instants in ((AFTER_ADD, held.added_s), (AFTER_DELETE, held.deleted_s), (AFTER_FAILURE, held.failed_s)):
        ends += [(t_s + timers.of_s(flag), flag) for t_s in instants]
    end_s, rule = max(ends, key=lambda end: end[0])
    due_s = end_s + timers.of_s(SCAN)
    return Budget(due_s, due_s + within_s, f"{rule} + {SCAN}")
