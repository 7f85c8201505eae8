"""One fault at a time on the twin: what tests of single faults work with."""

from dataclasses import dataclass, field
from typing import Any

from experiments.faults.context import FaultContext, drive
from experiments.faults.registry import FAULTS
from harness import registries
from harness.fakes.switches import Switches
from harness.fakes.world import Twin
from harness.model.fault import FaultPlan, ObjectRef
from harness.ports import Drivers, MetricsSource, Observation, Permit


@dataclass
class Stage:
    """One fault at a time on the twin, with as many requests a second as the test wants."""

    twin: Twin
    rate_rps: float = 0.0
    seen: list[Observation] = field(default_factory=list)
    metrics: MetricsSource | None = None
    sent: int = 0

    def __post_init__(self) -> None:
        self.metrics = self.twin.metrics
        self.twin.load.tool_calls = 0.5
        self.twin.clock.every_step(self._send)

    @property
    def drivers(self) -> Drivers:
        return self.twin.drivers(None, "run")  # type: ignore[arg-type]  # nothing is stored

    def _send(self, now_s: float) -> None:
        while self.sent < now_s * self.rate_rps:
            self.sent += 1
            self.twin.gateway.send(self.sent, now_s, now_s)

    def carry_out(self, action: str, max_hold_s: float = 60.0, **arguments: Any) -> dict[str, Any]:
        fault, drivers = FAULTS[action], self.drivers
        plan = FaultPlan("change", action, arguments, 0.0, max_hold_s, fault.loss, fault.undo, "", 5.0)
        context = FaultContext(
            "run", 7, drivers.actor, drivers.ledger, self.twin.clock, lambda *_: Permit(True), self.seen.append,
            drivers.actor.terminate_pods, target=self.twin.target, metrics=self.metrics,
        )  # fmt: skip
        return drive(fault.steps(context, plan), self.twin.clock)

    def problem(self, action: str, **arguments: Any) -> str:
        return FAULTS[action].preview(self.drivers.actor, arguments, 7, self.twin.target).problem

    def undo(self) -> list[str]:
        ledger = self.drivers.ledger
        return [ledger.undo(record).outcome for record in ledger.open_records("run")]

    def get(self, ref: ObjectRef) -> dict[str, Any]:
        found = self.twin.store.get(ref)
        assert found is not None
        return dict(found)

    def somebody_sets(self, ref: ObjectRef, values: dict[str, Any]) -> None:
        self.twin.store.patch(ref, self.get(ref), values)

    def planner(self) -> dict[str, Any]:
        planner = ObjectRef("apps/v1", "Deployment", "planner", "agents")
        return dict(self.get(planner)["spec"]["template"]["spec"]["containers"][0])

    def pass_time(self, duration_s: float) -> None:
        self.twin.clock.sleep(duration_s)


def made(name: str = "bad-rollout", **switches: Any) -> Stage:
    return Stage(Twin(registries.load(registries.experiment_path(name)), 1, Switches(**switches)))
