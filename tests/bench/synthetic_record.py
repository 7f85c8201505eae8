"""A made-up record as large as a real one gets: an hour at 1,200 requests/s on 450 nodes and 5,000 pods.

It goes to disk through the store, like any run's. Nothing here is random but for a fixed seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import registries, store
from harness.model.facts import Fact, HpaFact, NodeFact, PdbFact, PodFact, WorkloadFact
from harness.model.fault import Loss
from harness.model.load import Stage
from harness.model.record import Ending, RunHeader
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.timeline import Event

SELECTOR = {"app": "planner"}
SCRAPE_S = 15.0
LEAD_S, TAIL_S = 60.0, 120.0
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a record is.

    Attributes:
        duration_s: Length of the load.
        rate_rps: Its rate, all along.
        nodes: Nodes.
        pods: Pods, nine of ten of them planners that come one by one.
        scalings: Changes of the planner's replicas.
    """

    duration_s: float = 3600.0
    rate_rps: float = 1200.0
    nodes: int = 450
    pods: int = 5000
    scalings: int = 2000


LARGE = Size()
NORMAL = Size(duration_s=120.0, rate_rps=57.0, nodes=6, pods=20, scalings=6)
"""As `pod-kill-under-burst` on the local testbed."""

Told = tuple[float, str, str, str, dict[str, Any]]


def write_record(size: Size, runs_dir: Path) -> Path:
    """Write a record and return its run folder."""
    experiment = registries.load(registries.experiment_path("pod-kill-under-burst"))
    stages = _stages(size)
    experiment = replace(experiment, load=replace(experiment.load, stages=stages), timeout_s=2 * size.duration_s)
    header = RunHeader("20260101-0000-synthetic-0000", experiment.name, "local", 7, STARTED_AT.isoformat())
    stored = store.RunStore.create(runs_dir, header, experiment, environ={})
    told = sorted(_events(size), key=lambda one: one[0])
    for number, (t_s, actor, kind, subject, detail) in enumerate(told, 1):
        stored.append(Event(number, t_s, actor, kind, subject, detail))
    requests = _requests(size)
    stored.save_requests(requests, 0)
    stored.save_harvest(_harvest(size, requests))
    state = {f"Node/node-{n}": {"unschedulable": False} for n in range(size.nodes)}
    stored.save_fingerprint(state, state)
    undo = {"fault": "kill-a-third-of-the-planners", "operation": "none", "done": True, "outcome": "nothing to restore"}
    stored.save_undo([{"record_id": "u1", **undo}])
    stored.finish(header, Ending.COMPLETED, "", {})
    return stored.run_dir


def _stages(size: Size) -> tuple[Stage, ...]:
    rate, edge_s = size.rate_rps, size.duration_s / 60
    lengths = {"baseline": edge_s, "ramp": edge_s / 10, "cooldown": edge_s / 10}
    lengths["burst"] = size.duration_s - sum(lengths.values())
    return tuple(Stage(name, lengths[name], rate, rate) for name in ("baseline", "ramp", "burst", "cooldown"))


def _burst_s(size: Size) -> float:
    return LEAD_S + size.duration_s / 60


# Events --------------------------------------------------------------------------------------------------------------


def _events(size: Size) -> Iterator[Told]:
    yield from _phases(size)
    for kind in ("nodes", "pods", "deployments", "horizontalpodautoscalers", "poddisruptionbudgets"):
        yield 0.0, "cluster", "watch", kind, {"state": "open"}
    for number in range(size.nodes):
        yield _fact(0.0, NodeFact(f"n{number}", "", f"node-{number}", ready=True, allocatable={"cpu": "16"}))
    yield from _pods(size)
    yield from _scalings(size)
    yield from _load(size)
    yield from _faults(size)


def _phases(size: Size) -> Iterator[Told]:
    burst_s, end_s = _burst_s(size), LEAD_S + size.duration_s
    edges = {
        "preflight": (0.0, LEAD_S), "baseline": (LEAD_S, burst_s), "burst": (burst_s, burst_s + 5),
        "inject": (burst_s + 5, end_s), "recover": (end_s, end_s + 2), "settle": (end_s + 2, end_s + 60),
        "harvest": (end_s + 60, end_s + TAIL_S),
    }  # fmt: skip
    for name, (start_s, stop_s) in edges.items():
        yield start_s, "harness", "phase", name, {"edge": "start"}
        yield stop_s, "harness", "phase", name, {"edge": "end"}


def _fact(t_s: float, fact: Fact) -> Told:
    return t_s, "cluster", fact.kind, fact.subject, fact.detail()


def _pods(size: Size) -> Iterator[Told]:
    """Tell of every pod: made, given a node, Ready. A tenth of them are others, there from the start."""
    planners = _replicas(size)
    for number in range(size.pods - planners[-1]):
        pod = PodFact(f"o{number}", "agents", f"other-{number}", phase="Running", ready=True, node="node-0")
        yield _fact(0.0, pod)
    for number in range(planners[-1]):
        born_s = 0.0 if number < planners[0] else _scaled_at_s(size, int(np.searchsorted(planners, number + 1)))
        base = PodFact(f"p{number}", "agents", f"planner-{number}", labels=dict(SELECTOR), phase="Pending")
        node = f"node-{number % size.nodes}"
        yield _fact(born_s, base)
        yield _fact(born_s + 0.2, replace(base, node=node))
        yield _fact(born_s + 2.0, replace(base, node=node, phase="Running", ready=True))


def _replicas(size: Size) -> list[int]:
    """Return the planner's replicas after each change: from a tenth of the pods, up to nine tenths."""
    low, high = max(3, size.pods // 10), size.pods * 9 // 10
    return [int(value) for value in np.linspace(low, high, size.scalings + 1)]


def _scaled_at_s(size: Size, change: int) -> float:
    span_s = size.duration_s * 0.9
    return _burst_s(size) + 10.0 + span_s * change / (size.scalings + 1)


def _scalings(size: Size) -> Iterator[Told]:
    for change, replicas in enumerate(_replicas(size)):
        at_s = 0.0 if change == 0 else _scaled_at_s(size, change)
        yield _fact(at_s - 0.1 * (change > 0), _hpa(replicas))
        yield _fact(at_s, _workload(replicas, replicas))
        yield _fact(at_s + 2.0 * (change > 0), _pdb(replicas))


def _hpa(replicas: int) -> HpaFact:
    return HpaFact(
        "h1", "agents", "planner", target="Deployment/planner", min_replicas=3, max_replicas=6000,
        current_replicas=replicas, desired_replicas=replicas, cpu_target_percent=70, cpu_current_percent=110,
        able=True, active=True, active_reason="ValidMetricFound",
    )  # fmt: skip


def _workload(replicas: int, ready: int) -> WorkloadFact:
    return WorkloadFact(
        "w1", "agents", "planner", generation=1, observed_generation=1, spec_replicas=replicas, replicas=replicas,
        ready_replicas=ready, available_replicas=ready, updated_replicas=replicas, selector=dict(SELECTOR),
    )  # fmt: skip


def _pdb(replicas: int) -> PdbFact:
    return PdbFact(
        "b1", "agents", "planner", generation=1, observed_generation=1, min_available="2", selector=dict(SELECTOR),
        current_healthy=replicas, desired_healthy=2, expected_pods=replicas, disruptions_allowed=replicas - 2,
        computed=True,
    )  # fmt: skip


def _load(size: Size) -> Iterator[Told]:
    end_s = LEAD_S + size.duration_s
    yield LEAD_S, "load", "load-edge", "started", {"profile": "synthetic"}
    stage_ends = np.cumsum([stage.duration_s for stage in _stages(size)])
    names = [stage.name for stage in _stages(size)]
    for second in range(1, int(size.duration_s) + 1):
        stage = names[min(int(np.searchsorted(stage_ends, second - 0.5)), len(names) - 1)]
        snapshot = {
            "t_s": LEAD_S + second, "stage": stage, "offered_rps": size.rate_rps, "achieved_rps": size.rate_rps,
            "requests": int(size.rate_rps * second), "failures": 0, "inflight": 3, "dropped": 0, "workers": 4,
            "users": 400, "cpu_ratio": 0.4, "lag_s": 0.003,
        }  # fmt: skip
        yield LEAD_S + second, "load", "load", stage, snapshot
    yield end_s + 0.5, "load", "load-edge", "ended", {"reason": "completed"}


def _faults(size: Size) -> Iterator[Told]:
    for number, (name, action, loss) in enumerate(
        (("kill-a-third-of-the-planners", "kill_pods", "ABRUPT"), ("evict-one-planner", "evict_pods", "EVICTION"))
    ):
        at_s = _burst_s(size) + size.duration_s * (0.3 + 0.2 * number)
        victims = [{"kind": "Pod", "namespace": "agents", "name": f"planner-{number}", "uid": f"p{number}"}]
        base = {"action": action, "loss": Loss[loss].value, "asked": 1}
        yield at_s, "chaos", "fault", name, {"step": "permit", **base}
        yield at_s + 0.2, "chaos", "fault", name, {"step": "acted", **base, "victims": victims}
        yield at_s + 5.0, "chaos", "fault", name, {"step": "evidence", "effect": "CONFIRMED", "reason": "uids gone"}


# Requests and samples ------------------------------------------------------------------------------------------------


def _requests(size: Size) -> pd.DataFrame:
    rng, count = np.random.default_rng(7), int(size.duration_s * size.rate_rps)
    intended_s = LEAD_S + (np.arange(count) + 0.5) / size.rate_rps
    bad = rng.random(count) < 0.001
    pods = np.array([f"planner-{n}" for n in range(size.pods // 10)], dtype=object)
    return pd.DataFrame(
        {
            "intended_s": intended_s,
            "start_s": intended_s + rng.exponential(0.001, count),
            "latency_s": rng.lognormal(-4.0, 0.4, count),
            "status": np.where(bad, 503, 200),
            "outcome": np.where(bad, "http_error", "ok"),
            "endpoint": "POST /v1/plan",
            "worker": np.arange(count) % 4,
            "seq": np.arange(count) // 4,
            "pod": pods[np.arange(count) % len(pods)],
        }
    )


def _harvest(size: Size, requests: pd.DataFrame) -> Harvest:
    t_s = np.arange(0.0, LEAD_S + size.duration_s + TAIL_S, SCRAPE_S if size.duration_s > 600 else 2.0)
    step_s = float(t_s[1] - t_s[0])
    ends = np.sort((requests["start_s"] + requests["latency_s"]).to_numpy())
    count = np.searchsorted(ends, t_s).astype(float)
    good = requests["status"].to_numpy() == 200
    bad_ends = np.sort((requests["start_s"] + requests["latency_s"]).to_numpy()[~good])
    bad = np.searchsorted(bad_ends, t_s).astype(float)
    rows: dict[str, list[tuple[dict[str, str], Any]]] = {
        "gateway_requests_total": [
            ({"envoy_response_code_class": "2"}, count - bad), ({"envoy_response_code_class": "5"}, bad),
        ],
        "queue_oldest_task_age_seconds": [({}, np.where((t_s > LEAD_S) & (t_s < LEAD_S + size.duration_s), 0.4, 0.0))],
        "queue_depth": [({}, np.where((t_s > LEAD_S) & (t_s < LEAD_S + size.duration_s), 4.0, 0.0))],
        "queue_lag": [({}, np.where((t_s > LEAD_S) & (t_s < LEAD_S + size.duration_s), 3.0, 0.0))],
        "queue_pending": [({}, np.where((t_s > LEAD_S) & (t_s < LEAD_S + size.duration_s), 1.0, 0.0))],
        "queue_up": [({}, np.ones(len(t_s)))],
        "tasks_unique_enqueued": [({}, count // 5)],
        "tasks_unique_done": [({}, np.maximum(0, count // 5 - np.where(
            (t_s > LEAD_S) & (t_s < LEAD_S + size.duration_s), 4.0, 0.0)))],
        "tasks_dead": [({}, np.zeros(len(t_s)))],
    }  # fmt: skip
    signals = {
        name: SignalHarvest(
            Signal(name, name, counter=name == "gateway_requests_total", gap_max_s=3 * step_s),
            tuple(Series(name, labels, t_s, np.asarray(values, dtype=float)) for labels, values in parts), step_s,
        )
        for name, parts in rows.items()
    }  # fmt: skip
    return Harvest(signals, "synthetic", step_s, 0.01)
