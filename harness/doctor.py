"""`gameday doctor`: every look that a run's preflight takes at a target, for all experiments at once, and advice.

Touches nothing: no Lease, no record, no load. Where a run stops at the first problem, this tells them all; but of
another cluster than the target's it reads no more than what tells it apart (DESIGN 1.4). What is good enough is said by
`guard` and `preflight`, never here.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness import guard, preflight
from harness.definitions import AssertionDefinition, FaultDefinition, signals_of_all
from harness.doctor_advice import advise
from harness.doctor_lines import Line, State
from harness.dry_run import look_at_fault
from harness.expected_alerts import RULES_REMEDY, Expected, expected_of_assertions, expected_of_drill, unable
from harness.model.errors import GameDayError, PortError, Refusal, SpecError
from harness.model.experiment import Experiment, Scope
from harness.model.facts import FACTS, NodeFact
from harness.model.fault import Permission
from harness.model.signal import Harvest, SignalHarvest
from harness.model.target import ClusterIdentity, Target
from harness.model.time import Window
from harness.ports import Clock, ClusterActor, ClusterObserver, MetricsSource, SafetyWatch, UndoLedger

LOOK_BACK_SCRAPES = 5
LOOK_BACK_MIN_S = 60.0
SEED = 1
"""Of the draw of victims: whom a fault would hit is not told here, only whether it finds anybody."""

WORKLOAD_KINDS = ("Deployment", "StatefulSet")


@dataclass(frozen=True)
class Case:
    """An experiment that the target is to be fit for.

    Attributes:
        experiment: The experiment.
        permissions: What its drivers and faults need to be allowed.
        named: Somebody asked for it: that it does not fit the target is then a finding.
    """

    experiment: Experiment
    permissions: tuple[Permission, ...]
    named: bool


@dataclass(frozen=True)
class Instruments:
    """What the doctor looks with; all of it only reads.

    Attributes:
        clock: Its clock.
        observer: Watches the cluster.
        actor: Lists objects and previews faults.
        ledger: Undo records that are open.
        safety: Halt lever and reaper.
        holder: Returns who holds the run Lease, or an empty string.
        metrics: Makes the metrics source; raises where its settings are wrong.
        announced: Says who is told of runs; raises where somebody could not be.
    """

    clock: Clock
    observer: ClusterObserver
    actor: ClusterActor
    ledger: UndoLedger
    safety: SafetyWatch
    holder: Callable[[], str]
    metrics: Callable[[], MetricsSource]
    announced: Callable[[], str] = lambda: "nobody"


class Doctor:
    """Examines one target."""

    def __init__(
        self,
        target: Target,
        tools: Instruments,
        cases: Sequence[Case],
        faults: Mapping[str, FaultDefinition],
        assertions: Mapping[str, AssertionDefinition],
        sparse: frozenset[str] = frozenset(),
    ) -> None:
        """Prepare; sends nothing.

        Args:
            target: What is examined.
            tools: What it is examined with.
            cases: What it is to be fit for.
            faults: FAULTS.
            assertions: ASSERTIONS.
            sparse: Signals that have no series while all is well.
        """
        self._target, self._tools, self._cases = target, tools, tuple(cases)
        self._faults, self._assertions, self._sparse = faults, assertions, sparse
        self._kubectl = _kubectl(target)
        self._fits: tuple[Case, ...] = ()

    def examine(self) -> Iterator[Line]:
        """Look at everything, and tell each thing as it is found."""
        yield from self._plans()
        identity = yield from self._identity()
        if identity is None:
            return
        yield from self._opt_in()
        yield from self._permissions()
        yield from self._safety()
        yield from self._guarded("leftovers", "undo records", self._leftovers, self._gameday("recover --list"))
        yield from self._guarded("lease", "run Lease", self._lease, self._gameday("recover --check"))
        yield from self._clock("the API server", self._tools.observer.skew_s, "")
        yield from self._metrics()
        yield from self._attempt(
            "announce", "who is told", self._tools.announced, "announce of the target in gameday.toml"
        )
        yield from self._guarded("platform", "watches", self._platform, f"{self._kubectl} auth can-i --list")

    # the plan and who we are ----------------------------------------------------------------------------------------

    def _plans(self) -> Iterator[Line]:
        fits: list[Case] = []
        for case in self._cases:
            try:
                guard.check_plan(case.experiment, self._target)
                fits.append(case)
            except Refusal as refusal:
                state = State.FINDING if case.named else State.ADVICE
                name = case.experiment.name
                yield Line("plan", state, name, str(refusal), f"gameday validate {name}")
        self._fits = tuple(fits)
        names = ", ".join(case.experiment.name for case in fits)
        if fits:
            yield Line("plan", State.OK, self._target.name, f"fit for {names}")
        else:
            yield Line("plan", State.FINDING, self._target.name, "no experiment fits this target", "gameday list")
        yield from self._hours()

    def _hours(self) -> Iterator[Line]:
        if not self._target.allowed_hours:
            return
        longest = max((c.experiment for c in self._fits), key=lambda e: e.expected_duration_s, default=None)
        try:
            if longest is not None:
                guard.check_hours(self._target, longest, self._tools.clock.origin_unix_s)
                yield Line("plan", State.OK, "hours", f"a run may start now ({self._target.allowed_hours})")
        except Refusal as refusal:
            yield Line("plan", State.ADVICE, "hours", str(refusal), "see allowed_hours of the target in gameday.toml")

    def _identity(self) -> Generator[Line, None, ClusterIdentity | None]:
        """Tell who the cluster says that it is and that we are; returns it where it is the target's."""
        server = self._target.api_server
        try:
            found = self._tools.observer.identify()
        except GameDayError as error:
            yield Line("connection", State.FINDING, server, str(error), f"{self._kubectl} get --raw /version")
            return None
        way = f" through the proxy {found.proxy}" if found.proxy else ""
        yield Line("connection", State.OK, found.api_server, f"Kubernetes {found.server_version}{way}")
        try:
            guard.check_identity(self._target, found)
        except Refusal as refusal:
            command = f"{self._kubectl} get namespace kube-system -o yaml"
            state = State.REFUSED if refusal.code == "identity" else State.FINDING  # the target, not labelled
            yield Line("identity", state, found.context, str(refusal), command)
            return None
        told = f"the target's: kube-system uid {found.kube_system_uid}, as {found.user or 'unknown'}"
        yield Line("identity", State.OK, found.context, told)
        return found

    def _opt_in(self) -> Iterator[Line]:
        """Look at the namespaces that the runs would look at: of others the least rights do not let anybody read."""
        scopes = [name for case in self._fits for name in case.experiment.scope.namespaces]
        for name in dict.fromkeys((self._target.system_namespace, *(scopes or self._target.namespaces))):
            yield from self._attempt("opt-in", name, partial(self._labelled, name), self._show(name))

    def _labelled(self, name: str) -> str:
        guard.check_opt_in(self._target, {name: self._tools.observer.namespace_labels(name)})
        return f"carries {self._target.opt_in_label}"

    def _show(self, namespace: str) -> str:
        return f"{self._kubectl} get namespace {namespace} --show-labels"

    # rights and safety ----------------------------------------------------------------------------------------------

    def _permissions(self) -> Iterator[Line]:
        wanted = tuple(dict.fromkeys(p for case in self._fits for p in case.permissions))
        try:
            missing = frozenset(self._tools.observer.allowed(wanted))
        except PortError as error:
            yield Line("permissions", State.FINDING, "access reviews", str(error), f"{self._kubectl} auth can-i --list")
            return
        for case in self._fits:
            lacks = [permission for permission in dict.fromkeys(case.permissions) if permission in missing]
            name, count = case.experiment.name, len(dict.fromkeys(case.permissions))
            if lacks:
                told = f"{len(lacks)} of {count} rights are missing: {'; '.join(map(str, lacks))}"
                command = self._gameday(f"rbac {name}", "| kubectl apply -f -")
                yield Line("permissions", State.FINDING, name, told, command)
            else:
                yield Line("permissions", State.OK, name, f"all {count} rights held")

    def _safety(self) -> Iterator[Line]:
        trouble = self._tools.safety.ask()
        if trouble:
            yield Line("safety", State.FINDING, "halt lever and reaper", trouble, self._gameday("halt --status"))
        else:
            yield Line("safety", State.OK, "halt lever and reaper", "not halted; a reaper is alive and able")

    def _leftovers(self) -> Iterator[Line]:
        guard.check_leftovers(self._tools.ledger.open_records())
        yield Line("leftovers", State.OK, "undo records", "none is open")

    def _lease(self) -> Iterator[Line]:
        holder = self._tools.holder()
        if holder:
            told = f"held by {holder}: no other run can start until it ends"
            yield Line("lease", State.FINDING, "run Lease", told, self._gameday("recover --check"))
        else:
            yield Line("lease", State.OK, "run Lease", "nobody holds it")

    # metrics --------------------------------------------------------------------------------------------------------

    def _metrics(self) -> Iterator[Line]:
        url = self._target.prometheus_url
        try:
            metrics = self._tools.metrics()
            version = metrics.identify()
        except GameDayError as error:
            yield Line("metrics", State.FINDING, url, str(error), self._curl("1"))
            return
        yield Line("metrics", State.OK, url, f"Prometheus {version}")
        yield from self._clock("Prometheus", metrics.skew_s, self._curl("time()"))
        yield from self._unasked()
        yield from self._signals(metrics)
        yield from self._rules(metrics)

    def _signals(self, metrics: MetricsSource) -> Iterator[Line]:
        now_s = self._tools.clock.now_s()
        back_s = max(LOOK_BACK_MIN_S, LOOK_BACK_SCRAPES * self._target.scrape_interval_s)
        harvest = metrics.harvest(tuple(self._target.signals.values()), Window(now_s - back_s, now_s))
        for found in harvest.signals.values():
            yield self._signal(found, harvest, self._tools.clock.now_s(), back_s)

    def _signal(self, found: SignalHarvest, harvest: Harvest, now_s: float, back_s: float) -> Line:
        name, look = found.signal.name, self._curl(found.signal.query)
        if not found.series and not found.error and name in self._sparse:
            return Line("signals", State.OK, name, f"no series within {back_s:.0f} s, as is usual while all is well")
        problem = harvest.problem(name)
        if problem:
            return Line("signals", State.FINDING, name, f"{problem} (within {back_s:.0f} s)", look)
        newest_s = max(float(one.t_s[-1]) for one in found.series if len(one.t_s))
        age_s = max(0.0, now_s + harvest.skew_s - newest_s)
        told = f"{len(found.series)} series, newest sample {age_s:.1f} s old"
        if not age_s <= found.hole_max_s:
            return Line("signals", State.FINDING, name, f"stale: {told} (limit {found.hole_max_s:g} s)", look)
        if not any(math.isfinite(one.values[-1]) for one in found.series):
            return Line("signals", State.FINDING, name, f"no value is a number: {told}", look)
        return Line("signals", State.OK, name, told)

    def _unasked(self) -> Iterator[Line]:
        """Tell of assertions whose signals the pack has none of: they could only ever be inconclusive."""
        for case in self._fits:
            for spec in case.experiment.assertions:
                wanted = signals_of_all(self._assertions, (spec,))
                if wanted and not set(wanted) & set(self._target.signals):
                    told = f"assertion {spec.name} leans on {', '.join(wanted)}; the query pack has none of them"
                    yield Line("signals", State.FINDING, case.experiment.name, told, "query_packs of gameday.toml")

    def _rules(self, metrics: MetricsSource) -> Iterator[Line]:
        """Tell of alerts that assertions and, where people can be paged, drills would wait for in vain."""
        expected = [one for case in self._fits for one in expected_of_assertions(case.experiment)]
        if self._target.drill.alertmanager_url:
            expected += [one for case in self._fits for one in expected_of_drill(case.experiment)]
        if expected:
            yield from self._guarded("alerts", "rules", lambda: self._alerts(expected, metrics), self._ask("rules"))

    def _alerts(self, expected: Sequence[Expected], metrics: MetricsSource) -> Iterator[Line]:
        lacks = unable(expected, metrics.alert_rules())
        for problem in lacks:
            yield Line("alerts", State.FINDING, "rules", f"{problem}: {RULES_REMEDY}", self._ask("rules"))
        if not lacks:
            names = ", ".join(sorted({one.alert for one in expected}))
            yield Line("alerts", State.OK, "rules", f"every expected alert can fire: {names}")

    def _clock(self, system: str, skew_s: Callable[[], float], command: str) -> Iterator[Line]:
        yield from self._attempt("clocks", system, lambda: self._skew(system, skew_s()), command or "timedatectl")

    def _skew(self, system: str, skew_s: float) -> str:
        guard.check_clocks({system: skew_s})
        return f"differs by {skew_s:+.1f} s (limit {guard.SKEW_MAX_S:g} s)"

    # the platform ---------------------------------------------------------------------------------------------------

    def _platform(self) -> Iterator[Line]:
        namespaces = dict.fromkeys(n for case in self._fits for n in case.experiment.scope.namespaces)
        observer = self._tools.observer
        scalers = dict.fromkeys(name for case in self._fits for name in case.experiment.scope.node_autoscalers)
        observer.start(Scope(tuple(namespaces), node_autoscalers=tuple(scalers)))
        try:
            facts = {kind: observer.current(kind) for kind in FACTS}
        finally:
            observer.stop()
        metrics = {namespace: observer.pod_metrics(namespace) for namespace in namespaces}
        yield from self._gpus(facts)
        for case in self._fits:
            yield from self._experiment(case.experiment, facts, metrics)
        workloads = [found for name in namespaces for kind in WORKLOAD_KINDS for found in self._workloads(kind, name)]
        yield from advise(facts, workloads, self._kubectl)

    def _gpus(self, facts: preflight.Facts) -> Iterator[Line]:
        resource = self._target.gpu_resource
        if not resource:
            return
        offers = {n.name: n.allocatable.get(resource, "0") for n in facts.get("node", ()) if isinstance(n, NodeFact)}
        having = [f"{name} {count}" for name, count in sorted(offers.items()) if count != "0"]
        look = f"{self._kubectl} get nodes -o custom-columns=NAME:.metadata.name,ALL:.status.allocatable"
        if having:
            yield Line("platform", State.OK, resource, f"offered by {', '.join(having)}")
        else:
            yield Line("platform", State.FINDING, resource, f"none of {len(offers)} nodes offers it", look)

    def _workloads(self, kind: str, namespace: str) -> Iterable[Mapping[str, object]]:
        return self._tools.actor.find("apps/v1", kind, namespace)

    def _experiment(
        self, experiment: Experiment, facts: preflight.Facts, metrics: Mapping[str, Mapping[str, float]]
    ) -> Iterator[Line]:
        found = preflight.find_all(experiment, facts)
        for finding in found:
            told = f"{finding.message} ({finding.code}; {experiment.name})"
            look = re.sub(r"^kubectl\b", lambda _: self._kubectl, finding.remedy)
            yield Line("platform", State.FINDING, finding.subject, told, look)
        dry = self._gameday(f"run {experiment.name} --dry-run")
        lacks = [*preflight.unready_workloads(experiment, facts, metrics), *preflight.not_yet_known(experiment, facts)]
        problems = [problem for plan in experiment.faults for problem in self._fault(experiment, plan.name, facts)]
        for problem in dict.fromkeys((*lacks, *problems)):
            yield Line("platform", State.FINDING, experiment.name, problem, dry)
        if not (found or lacks or problems):
            told = "autoscalers able, budgets in order, pods Ready and measured, every fault finds its victims"
            yield Line("platform", State.OK, experiment.name, told)

    def _fault(self, experiment: Experiment, name: str, facts: preflight.Facts) -> list[str]:
        plan = next(plan for plan in experiment.faults if plan.name == name)
        definition, target = self._faults[plan.action], self._target
        try:
            return look_at_fault(plan, definition, self._tools.actor, experiment, target, SEED, facts)[1]
        except PortError as error:
            return [f"fault {name}: {error}"]

    # common ---------------------------------------------------------------------------------------------------------

    def _attempt(self, area: str, subject: str, look: Callable[[], str], command: str) -> Iterator[Line]:
        """Tell what a look found, or why it failed."""
        yield from self._guarded(area, subject, lambda: iter((Line(area, State.OK, subject, look()),)), command)

    def _guarded(self, area: str, subject: str, look: Callable[[], Iterator[Line]], command: str) -> Iterator[Line]:
        try:
            yield from look()
        except (PortError, Refusal, SpecError) as error:
            yield Line(area, State.FINDING, subject, str(error), command)

    def _gameday(self, command: str, after: str = "") -> str:
        verb, _, rest = command.partition(" ")
        return " ".join(part for part in ("gameday", verb, rest, "--target", self._target.name, after) if part)

    def _curl(self, query: str) -> str:
        return f"{self._ask('query')} --data-urlencode {shlex.quote(f'query={query}')}"

    def _ask(self, page: str) -> str:
        """Return the command that asks Prometheus the same; a secret is named, never written."""
        target = self._target
        parts = ["curl -sG"]
        parts += [f"--cacert {shlex.quote(target.prometheus_ca_file)}"] if target.prometheus_ca_file else []
        if target.prometheus_token_env:
            parts.append(f'-H "Authorization: Bearer ${target.prometheus_token_env}"')
        return " ".join([*parts, shlex.quote(f"{target.prometheus_url.rstrip('/')}/api/v1/{page}")])


def _kubectl(target: Target) -> str:
    usual = target.kubeconfig in {"", str(Path.home() / ".kube" / "config")}
    where = [] if usual else ["--kubeconfig", shlex.quote(target.kubeconfig)]
    return " ".join(["kubectl", *where, "--context", shlex.quote(target.context)])
