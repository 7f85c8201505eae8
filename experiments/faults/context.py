"""What a fault works with, and how its steps are driven. No cluster client and no driver may be imported here.

A fault is a generator that yields the seconds it wants to wait: the chaos child sleeps them (`drive`), the in-memory
twin advances its simulated time instead. So the very same code runs in both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from harness.model.errors import GameDayError
from harness.model.fault import FaultPlan
from harness.model.target import Target
from harness.ports import Clock, ClusterActor, MetricsSource, Observation, Permit, UndoLedger, Victims

R = TypeVar("R")
Steps: TypeAlias = Generator[float, None, R]
"""Work that yields how many seconds to wait before it goes on."""

TerminatePods: TypeAlias = Callable[[str, Sequence[str], int], Sequence[str]]
"""``(namespace, names, grace_s) -> names that were accepted``, as `ClusterActor.terminate_pods`."""


@dataclass(eq=False)
class FaultError(GameDayError):
    """A fault that was denied, could not be carried out, or has no proof that it bit.

    Attributes:
        fault: Name of the `FaultPlan`.
        problem: What happened, in one sentence.
    """

    fault: str
    problem: str

    def __str__(self) -> str:
        """Return ``fault NAME: problem``."""
        return f"fault {self.fault}: {self.problem}"


class NotUnderGamedayError(GameDayError):
    """An action or probe was called by something else than a game day."""

    def __str__(self) -> str:
        """Return what to do instead."""
        return (
            "Gameday's actions and probes refuse to run by themselves: nothing would undo, watch or judge them. "
            "Run the experiment by `gameday run NAME`"
        )


@dataclass
class FaultContext:
    """What a fault works with during one run.

    Attributes:
        run_id: The run.
        seed: Seed of the run.
        actor: What may be done to the cluster.
        ledger: Where the undo is written down before the deed.
        clock: The run's clock.
        permit: Asks the conductor whether a fault (by name) may hit its victims now; must fail closed.
        emit: Sends an observation to the conductor, which alone numbers it.
        terminate_pods: Kills pods abruptly by name (chaosk8s' function in a real run).
        stopping: Returns why no further step may be taken, or an empty string.
        started_s: When the method started; `FaultPlan.at_s` counts from here.
        plan: The fault whose action is being called, or None between actions.
        target: The run's target: its kind, its helper image, its commands.
        metrics: The metrics store, for faults whose proof is a counter; None where it cannot be asked.
    """

    run_id: str
    seed: int
    actor: ClusterActor
    ledger: UndoLedger
    clock: Clock
    permit: Callable[[str, Victims], Permit]
    emit: Callable[[Observation], None]
    terminate_pods: TerminatePods
    stopping: Callable[[], str] = lambda: ""
    started_s: float = 0.0
    plan: FaultPlan | None = None
    target: Target | None = None
    metrics: MetricsSource | None = None

    def tell(self, fault: FaultPlan, step: str, **detail: Any) -> None:
        """Emit one step of a fault (kind ``fault``, see `harness.model.timeline`)."""
        said = {"step": step, "action": fault.action, "loss": fault.loss.value, **detail}
        self.emit(Observation(self.clock.now_s(), "chaos", "fault", fault.name, said))

    def note(self, subject: str, message: str) -> None:
        """Emit a remark that nothing is judged by."""
        self.emit(Observation(self.clock.now_s(), "chaos", "note", subject, {"message": message}))


_bound: list[FaultContext] = []


@contextmanager
def bound(context: FaultContext) -> Iterator[None]:
    """Let the actions of this process work with a context."""
    _bound.append(context)
    try:
        yield
    finally:
        _bound.remove(context)


def current(action: str) -> tuple[FaultContext, FaultPlan]:
    """Return the context, and the plan of the activity that is being run.

    Args:
        action: Name of the action that asks.

    Raises:
        NotUnderGamedayError: There is no game day in this process, or it did not announce this activity.
    """
    if not _bound or _bound[-1].plan is None or _bound[-1].plan.action != action:
        raise NotUnderGamedayError
    return _bound[-1], _bound[-1].plan


def drive(steps: Steps[R], clock: Clock) -> R:
    """Run steps to their end, waiting on a clock."""
    while True:
        try:
            wait_s = next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
        clock.sleep(wait_s)
