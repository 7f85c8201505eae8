"""The conductor: runs the phases of a game day in order and guarantees recovery on every way out.

Decides when things happen; judges nothing, knows no cluster client, no Locust, no Chaos Toolkit (all come as drivers).
Order (DESIGN §3): preflight, baseline, burst, inject, recover, settle, harvest.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from harness import guard, preflight
from harness.definitions import FaultDefinition, Probe, ProbeResult
from harness.gates import EverHeld, HeldFor
from harness.model.errors import Aborted, GameDayError, PortError, Refusal, Stopped
from harness.model.experiment import Experiment
from harness.model.facts import FACTS
from harness.model.fault import Permission
from harness.model.load import LoadPlan
from harness.model.record import Ending, LoggedRequests, no_requests
from harness.model.signal import Harvest
from harness.model.target import Target
from harness.model.time import PhaseName, Window
from harness.ports import Drivers, Victims
from harness.pulse import Journal, Pulse, StopFlag
from harness.undoing import Undoing

WARM_UP_LIMIT_S = 90.0
"""A fresh cluster has no pod metrics for its first minute (CASES F20)."""

LOOK_EVERY_S = 1.0
GATE_LIMIT_S = 15.0
GATE_HOLD_S = 3.0
QUIET_SCRAPES = 3
"""Scrapes before the first request and after the last answer, so that counters have quiescent edges (DESIGN §5)."""


class _EndedEarlyError(GameDayError):
    """A gate was missed or a finding stands in the way; nothing (more) is injected."""

    def __init__(self, ending: Ending, reason: str) -> None:
        super().__init__(reason)
        self.ending = ending
        self.reason = reason


@dataclass
class Outcome:
    """What a run left besides its events.

    Attributes:
        ending: How it ended.
        reason: Why, for every ending but ``completed``.
        harvest: What the metrics store said.
        requests: The request log, or the file that holds it.
        requests_lost: Rows known to be lost.
        fingerprint_before: State before the first change, or None.
        fingerprint_after: State after the last undo, or None.
        undo: Undo records with their outcome.
        facts: Further facts for the header.
    """

    ending: Ending = Ending.CRASHED
    reason: str = ""
    harvest: Harvest = field(default_factory=Harvest)
    requests: LoggedRequests = field(default_factory=no_requests)
    requests_lost: int = 0
    fingerprint_before: Mapping[str, Any] | None = None
    fingerprint_after: Mapping[str, Any] | None = None
    undo: tuple[Mapping[str, Any], ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


class Conductor:
    """Conducts one run of one experiment on one target."""

    def __init__(  # noqa: PLR0913 - the composition root hands in what import rules forbid to fetch
        self,
        experiment: Experiment,
        target: Target,
        drivers: Drivers,
        *,
        run_id: str,
        seed: int,
        faults: Mapping[str, FaultDefinition],
        probes: Mapping[str, Probe],
        signals: tuple[str, ...],
        permissions: tuple[Permission, ...],
        journal: Journal,
        stop: StopFlag,
        live: Callable[[Any], None] = lambda event: None,
    ) -> None:
        self._experiment = experiment
        self._target = target
        self._drivers = drivers
        self._run_id = run_id
        self._seed = seed
        self._faults = faults
        self._probes = probes
        self._signals = signals
        self._base_permissions = permissions
        self._pulse = Pulse(experiment, target, drivers, journal, stop, live, self._objection)
        self._pulse.steady_state = self._steady_state
        self._undoing = Undoing(experiment, drivers, self._pulse, run_id)
        self._taken_back = False
        self._chaos_failure = ""
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Run the game day. Never raises: every failure is an ending with its reason."""
        try:
            self._stages()
            self._end(Ending.COMPLETED, "")
        except Refusal as refusal:
            self._pulse.say("refusal", refusal.code, {"message": refusal.problem, "remedy": refusal.remedy})
            self._end(Ending.REFUSED, str(refusal))
        except Stopped as stopped:
            self._end(Ending.STOPPED, stopped.reason)
        except Aborted as aborted:
            self._end(Ending.ABORTED, f"live guard: {aborted.reason}")
        except _EndedEarlyError as ended:
            self._end(ended.ending, ended.reason)
        except PortError as error:
            self._end(Ending.ABORTED, str(error))
        except Exception as error:  # the run's last resort: the report must still be written
            trace = traceback.format_exc()
            self._pulse.say("note", "crash", {"message": f"{type(error).__name__}: {error}", "traceback": trace})
            self._end(Ending.CRASHED, f"{type(error).__name__}: {error}")
        return self.outcome

    def _end(self, ending: Ending, reason: str) -> None:
        self.outcome.ending, self.outcome.reason = ending, reason
        self._pulse.say("note", "ending", {"message": f"{ending.value}" + (f": {reason}" if reason else "")})

    def _stages(self) -> None:
        with ExitStack() as cleanup:
            cleanup.callback(self._drivers.observer.stop)
            cleanup.callback(self._release_lease)
            cleanup.callback(self._drivers.safety.stop)
            with self._phase(PhaseName.PREFLIGHT):
                self._preflight()
            cleanup.callback(self._harvest)
            cleanup.callback(self._take_back)
            self._baseline()
            self._burst()
            self._inject()
            self._take_back()
            with self._phase(PhaseName.SETTLE):
                self._settle()

    def _release_lease(self) -> None:
        self.outcome.facts["lease_released"] = self._drivers.lease.release()

    def _phase(self, name: PhaseName) -> ExitStack:
        self._pulse.say("phase", name.value, {"edge": "start"})
        edge = ExitStack()
        edge.callback(self._pulse.say, "phase", name.value, {"edge": "end"})
        return edge

    # preflight ------------------------------------------------------------------------------------------------------

    def _preflight(self) -> None:
        guard.check_plan(self._experiment, self._target)
        guard.check_hours(self._target, self._experiment, self._drivers.clock.origin_unix_s)
        observer = self._drivers.observer
        identity = observer.identify()
        guard.check_identity(self._target, identity)
        namespaces = (*self._experiment.scope.namespaces, self._target.system_namespace)
        guard.check_opt_in(self._target, {name: observer.namespace_labels(name) for name in namespaces})
        guard.check_permissions(observer.allowed(self._permissions()))
        self._drivers.safety.start()
        self._drivers.lease.acquire(self._run_id)
        guard.check_leftovers(self._drivers.ledger.open_records())
        server = self._drivers.metrics.identify()
        guard.check_clocks({"the API server": observer.skew_s(), "Prometheus": self._drivers.metrics.skew_s()})
        self.outcome.facts |= {"kubernetes": identity.server_version, "prometheus": server, "user": identity.user}
        observer.start(self._experiment.scope)
        self._warm_up()
        self._stop_on_findings()
        self._preview_faults()
        self.outcome.fingerprint_before = observer.fingerprint(self._experiment.scope)
        self._wait_scrapes()

    def _permissions(self) -> tuple[Permission, ...]:
        wanted = preflight.fault_permissions(self._experiment, self._faults)
        return tuple(dict.fromkeys((*self._base_permissions, *wanted)))

    def _facts(self) -> dict[str, Any]:
        return {kind: self._drivers.observer.current(kind) for kind in FACTS}

    def _lacks(self) -> tuple[str, ...]:
        scopes = {w.namespace for w in self._experiment.scope.workloads}
        metrics = {namespace: self._drivers.observer.pod_metrics(namespace) for namespace in scopes}
        facts = self._facts()
        found = preflight.find_all(self._experiment, facts)
        unknown = preflight.not_yet_known(self._experiment, facts) if not _hopeless(found) else ()
        return (*preflight.unready_workloads(self._experiment, facts, metrics), *unknown)

    def _warm_up(self) -> None:
        if _hopeless(preflight.find_all(self._experiment, self._facts())):
            return
        if not self._pulse.wait_until(lambda: not self._lacks(), WARM_UP_LIMIT_S, LOOK_EVERY_S):
            message = "; ".join(self._lacks()[:5])
            self._pulse.say("note", "warm-up", {"message": f"after {WARM_UP_LIMIT_S:g} s still: {message}"})

    def _stop_on_findings(self) -> None:
        found = preflight.find_all(self._experiment, self._facts())
        for finding in found:
            self._pulse.say("finding", finding.subject, finding.detail())
        if found:
            raise _EndedEarlyError(Ending.ABORTED, f"preflight: {found[0].message}; nothing was touched")
        lacks = self._lacks()
        if lacks:
            raise _EndedEarlyError(Ending.ABORTED, f"preflight: {'; '.join(lacks[:3])}; nothing was touched")

    def _preview_faults(self) -> None:
        target = self._target
        for plan in self._experiment.faults:
            preview = self._faults[plan.action].preview(self._drivers.actor, plan.arguments, self._seed, target)
            if preview.problem and preflight.chosen_when_due(self._facts(), plan.arguments):
                message = f"{preview.problem}; victims are chosen when the fault is due"
                self._pulse.say("note", f"fault {plan.name}", {"message": message})
            elif preview.problem:
                raise Refusal("targets", f"fault {plan.name}: {preview.problem}", "mend the selector or the share")
            guard.check_victims(self._objection(plan.name, preview.victims))

    def _wait_scrapes(self) -> None:
        until_s = self._pulse.now_s + QUIET_SCRAPES * self._target.scrape_interval_s
        self._pulse.wait_until(lambda: self._pulse.now_s >= until_s, limit_s=3600.0)

    # load and faults ------------------------------------------------------------------------------------------------

    def _baseline(self) -> None:
        with self._phase(PhaseName.BASELINE):
            self._drivers.load.start(self._plan())
            floor, passed = EverHeld(GATE_HOLD_S, self._at_floor), self._stage_passed("baseline")
            limit_s = self._experiment.load.duration_s + GATE_LIMIT_S

            def over() -> bool:
                floor.look(self._pulse.now_s)
                return passed()

            self._pulse.wait_until(over, limit_s)
            self._gate("baseline", *self._baseline_state(floor.seen))

    def _baseline_state(self, reached: bool) -> tuple[bool | None, str]:
        return self._steady_state() if reached else (False, f"the load never reached its floor: {self._rates()}")

    def _plan(self) -> LoadPlan:
        return LoadPlan(
            profile=self._experiment.load,
            gateway_url=self._target.gateway_url,
            seed=self._seed,
            rate_max_rps=self._target.rate_max_rps,
            loopback_only=self._target.loopback_only,
            header_names=self._target.header_names,
            options=self._experiment.load_options,
            workers=self._target.load_workers,
        )

    def _stage_passed(self, name: str) -> Callable[[], bool]:
        stages = [stage.name for stage in self._experiment.load.stages]
        later = {*stages[stages.index(name) + 1 :], "ended"} if name in stages else {"ended", *stages}

        def passed() -> bool:
            latest = self._drivers.load.latest()
            return bool(self._pulse.load_lost) or (latest is not None and latest.stage in later)

        return passed

    def _steady_state(self) -> tuple[bool | None, str]:
        results = {spec.name: self._probe(spec.probe, spec.arguments) for spec in self._experiment.probes}
        bad = [f"{name}: {result.observed}" for name, result in results.items() if result.ok is not True]
        unknown = any(result.ok is None for result in results.values())
        return (None if unknown else not bad), "; ".join(bad) or "the steady state holds"

    def _probe(self, name: str, arguments: Mapping[str, Any]) -> ProbeResult:
        try:
            return self._probes[name](**arguments)
        except PortError as error:
            return ProbeResult(None, str(error))

    def _gate(self, name: str, held: bool | None, reason: str) -> None:
        self._pulse.say("gate", name, {"ok": held, "reason": reason})
        if held is not True:
            raise _EndedEarlyError(Ending.ABORTED, f"gate {name}: {reason}; no fault was injected")

    def _burst(self) -> None:
        with self._phase(PhaseName.BURST):
            ramp_s = sum(stage.duration_s for stage in self._experiment.load.stages if stage.name == "ramp")
            self._pulse.wait_until(self._stage_passed("ramp"), ramp_s + GATE_LIMIT_S)
            reached = HeldFor(GATE_HOLD_S, self._at_floor)
            held = self._pulse.wait_until(lambda: reached(self._pulse.now_s), GATE_LIMIT_S)
            self._gate("burst", held and not self._pulse.load_lost, self._pulse.load_lost or self._rates())

    def _rates(self) -> str:
        latest = self._drivers.load.latest()
        return f"offered {latest.offered_rps:.1f}, achieved {latest.achieved_rps:.1f} rps" if latest else "no load"

    def _at_floor(self) -> bool:
        latest = self._drivers.load.latest()
        floor_ratio = self._experiment.load.floor_ratio
        return latest is not None and latest.achieved_rps >= floor_ratio * latest.offered_rps > 0

    def _inject(self) -> None:
        with self._phase(PhaseName.INJECT):
            chaos, pulse = self._drivers.chaos, self._pulse
            pulse.permits_open = True
            if self._experiment.faults:
                chaos.start(self._experiment, pulse)
            over = self._stage_passed(self._experiment.load.stages[-1].name)
            pulse.wait_until(lambda: self._undoing.release_due() or over(), self._experiment.load.duration_s)
            holds_s = sum(plan.max_hold_s for plan in self._experiment.faults)
            pulse.wait_until(lambda: self._undoing.release_due() or self._faults_over(), holds_s + GATE_LIMIT_S)
            pulse.permits_open = False
            self._note_chaos_failure()
            if pulse.load_lost:
                raise _EndedEarlyError(Ending.ABORTED, f"the load generator was lost: {pulse.load_lost}")

    def _faults_over(self) -> bool:
        return bool(self._pulse.load_lost) or not (self._drivers.chaos.running or self._undoing.holds)

    def _objection(self, fault: str, victims: Victims) -> str:
        return guard.object_to_victims(self._experiment, self._target, self._facts(), fault, victims)

    def _note_chaos_failure(self) -> None:
        failure = self._drivers.chaos.failure
        if failure and failure != self._chaos_failure:
            self._chaos_failure = failure
            self._pulse.say("note", "chaos", {"message": failure}, actor="chaos")

    # recovery -------------------------------------------------------------------------------------------------------

    def _take_back(self) -> None:
        """Stop faults and load, and undo everything of this run; safe to call again.

        The load is asked to stop at once, and waited for last: answers in flight must not hold up an undo.
        """
        self._pulse.permits_open = False
        if self._taken_back:
            return
        with self._phase(PhaseName.RECOVER), ExitStack() as always:  # last in, first out, also if one raises
            always.callback(self._drivers.load.stop)
            always.callback(self._undo_all)
            always.callback(self._note_chaos_failure)  # some are known only once it was stopped
            always.callback(self._pulse.poll)
            always.callback(self._drivers.chaos.stop)
            always.callback(self._drivers.load.ask_to_stop)  # at once: a fault in flight may take its time to end

    def _undo_all(self) -> None:
        self._taken_back = True
        self._undoing.undo_all()
        self.outcome.undo = self._undoing.outcomes

    def _settle(self) -> None:
        self._wait_scrapes()
        steady = HeldFor(GATE_HOLD_S, lambda: self._steady_state()[0] is True)
        back = self._pulse.wait_until(lambda: steady(self._pulse.now_s), self._experiment.settle_s, LOOK_EVERY_S)
        known, reason = (True, "the steady state is back") if back else self._steady_state()
        late = f"not back after {self._experiment.settle_s:g} s: {reason}"
        held = None if known is None else back  # a probe that cannot be asked is no deviation (CASES A04)
        self._pulse.say("gate", "settle", {"ok": held, "reason": reason if back else late})

    def _harvest(self) -> None:
        """Collect what was measured; on every way out, so each source fails alone."""
        with self._phase(PhaseName.HARVEST):
            window = Window(0.0, self._pulse.now_s)
            signals = [self._target.signals[name] for name in self._signals if name in self._target.signals]
            self._attempt("request log", self._collect_requests)
            self._attempt(
                "metrics", lambda: setattr(self.outcome, "harvest", self._drivers.metrics.harvest(signals, window))
            )
            self._attempt("fingerprint", self._fingerprint_after)
            self._attempt("ledger", lambda: self._drivers.ledger.close(self._run_id))
            self._attempt("observer", self._pulse.poll)

    def _collect_requests(self) -> None:
        self.outcome.requests, self.outcome.requests_lost = self._drivers.load.request_log()

    def _fingerprint_after(self) -> None:
        self.outcome.fingerprint_after = self._drivers.observer.fingerprint(self._experiment.scope)

    def _attempt(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except GameDayError as error:
            self._pulse.say("note", f"harvest {what}", {"message": str(error)})


def _hopeless(found: tuple[preflight.Finding, ...]) -> bool:
    """Tell whether waiting cannot help: what is missing or paused does not come by itself."""
    return any(finding.code not in {"autoscaler-dead"} for finding in found)
