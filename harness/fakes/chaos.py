"""The simulated chaos runner: the faults' own code, step by step by the schedule, in this process. No Chaos Toolkit.

As in the real driver, a fault is due by the schedule whatever the one before it took, and after a failed fault no
further one is started.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.fakes.clock import FakeClock
from harness.model.errors import GameDayError
from harness.model.experiment import Experiment
from harness.model.fault import FaultPlan
from harness.model.target import Target
from harness.ports import ClusterActor, MetricsSource, Observation, PermitOffice, UndoLedger


@dataclass(frozen=True)
class RunIdentity:
    """Whose faults these are."""

    run_id: str
    seed: int
    target: Target | None = None


class FakeChaos:
    """A `ChaosDriver` that runs FAULTS against the twin's actor."""

    def __init__(
        self,
        actor: ClusterActor,
        ledger: UndoLedger,
        clock: FakeClock,
        run: RunIdentity,
        metrics: MetricsSource | None = None,
    ) -> None:
        self._metrics = metrics
        self._actor, self._ledger, self._clock, self._run = actor, ledger, clock, run
        self._news: list[Observation] = []
        self._steps: Iterator[float] = iter(())
        self._wake_s = 0.0
        self._running = False
        self._stopping = ""
        self._failure = ""

    def start(self, experiment: Experiment, office: PermitOffice) -> None:
        """Start the method; second 0 of its schedule is now."""
        from experiments.faults.context import FaultContext  # noqa: PLC0415 - faults are fetched only when they run

        context = FaultContext(
            run_id=self._run.run_id,
            seed=self._run.seed,
            actor=self._actor,
            ledger=self._ledger,
            clock=self._clock,
            permit=office.permit,
            emit=self._news.append,
            terminate_pods=self._actor.terminate_pods,
            stopping=lambda: self._stopping,
            started_s=self._clock.now_s(),
            target=self._run.target,
            metrics=self._metrics,
        )
        self._steps = self._method(experiment.faults, context)
        self._wake_s, self._running = self._clock.now_s(), True

    def _method(self, plans: Sequence[FaultPlan], context: Any) -> Iterator[float]:
        from experiments.faults.registry import FAULTS  # noqa: PLC0415 - as above

        for plan in plans:
            yield max(0.0, context.started_s + plan.at_s - self._clock.now_s())
            if self._stopping:
                return
            try:
                yield from FAULTS[plan.action].steps(context, plan)
            except GameDayError as error:
                self._failure = str(error)
                return

    def poll(self) -> Sequence[Observation]:
        """Go on as far as time has come, and return what is new."""
        while self._running and self._clock.now_s() >= self._wake_s:
            self._advance()
        news = list(self._news)
        self._news.clear()
        return news

    def _advance(self) -> None:
        try:
            self._wake_s = self._clock.now_s() + next(self._steps)
        except StopIteration:
            self._running = False

    @property
    def running(self) -> bool:
        """Tell whether the method still runs."""
        return self._running

    @property
    def failure(self) -> str:
        """Return why the method ended badly."""
        return self._failure

    def stop(self) -> None:
        """Start no further fault and let the one that runs end."""
        self._stopping = self._stopping or "the run is stopping"
        while self._running:
            self._advance()
