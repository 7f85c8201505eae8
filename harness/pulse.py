"""The pulse of a run: polls every driver, numbers what they saw, and says when the run must stop.

The only place that appends to the journal. Must not decide what a phase does (`conductor`) nor judge anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.live_guard import LiveGuard
from harness.model.errors import Aborted, PortError, Stopped
from harness.model.experiment import Experiment
from harness.model.fault import Effect
from harness.model.target import Target
from harness.model.timeline import Event
from harness.ports import Drivers, Observation, Permit, Victims

TICK_S = 0.25
"""How often drivers are polled: well under the shortest limit that is judged (1 s)."""

SAMPLE_EVERY_S = 2.0
STEADY_STATE = "steady_state"
"""What a sample of it is called: 1 where it holds, 0 where not, None where nobody can tell."""

LIVE_SIGNALS = ("queue_oldest_task_age_seconds", "queue_depth")


class Journal(Protocol):
    """Where numbered events go (`harness.store` implements it)."""

    def append(self, event: Event) -> None:
        """Store one event; it is on disk when this returns."""
        ...


class StopFlag:
    """A stop request. Set once; later requests change nothing, so they never cut an undo short."""

    def __init__(self) -> None:
        self.reason = ""
        self.enough = ""

    def request(self, reason: str) -> None:
        """Ask the run to stop."""
        self.reason = self.reason or reason

    def suffice(self, reason: str) -> None:
        """Say that the faults were held long enough: no stop, the run goes on to its recovery."""
        self.enough = self.enough or reason

    def __bool__(self) -> bool:
        """Tell whether a stop was asked for."""
        return bool(self.reason)


class Pulse:
    """One run's heartbeat; also the office that grants faults.

    Attributes:
        permits_open: Whether faults may start at all; the conductor opens it with the burst gate.
        load_lost: Why the load is lost, or empty.
        proven_s: When each fault's evidence came, by its name.
        failed: Faults that could not be carried out or have no proof that they bit.
        steady_state: Tells whether the steady state holds, and why not; asked only in a drill and where the live guard
            has a limit for it.
    """

    def __init__(
        self,
        experiment: Experiment,
        target: Target,
        drivers: Drivers,
        journal: Journal,
        stop: StopFlag,
        live: Callable[[Event], None],
        objection: Callable[[str, Victims], str] = lambda fault, victims: "",
    ) -> None:
        """Begin; polls nothing yet.

        Args:
            experiment: What is run.
            target: On what.
            drivers: What is polled.
            journal: Where events go.
            stop: The stop request.
            live: Told of each event.
            objection: Says why a fault must not hit these victims (the guard), or nothing.
        """
        self._live_guard = LiveGuard(experiment.abort) if experiment.abort else None
        self.steady_state: Callable[[], tuple[bool | None, str]] = lambda: (None, "nobody can tell")
        self._steady: bool | None = None
        self._steady_asked_s = -SAMPLE_EVERY_S
        self._objection = objection
        self._experiment = experiment
        self._target = target
        self._drivers = drivers
        self._journal = journal
        self._stop = stop
        self._live = live
        self._seq = 0
        self._sampled_s = -SAMPLE_EVERY_S
        self.permits_open = False
        self.load_lost = ""
        self.proven_s: dict[str, float] = {}
        self.failed: set[str] = set()

    @property
    def enough(self) -> bool:
        """Tell whether the faults were held long enough, whatever the experiment's file says."""
        return bool(self._stop.enough)

    @property
    def now_s(self) -> float:
        """Seconds since the run's origin."""
        return self._drivers.clock.now_s()

    def say(self, kind: str, subject: str, detail: Mapping[str, Any] | None = None, actor: str = "harness") -> None:
        """Append an event of our own."""
        self._append(Observation(self.now_s, actor, kind, subject, detail or {}))

    def _append(self, seen: Observation) -> None:
        self._seq += 1
        event = Event(self._seq, seen.t_s, seen.actor, seen.kind, seen.subject, seen.detail)
        self._journal.append(event)
        self._live(event)
        if seen.kind == "load-edge" and seen.subject == "lost":
            self.load_lost = str(seen.detail.get("reason", "the load generator died"))
        if seen.kind == "fault":
            self._note_outcome(seen)

    def _note_outcome(self, seen: Observation) -> None:
        step = seen.detail.get("step")
        if step == "evidence" and seen.detail.get("effect") == Effect.CONFIRMED.value:
            self.proven_s[seen.subject] = seen.t_s
        elif step in {"evidence", "failed"}:
            self.failed.add(seen.subject)

    def poll(self) -> None:
        """Take in what every driver saw since the last call."""
        for driver in (self._drivers.observer, self._drivers.load, self._drivers.chaos):
            for seen in driver.poll():
                self._append(seen)

    def tick(self) -> None:
        """Poll once, sample the live view, and wait a tick.

        Raises:
            Stopped: A stop was asked for, the Lease is lost, the lever was pulled, the reaper is gone, or the run took
                too long.
            Aborted: The live guard says that the run must end.
        """
        self.poll()
        self._sample()
        self._look_after_the_platform()
        if not self._drivers.lease.held:
            self._stop.request("the Lease could not be renewed: another run may have started")
        trouble = self._drivers.safety.trouble()
        if trouble:
            self._stop.request(trouble)
        if self.now_s > self._experiment.timeout_s:
            self._stop.request(f"the experiment's timeout of {self._experiment.timeout_s:g} s passed")
        if self._stop:
            self.say("stop", "run", {"reason": self._stop.reason})
            raise Stopped(self._stop.reason)
        self._drivers.clock.sleep(TICK_S)

    def _look_after_the_platform(self) -> None:
        """Ask the live guard while faults may start or are on; it is never asked once the run takes back."""
        if self._live_guard is None or not self.permits_open:
            return
        if self._live_guard.limits.unsteady_s is not None and self.now_s >= self._steady_asked_s + SAMPLE_EVERY_S:
            self._steady, self._steady_asked_s = self.steady_state()[0], self.now_s
        reason = self._live_guard.look(self.now_s, self._drivers.load.latest(), self._steady)
        if reason:
            self.say("stop", "live guard", {"reason": reason})
            raise Aborted(reason)

    def wait_until(self, done: Callable[[], bool], limit_s: float, every_s: float = 0.0) -> bool:
        """Tick until something is so.

        Args:
            done: What is waited for.
            limit_s: Longest wait in seconds.
            every_s: How often to look, for looks that cost a request; every tick by default.

        Returns:
            Whether it came to be within the limit.

        Raises:
            Stopped: See `tick`.
        """
        deadline_s = self.now_s + limit_s
        while not done():
            if self.now_s >= deadline_s:
                return False
            self._tick_for(every_s)
        return True

    def _tick_for(self, duration_s: float) -> None:
        until_s = self.now_s + duration_s
        self.tick()
        while self.now_s < until_s:
            self.tick()

    def _sample(self) -> None:
        if self.now_s - self._sampled_s < SAMPLE_EVERY_S:
            return
        self._sampled_s = self.now_s
        if self._experiment.drilled and self.permits_open:
            well, reason = self.steady_state()
            self.say("sample", STEADY_STATE, {"value": None if well is None else float(well), "reason": reason})
        for name in LIVE_SIGNALS:
            signal = self._target.signals.get(name)
            if signal is None:
                continue
            try:
                values = self._drivers.metrics.instant(signal)
            except PortError as error:
                self.say("sample", name, {"value": None, "reason": str(error)}, actor="metrics")
                return
            for labels, value in values.items():
                self.say("sample", name, {"value": value, "labels": labels}, actor="metrics")

    def permit(self, fault: str, victims: Victims = ()) -> Permit:
        """Say whether a fault may hit these victims now; fails closed (DESIGN §3)."""
        reason = self._denial(fault, victims)
        return Permit(not reason, reason)

    def _denial(self, fault: str, victims: Victims) -> str:
        if self._stop:
            return f"a stop was asked for: {self._stop.reason}"
        if not self.permits_open:
            return "no fault may start outside the inject phase"
        if not self._drivers.lease.held:
            return "the Lease is not held"
        if self.load_lost:
            return f"the load is lost: {self.load_lost}"
        if fault not in {plan.name for plan in self._experiment.faults}:
            return f"the experiment has no fault {fault!r}"
        return self._drivers.safety.ask() or self._objection(fault, victims)
