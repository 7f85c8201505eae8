"""A made-up cluster for faults: pods that are replaced after a while, on a clock that only sleeping moves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from experiments.faults.context import FaultContext
from experiments.faults.registry import FAULTS
from harness.model.facts import PdbFact, PodFact
from harness.model.fault import FaultPlan, ObjectRef, UndoRecord
from harness.ports import EvictionResult, Observation, Permit


def pod(number: int, **changes: object) -> PodFact:
    made = PodFact(f"uid-{number}", "agents", f"planner-{number:02}", labels={"app": "planner"}, ready=True)
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass
class SteppedClock:
    origin_unix_s: float = 1_000.0
    t_s: float = 0.0

    def now_s(self) -> float:
        return self.t_s

    def sleep(self, duration_s: float) -> None:
        self.t_s += duration_s


@dataclass
class FakeCluster:
    """Actor and ledger in one, so that the order of writes shows.

    Attributes:
        clock: Moves when a fault sleeps.
        alive: Pods that exist.
        replace_after_s: When a lost pod's replacement is Ready; None for never.
        answers: What evictions answer, in order; accepted afterwards.
        log: Every write, in order.
    """

    clock: SteppedClock
    alive: list[PodFact]
    replace_after_s: float | None = 2.0
    answers: list[EvictionResult] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    accept: Callable[[str], bool] = lambda name: True
    _coming: list[tuple[float, PodFact]] = field(default_factory=list)

    def pods(self, namespace: str, selector: Mapping[str, str]) -> Sequence[PodFact]:
        come = [p for due_s, p in self._coming if due_s <= self.clock.t_s]
        self._coming = [(due_s, p) for due_s, p in self._coming if due_s > self.clock.t_s]
        self.alive += come
        return [p for p in self.alive if p.namespace == namespace and selector.items() <= p.labels.items()]

    def pod(self, namespace: str, name: str) -> PodFact | None:
        return next((p for p in self.alive if p.name == name), None)

    def pdbs(self, namespace: str) -> Sequence[PdbFact]:
        return []

    def delete_pod(self, pod: PodFact, grace_s: int | None) -> bool:
        if pod not in self.alive:
            return False
        self.log.append(f"delete {pod.name} grace {grace_s}")
        self._lose(pod.name)
        return True

    def evict_pod(self, pod: PodFact, dry_run: bool = False) -> EvictionResult:
        answer = self.answers.pop(0) if self.answers else EvictionResult("accepted")
        self.log.append(f"evict {pod.name} {answer.status}")
        if answer.status == "accepted":
            self._lose(pod.name)
        return answer

    def terminate_pods(self, namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        accepted = [name for name in names if self.accept(name)]
        self.log += [f"kill {name} grace {grace_s}" for name in accepted]
        for name in accepted:
            self._lose(name)
        return accepted

    def _lose(self, name: str) -> None:
        lost = next(p for p in self.alive if p.name == name)
        self.alive.remove(lost)
        if self.replace_after_s is not None:
            fresh = replace(lost, uid=f"new-{lost.uid}", name=f"new-{lost.name}")
            self._coming.append((self.clock.t_s + self.replace_after_s, fresh))

    def write(self, record: UndoRecord) -> Mapping[str, Any]:
        self.log.append(f"undo record {record.name} {record.operation}")
        return {}

    def serves(self, api_version: str, kind: str) -> bool:
        return False

    def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        return None

    def find(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        return []

    def patch(
        self, ref: ObjectRef, seen: Mapping[str, Any], values: Mapping[str, Any], subresource: str = ""
    ) -> Mapping[str, Any]:
        raise NotImplementedError

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        raise NotImplementedError

    def delete(self, ref: ObjectRef, uid: str, grace_s: int | None = None) -> bool:
        raise NotImplementedError

    def run_command(self, name: str, node: str) -> str:
        raise NotImplementedError

    def open_records(self, run_id: str | None = None) -> Sequence[UndoRecord]:
        return []

    def run_records(self, run_id: str) -> Sequence[UndoRecord]:
        return []

    def undo(self, record: UndoRecord) -> UndoRecord:
        return record

    def close(self, run_id: str) -> None:
        return


@dataclass
class Bench:
    """A fault context over a `FakeCluster`, with all that was emitted."""

    cluster: FakeCluster
    permit: Permit = field(default_factory=lambda: Permit(True))
    stop_at_s: float = float("inf")
    seen: list[Observation] = field(default_factory=list)

    @property
    def context(self) -> FaultContext:
        return FaultContext(
            run_id="run-1",
            seed=7,
            actor=self.cluster,
            ledger=self.cluster,
            clock=self.cluster.clock,
            permit=lambda fault, victims: self.permit,
            emit=self.seen.append,
            terminate_pods=self.cluster.terminate_pods,
            stopping=lambda: "somebody asked" if self.cluster.clock.t_s >= self.stop_at_s else "",
        )

    def steps(self) -> list[str]:
        return [str(o.detail["step"]) for o in self.seen if o.kind == "fault"]

    def last(self) -> Mapping[str, object]:
        return [o for o in self.seen if o.kind == "fault"][-1].detail


def bench(ready: int = 9, **changes: object) -> Bench:
    cluster = FakeCluster(SteppedClock(), [pod(n) for n in range(ready)], **changes)  # type: ignore[arg-type]
    return Bench(cluster)


def plan(action: str, max_hold_s: float = 30.0, **arguments: object) -> FaultPlan:
    fault = FAULTS[action]
    asked = {"namespace": "agents", "selector": "app=planner", **arguments}
    return FaultPlan("the-fault", action, asked, 0.0, max_hold_s, fault.loss, fault.undo, fault.undo_reason)
