"""One fault at a time on one real cluster: what the tests of faults share. The fixture `stage` is in `conftest`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from experiments.faults.context import FaultContext, drive
from experiments.faults.registry import FAULTS
from harness.model.fault import FaultPlan, ObjectRef
from harness.model.signal import Signal
from harness.model.target import Target
from harness.ports import Observation, Permit
from harness.undo import recover
from tests.contract.cluster_world import RealWorld, WallClock

RUN = "20261125-0900-faults-1"
GPU_NODE = ObjectRef("v1", "Node", "gpu-1")


@dataclass
class Stage:
    """One fault at a time on one real cluster."""

    world: RealWorld
    kind: str = "local"
    seen: list[Observation] = field(default_factory=list)
    stop_at_s: float = float("inf")
    metrics: Any = None
    signals: dict[str, Signal] = field(default_factory=dict)
    clock: WallClock = field(default_factory=WallClock)

    @property
    def target(self) -> Target:
        return Target(
            "t", self.kind, "c", "", "", "", "a=b", (self.world.namespace,), "", "", 1.0,
            helper_command=("sleep", "600"), signals=self.signals,
        )  # fmt: skip

    def carry_out(self, action: str, max_hold_s: float = 40.0, **arguments: Any) -> dict[str, Any]:
        fault = FAULTS[action]
        hold_s = None if fault.undo == "none" else 5.0
        plan = FaultPlan(
            action.replace("_", "-"), action, arguments, 0.0, max_hold_s, fault.loss, fault.undo, "", hold_s
        )
        actor = self.world.actor()
        context = FaultContext(
            RUN, 7, actor, self.world.ledger(), self.clock, lambda *_: Permit(True), self.seen.append,
            actor.terminate_pods, stopping=lambda: "stop" if self.clock.now_s() >= self.stop_at_s else "",
            target=self.target, metrics=self.metrics,
        )  # fmt: skip
        return drive(fault.steps(context, plan), self.clock)

    def undo(self) -> list[str]:
        done = recover(self.world.ledger(), self.clock, RUN)
        assert all(record.done for record in done), done
        self.world.ledger().close(RUN)
        return [record.outcome for record in done]

    def get(self, ref: ObjectRef) -> dict[str, Any]:
        found = self.world.actor().get(ref)
        assert found is not None
        return dict(found)

    def detail(self, step: str) -> dict[str, Any]:
        return dict([o for o in self.seen if o.kind == "fault" and o.detail["step"] == step][-1].detail)

    def preview(self, action: str, **arguments: Any) -> Any:
        return FAULTS[action].preview(self.world.actor(), arguments, 7, self.target)

    def until(self, look: Callable[[], Any], what: str) -> Any:
        return self.world.until(look, what)


@contextmanager
def staged(world: RealWorld) -> Iterator[Stage]:
    """Yield the stage of one test, and take back what the test left."""
    found = Stage(world)
    found.until(lambda: not _others(world), "the pods of earlier tests are gone: a drain sees every namespace")
    yield found
    recover(world.ledger(), found.clock, RUN)
    world.ledger().close(RUN)


def _others(world: RealWorld) -> list[str]:
    namespaces = [str(p["metadata"]["namespace"]) for p in world.actor().find("v1", "Pod")]
    return [name for name in namespaces if name.startswith("contract-") and name != world.namespace]


def marks(obj: dict[str, Any]) -> list[str]:
    """Return the annotations that say who changed an object."""
    return [key for key in obj["metadata"].get("annotations", {}) if "changed-by" in key]
