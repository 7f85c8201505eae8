"""Small synthetic records: one good run that every judge must pass, and a way to spoil any part of it.

``good_run()`` is the experiment pod-kill-under-burst with a queue beside it: 40 s baseline at 15 rps, burst of 60 rps,
3 -> 6 -> 9 planners, 3 killed and 1 evicted, everything undone. Tests change the builder, then call ``record()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from harness.model.experiment import AssertionSpec, Experiment, Scope, WorkloadRef
from harness.model.facts import Fact, HpaFact, PdbFact, PodFact, WorkloadFact
from harness.model.fault import FaultPlan, Loss
from harness.model.load import REQUEST_COLUMNS, LoadProfile, Stage
from harness.model.record import Ending, Record, RunHeader
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.timeline import Event, Timeline
from tests.replay import snapshots

ORIGIN = datetime(2026, 11, 25, 1, 41, tzinfo=UTC)
LOAD_S = 10.0
BURST_S = 50.0
BURST_END_S = 152.0
LOAD_END_S = 162.0
END_S = 180.0
SCRAPE_S = 2.0

STAGES = (
    Stage("baseline", 40, 15, 15),
    Stage("ramp", 2, 15, 60),
    Stage("burst", 100, 60, 60),
    Stage("cooldown", 10, 15, 15),
)
FAULTS = (
    FaultPlan("kill-a-third", "kill_pods", {}, 45, 30, Loss.ABRUPT, undo_reason="the ReplicaSet replaces them"),
    FaultPlan("evict-one", "evict_pods", {}, 65, 30, Loss.EVICTION, undo_reason="the ReplicaSet replaces it"),
)
ASSERTIONS = (
    AssertionSpec("autoscaler-response", "autoscaler_response", {"autoscaler": "hpa/agents/planner"}),
    AssertionSpec("pdb-safety", "pdb_safety", {"pdb": "agents/planner"}),
    AssertionSpec("queue-backlog", "backlog", {}),
    AssertionSpec("error-budget", "error_budget", {"objective": 0.995}),
    AssertionSpec("latency", "latency", {"limit": "500ms"}),
    AssertionSpec("restored", "restored", {}),
)
LABELS = {"app": "planner"}


@dataclass
class Run:
    """A record in the making. Every part may be changed before ``record()``."""

    experiment: Experiment
    header: RunHeader
    events: list[tuple[float, str, str, str, dict[str, Any]]] = field(default_factory=list)
    series: dict[str, list[Series]] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    gap_max_s: float = 15.0
    skew_s: float = 0.02
    requests: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(REQUEST_COLUMNS)))
    requests_lost: int = 0
    fingerprint_before: Mapping[str, Any] | None = None
    fingerprint_after: Mapping[str, Any] | None = None
    undo: list[dict[str, Any]] = field(default_factory=list)

    def say(self, t_s: float, actor: str, kind: str, subject: str, **detail: Any) -> None:
        """Add an event."""
        self.events.append((t_s, actor, kind, subject, detail))

    def fact(self, t_s: float, fact: Fact) -> None:
        """Add a state change of a cluster object."""
        self.say(t_s, "cluster", fact.kind, fact.subject, **fact.detail())

    def drop(self, kind: str, keep: Callable[[float, str, dict[str, Any]], bool] = lambda t, s, d: False) -> None:
        """Remove events of a kind, but for those to keep (by time, subject and detail)."""
        self.events = [e for e in self.events if e[2] != kind or keep(e[0], e[3], e[4])]

    def change(self, kind: str, edit: Callable[[float, str, dict[str, Any]], dict[str, Any] | None]) -> None:
        """Merge what ``edit`` returns into the details of events of a kind."""
        for t_s, _, its_kind, subject, detail in self.events:
            if its_kind == kind:
                detail.update(edit(t_s, subject, detail) or {})

    def add_series(self, signal: str, t_s: Iterable[float], values: Iterable[float], **labels: str) -> None:
        """Add a series of a signal."""
        times, samples = np.array(list(t_s), dtype=float), np.array(list(values), dtype=float)
        self.series.setdefault(signal, []).append(Series(signal, labels, times, samples))

    def reshape(self, signal: str, edit: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        """Replace times and values of every series of a signal."""
        made = []
        for one in self.series[signal]:
            t_s, values = edit(one.t_s, one.values)
            made.append(Series(signal, one.labels, np.asarray(t_s, dtype=float), np.asarray(values, dtype=float)))
        self.series[signal] = made

    def ended(self, ending: Ending | None, reason: str = "") -> None:
        """Set how the run ended."""
        self.header = replace(self.header, ending=ending, reason=reason)

    def record(self) -> Record:
        """Return the record."""
        ordered = sorted(self.events, key=lambda e: e[0])
        events = tuple(Event(i, *e[:4], detail=e[4]) for i, e in enumerate(ordered, start=1))
        names = self.series.keys() | self.errors.keys()
        harvest = {name: self._harvest(name) for name in sorted(names)}
        return Record(
            self.header,
            self.experiment,
            Timeline(ORIGIN, events),
            Harvest(harvest, "2.42.0", SCRAPE_S, self.skew_s) if harvest else Harvest(skew_s=float("nan")),
            self.requests,
            self.requests_lost,
            self.fingerprint_before,
            self.fingerprint_after,
            tuple(self.undo),
        )

    def _harvest(self, name: str) -> SignalHarvest:
        signal = Signal(name, name, gap_max_s=self.gap_max_s)
        said = (self.warnings[name],) if name in self.warnings else ()
        return SignalHarvest(signal, tuple(self.series.get(name, ())), SCRAPE_S, said, self.errors.get(name, ""))


def experiment(assertions: tuple[AssertionSpec, ...] = ASSERTIONS) -> Experiment:
    """Return the experiment that every builder starts from."""
    return Experiment(
        name="pod-kill-under-burst",
        title="Planner pods are killed under a burst",
        hypothesis="two planners are Ready",
        probes=(),
        load=LoadProfile("planner-burst", STAGES, {"PlannerUser": 1.0}),
        faults=FAULTS,
        assertions=assertions,
        scope=Scope(("agents",), (WorkloadRef("agents", "planner", LABELS),)),
        components=("core", "platform"),
        settle_s=60,
        timeout_s=600,
        runbook="runbooks/pod-kill-under-burst.md",
    )


def blank_run() -> Run:
    """Return a run that has ended well and in which nothing was seen."""
    header = RunHeader(
        "20261125-0141-pod-kill-under-burst-7f3a", "pod-kill-under-burst", "local", 7, ORIGIN.isoformat(),
        Ending.COMPLETED,
    )  # fmt: skip
    return Run(experiment(), header)


def good_run() -> Run:
    """Return a run that every judge passes."""
    run = blank_run()
    add_phases(run)
    add_load(run)
    add_planner(run)
    add_faults(run)
    add_gateway(run)
    add_queue(run)
    add_restoration(run)
    return run


def judged(run: Run, kind: str) -> Any:
    """Return the verdict of the judge of a kind alone, without what it leans on."""
    from assertions.registry import ASSERTIONS as REGISTRY  # noqa: PLC0415 - tests of single parts need no registry

    record = run.record()
    spec = record.experiment.assertion(kind)
    assert spec is not None
    return snapshots.hear(REGISTRY[kind].check(record, spec))


def with_params(run: Run, kind: str, **params: Any) -> Run:
    """Set limits of the assertion of a kind."""
    changed = tuple(
        replace(a, params={**a.params, **params}) if a.kind == kind else a for a in run.experiment.assertions
    )
    run.experiment = replace(run.experiment, assertions=changed)
    return run


def asserting(run: Run, kind: str, **params: Any) -> Run:
    """Let the run be judged by one assertion alone."""
    run.experiment = replace(run.experiment, assertions=(AssertionSpec("it", kind, params),))
    return run


def add_phases(run: Run) -> None:
    """Add phases, gates and watches."""
    edges = (
        ("preflight", 0, 10), ("baseline", 10, 50), ("burst", 50, 55), ("inject", 55, 152),
        ("recover", 152, 163), ("settle", 163, END_S), ("harvest", END_S, END_S + 1),
    )  # fmt: skip
    for name, start_s, end_s in edges:
        run.say(start_s, "harness", "phase", name, edge="start")
        run.say(end_s, "harness", "phase", name, edge="end")
    for name, t_s in (("baseline", 49.9), ("burst", 54.9), ("settle", 179.0)):
        run.say(t_s, "harness", "gate", name, ok=True, reason="the steady state holds")
    for resource in ("nodes", "pods", "deployments", "horizontalpodautoscalers", "poddisruptionbudgets", "jobs"):
        run.say(0.5, "cluster", "watch", resource, state="open")


def rate_at(t_s: float) -> tuple[str, float]:
    """Return stage and rate of the profile at an instant of the run."""
    at_s = t_s - LOAD_S
    for stage in STAGES:
        if at_s < stage.duration_s:
            share = at_s / stage.duration_s
            return stage.name, stage.from_rps + (stage.to_rps - stage.from_rps) * share
        at_s -= stage.duration_s
    return "ended", 0.0


def arrivals() -> Any:
    """Return the intended start of every request."""
    times, at_s = [], LOAD_S
    while at_s < LOAD_END_S:
        times.append(at_s)
        at_s += 1 / rate_at(at_s)[1]
    return np.array(times)


def add_load(run: Run) -> None:
    """Add snapshots of the generator and the request log: all good, 50 ms each."""
    run.say(LOAD_S, "load", "load-edge", "started")
    run.say(LOAD_END_S, "load", "load-edge", "ended")
    for second in range(int(LOAD_S) + 1, int(LOAD_END_S) + 1):
        stage, rate = rate_at(second - 0.5)
        run.say(
            second, "load", "load", stage, stage=stage, offered_rps=rate, achieved_rps=rate, requests=0,
            failures=0, inflight=3, dropped=0, workers=1, users=20, cpu_ratio=0.35, lag_s=0.01,
        )  # fmt: skip
    intended = arrivals()
    count = len(intended)
    pods = np.where(intended > 60, "planner-new-0", "planner-0")
    run.requests = pd.DataFrame(
        {
            "intended_s": intended, "start_s": intended + 0.002, "latency_s": np.full(count, 0.05),
            "status": np.full(count, 200), "outcome": ["ok"] * count, "endpoint": ["/v1/plan"] * count,
            "worker": [0] * count, "seq": np.arange(count), "pod": pods,
        }
    )  # fmt: skip


def pod(name: str, **changes: Any) -> PodFact:
    """Return a planner pod that is Ready."""
    base: dict[str, Any] = {"uid": f"uid-{name}", "namespace": "agents", "name": name, "labels": LABELS}
    return PodFact(**(base | {"node": "node-1", "phase": "Running", "ready": True} | changes))


def workload(replicas: int, **changes: Any) -> WorkloadFact:
    """Return the planner Deployment with the replicas asked of it, all of them available."""
    fact = WorkloadFact(
        "uid-planner", "agents", "planner", spec_replicas=replicas, replicas=replicas, ready_replicas=replicas,
        available_replicas=replicas, selector=LABELS,
    )  # fmt: skip
    return replace(fact, **changes)


def hpa(desired: int, cpu_percent: int | None, **changes: Any) -> HpaFact:
    """Return the planner's HPA."""
    fact = HpaFact(
        "uid-hpa", "agents", "planner", target="Deployment/planner", min_replicas=3, max_replicas=12,
        current_replicas=desired, desired_replicas=desired, cpu_target_percent=70, cpu_current_percent=cpu_percent,
        able=True, active=True,
    )  # fmt: skip
    return replace(fact, **changes)


def pdb(**changes: Any) -> PdbFact:
    """Return the planner's budget: two pods must stay."""
    fact = PdbFact(
        "uid-pdb", "agents", "planner", generation=1, observed_generation=1, min_available="2", selector=LABELS,
        current_healthy=3, desired_healthy=2, expected_pods=3, disruptions_allowed=1, computed=True,
    )  # fmt: skip
    return replace(fact, **changes)


def add_planner(run: Run) -> None:
    """Add the planner: three pods, then 6 at +56 s and 9 at +66 s."""
    run.fact(1, pdb())
    run.fact(1, workload(3))
    run.fact(1, hpa(3, 40))
    for i in range(3):
        run.fact(1, pod(f"planner-{i}"))
    for step, (t_s, replicas, cpu) in enumerate(((56.0, 6, 150), (66.0, 9, 105))):
        run.fact(t_s, hpa(replicas, cpu))
        run.fact(t_s + 0.1, workload(replicas, available_replicas=replicas - 3))
        for i in range(3):
            add_pod(run, t_s + 0.2, f"planner-new-{3 * step + i}")
        run.fact(t_s + 1.1, workload(replicas))


def add_pod(run: Run, t_s: float, name: str, ready_after_s: float = 0.8) -> None:
    """Add a pod that is made, scheduled 0.1 s later, and then Ready."""
    run.fact(t_s, pod(name, node="", phase="Pending", ready=False))
    run.fact(t_s + 0.1, pod(name, phase="Pending", ready=False))
    run.fact(t_s + ready_after_s, pod(name))


def add_loss(run: Run, t_s: float, name: str, disruption: str = "") -> None:
    """Take a pod away."""
    run.fact(t_s, pod(name, terminating=True, ready=False, disruption=disruption))
    run.fact(t_s + 0.1, pod(name, terminating=True, ready=False, disruption=disruption, deleted=True))


def add_fault(run: Run, t_s: float, name: str, loss: Loss, victims: list[str], effect: str = "CONFIRMED") -> None:
    """Add the events of a fault that was carried out."""
    hit = [{"kind": "Pod", "namespace": "agents", "name": v, "uid": f"uid-{v}"} for v in victims]
    common = {"action": "kill_pods", "asked": len(victims), "victims": hit, "loss": loss.value}
    run.say(t_s, "chaos", "fault", name, step="permit", **common)
    run.say(t_s + 0.05, "chaos", "fault", name, step="undo-recorded", record_id=f"undo-{name}")
    run.say(t_s + 0.1, "chaos", "fault", name, step="acted", **common)
    run.say(t_s + 1.5, "chaos", "fault", name, step="evidence", effect=effect, reason="uid gone, replacement Ready")


def add_faults(run: Run) -> None:
    """Kill three pods at +97 s and evict one at +117 s; each is replaced within a second."""
    victims = ["planner-0", "planner-1", "planner-2"]
    add_fault(run, 97, "kill-a-third", Loss.ABRUPT, victims)
    for i, victim in enumerate(victims):
        add_loss(run, 97.15, victim)
        add_pod(run, 97.3, f"planner-again-{i}")
    run.fact(97.2, workload(9, available_replicas=6))
    run.fact(98.2, workload(9))
    add_fault(run, 117, "evict-one", Loss.EVICTION, ["planner-new-0"])
    add_loss(run, 117.15, "planner-new-0", "EvictionByEvictionAPI")
    add_pod(run, 117.3, "planner-again-3")
    run.fact(117.2, workload(9, available_replicas=8))
    run.fact(118.2, workload(9))


def scrapes() -> Any:
    """Return the scrape times of a run."""
    return np.arange(0.7, END_S, SCRAPE_S)


def add_gateway(run: Run) -> None:
    """Add the gateway's counters, as the request log has them; they start from an earlier run's 1,000."""
    times = scrapes()
    answered = run.requests[run.requests["status"] > 0]
    end_s = (answered["start_s"] + answered["latency_s"]).to_numpy(dtype=float)
    digit = answered["status"].to_numpy(dtype=int) // 100
    run.series.pop("gateway_requests_total", None)
    for code in range(1, 6):
        ends = np.sort(end_s[digit == code])
        values = np.searchsorted(ends, times) + (1000.0 if code == 2 else 0.0)
        labels = {"instance": "127.44.0.2:9901", "envoy_response_code_class": str(code)}
        run.add_series("gateway_requests_total", times, values, **labels)


def add_queue(run: Run, enqueue_rps: float = 20.0, work_rps: float = 18.0) -> None:
    """Add a queue that fills during the burst and drains after it, first in first out."""
    times = scrapes()
    enqueued = np.interp(times, [BURST_S, BURST_END_S], [0.0, enqueue_rps * (BURST_END_S - BURST_S)]).round()
    until_s = BURST_S + enqueued[-1] / work_rps
    done = np.minimum(enqueued, np.interp(times, [BURST_S, until_s], [0.0, enqueued[-1]]).round())
    came_s = np.interp(
        done + 1, np.arange(enqueued[-1] + 1), BURST_S + np.arange(enqueued[-1] + 1) / max(enqueue_rps, 1e-9)
    )
    depth = enqueued - done
    age = np.where(depth > 0, np.maximum(times - came_s, 0.01), 0.0)
    pending = np.minimum(depth, 4.0)
    values = {
        "queue_oldest_task_age_seconds": age, "queue_depth": depth, "queue_lag": depth - pending,
        "queue_pending": pending, "queue_up": np.ones_like(times), "tasks_unique_enqueued": enqueued + 500,
        "tasks_unique_done": done + 490, "tasks_dead": np.full_like(times, 10.0),
    }  # fmt: skip
    for name, samples in values.items():
        run.series.pop(name, None)
        run.add_series(name, times, samples, instance="127.44.0.9:8080")


def add_restoration(run: Run) -> None:
    """Add undo records that are done, and equal fingerprints."""
    for plan in run.experiment.faults:
        run.undo.append(
            {
                "record_id": f"undo-{plan.name}", "fault": plan.name, "kind": "Pod", "namespace": "agents",
                "name": "planner-0", "done": True, "outcome": "nothing to restore",
            }
        )  # fmt: skip
        run.say(153, "harness", "undo", plan.name, step="done", record_id=f"undo-{plan.name}", outcome="nothing to do")
    state = {"PodDisruptionBudget/agents/planner": {"minAvailable": 2}, "Node/node-1": {"unschedulable": False}}
    run.fingerprint_before, run.fingerprint_after = state, dict(state)
