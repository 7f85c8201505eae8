"""A dry run: every read of the preflight and not one write. Says whom each fault would hit, and what is in the way.

Takes no Lease and writes no record. Where the run would stop at the first problem, this goes on and gathers them all,
but for another cluster than the target's: of that nothing more is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import guard, preflight
from harness.definitions import FaultDefinition
from harness.model.errors import GameDayError, Refusal
from harness.model.experiment import Experiment
from harness.model.facts import FACTS
from harness.model.fault import FaultPlan, Permission
from harness.model.target import Target
from harness.ports import ClusterActor, Drivers

ANONYMOUS = "system:anonymous"


@dataclass
class DryRun:
    """What a run would find.

    Attributes:
        experiment: What would be run.
        target: On what.
        drivers: Only read by.
        faults: FAULTS.
        permissions: What drivers and faults need to be allowed.
        seed: Of the draw of victims.
        lines: What it would do, for people.
        problems: What is in the way.
    """

    experiment: Experiment
    target: Target
    drivers: Drivers
    faults: Mapping[str, FaultDefinition]
    permissions: tuple[Permission, ...]
    seed: int
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self) -> bool:
        """Look at everything.

        Returns:
            Whether nothing is in the way.

        Raises:
            Refusal: This is another cluster than the target's.
        """
        self._attempt(lambda: guard.check_plan(self.experiment, self.target))
        self._attempt(lambda: guard.check_hours(self.target, self.experiment, self.drivers.clock.origin_unix_s))
        identity = self.drivers.observer.identify()
        guard.check_identity(self.target, identity)
        who = identity.user or "unknown"
        way = f", through the proxy {identity.proxy}" if identity.proxy else ""
        self.lines.append(f"target {self.target.name}: {identity.api_server} as {who}{way}")
        if identity.user == ANONYMOUS:
            self.problems.append("the API server takes us for nobody: the credentials were not sent (CASES B07)")
        self._attempt(self._opt_in)
        self._attempt(lambda: guard.check_permissions(self.drivers.observer.allowed(self.permissions)))
        self._attempt(self._safety)
        self._attempt(lambda: guard.check_leftovers(self.drivers.ledger.open_records()))
        self._attempt(self._clocks)
        self._attempt(self._platform)
        return not self.problems

    def _attempt(self, look: Callable[[], None]) -> None:
        try:
            look()
        except GameDayError as error:
            self.problems.append(str(error))

    def _opt_in(self) -> None:
        namespaces = (*self.experiment.scope.namespaces, self.target.system_namespace)
        guard.check_opt_in(self.target, {name: self.drivers.observer.namespace_labels(name) for name in namespaces})

    def _safety(self) -> None:
        trouble = self.drivers.safety.ask()
        if trouble:
            raise Refusal("safety", trouble, "`gameday halt --status`, `gameday recover --check`")

    def _clocks(self) -> None:
        server = self.drivers.metrics.identify()
        self.lines.append(f"metrics: Prometheus {server}")
        skews = {"the API server": self.drivers.observer.skew_s(), "Prometheus": self.drivers.metrics.skew_s()}
        guard.check_clocks(skews)

    def _platform(self) -> None:
        observer = self.drivers.observer
        observer.start(self.experiment.scope)
        try:
            facts = {kind: observer.current(kind) for kind in FACTS}
            self.problems += [finding.message for finding in preflight.find_all(self.experiment, facts)]
            for plan in self.experiment.faults:
                self._fault(plan, facts)
        finally:
            observer.stop()

    def _fault(self, plan: FaultPlan, facts: Mapping[str, Sequence[Any]]) -> None:
        definition = self.faults[plan.action]
        lines, problems = look_at_fault(
            plan, definition, self.drivers.actor, self.experiment, self.target, self.seed, facts
        )
        self.lines += lines
        self.problems += problems


def look_at_fault(
    plan: FaultPlan,
    definition: FaultDefinition,
    actor: ClusterActor,
    experiment: Experiment,
    target: Target,
    seed: int,
    facts: Mapping[str, Sequence[Any]],
) -> tuple[list[str], list[str]]:
    """Return what a fault would do, line by line, and what is in its way.

    Args:
        plan: The fault.
        definition: Its entry in FAULTS.
        actor: Only read by.
        experiment: Whose fault it is.
        target: Where.
        seed: Of the draw of victims.
        facts: Present state.
    """
    preview = definition.preview(actor, plan.arguments, seed, target)
    held = f", held {plan.hold_s:g} s" if plan.hold_s is not None else ""
    lines = [f"fault {plan.name} ({plan.action}, {plan.loss.value}) at +{plan.at_s:g} s{held}:"]
    if preview.problem and preflight.chosen_when_due(facts, plan.arguments):
        return [*lines, f"  victims are chosen when it is due ({preview.problem})"], []
    lines += [f"  would hit {v['kind']} {_place(v)}" for v in preview.victims]
    lines += [f"  undo: {line}" for line in preview.undo]
    lines += [f"  note: {line}" for line in preview.notes]
    found = (f"fault {plan.name}: {preview.problem}" if preview.problem else "",)
    objection = guard.object_to_victims(experiment, target, facts, plan.name, preview.victims)
    return lines, [problem for problem in (*found, objection) if problem]


def _place(victim: Mapping[str, str]) -> str:
    return f"{victim['namespace']}/{victim['name']}" if victim["namespace"] else victim["name"]
