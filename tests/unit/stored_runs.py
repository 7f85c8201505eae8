"""Synthetic records for tests of store and reports: a whole game day, and the ways in which one ends badly."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from harness.model.experiment import AssertionSpec, Experiment, ProbeSpec, Scope, WorkloadRef
from harness.model.fault import FaultPlan, Loss
from harness.model.load import LoadProfile, Stage
from harness.model.record import Ending, Record, RunHeader
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.time import Window
from harness.model.timeline import Event, Timeline
from harness.model.verdict import Assumption, Coverage, Outcome, Verdict

STARTED_AT = "2026-11-25T01:41:00+00:00"
RUN_ID = "20261125-0141-pod-kill-under-burst-7f3a"
ORIGIN = datetime(2026, 11, 25, 1, 41, tzinfo=UTC)
FIRST_S, BURST_S, COOL_S, END_S = 12.0, 52.0, 156.0, 176.0
KILL_S, EVICT_S = 97.0, 117.0


def header(**changes: Any) -> RunHeader:
    """Return the header of a completed run."""
    whole = RunHeader(
        run_id=RUN_ID,
        experiment="pod-kill-under-burst",
        target="local",
        seed=4711,
        started_at=STARTED_AT,
        ending=Ending.COMPLETED,
        versions={"gameday": "0.1.0", "kubernetes": "v1.35.4", "locust": "3.1.0", "chaostoolkit": "1.44.0"},
        facts={"cpu_limits_enforced": True, "prometheus": "3.4.1"},
    )
    return replace(whole, **changes)


def experiment() -> Experiment:
    """Return an experiment with every part filled."""
    stages = (Stage("baseline", 40, 15, 15), Stage("ramp", 4, 15, 60), Stage("burst", 100, 60, 60))
    return Experiment(
        name="pod-kill-under-burst",
        title="Planner pods are killed under a burst",
        hypothesis="The planner serves and two of its pods are Ready",
        probes=(ProbeSpec("two-ready", "ready_pods_at_least", {"namespace": "agents", "minimum": 2}),),
        load=LoadProfile("planner-burst", (*stages, Stage("cooldown", 20, 10, 10)), {"PlannerUser": 1.0}),
        faults=(
            FaultPlan(
                "kill-a-third-of-the-planners", "kill_pods", {"share": 0.34}, 45.0, 30.0, Loss.ABRUPT, "none", "-"
            ),
            FaultPlan("evict-one-planner", "evict_pods", {"count": 1}, 65.0, 30.0, Loss.EVICTION, "none", "-"),
        ),
        assertions=(
            AssertionSpec("autoscaler-response", "autoscaler_response", {"autoscaler": "hpa/agents/planner"}),
            AssertionSpec("pdb-safety", "pdb_safety", {"pdb": "agents/planner"}),
            AssertionSpec("queue-backlog", "backlog", {"age_max": "5m"}),
            AssertionSpec("error-budget", "error_budget", {"objective": 0.995}),
            AssertionSpec("restored", "restored"),
        ),
        scope=Scope(("agents",), (WorkloadRef("agents", "planner", {"app": "planner"}),)),
        components=("core", "platform"),
        settle_s=60.0,
        timeout_s=600.0,
        runbook="runbooks/pod-kill-under-burst.md",
        load_options={"tool_calls": 0, "path": "/v1/plan", "ratio": 0.5},
        text="version: 1.0.0\ntitle: Planner pods are killed under a burst\n",
        path="experiments/pod-kill-under-burst.yaml",
    )


def offered_rps(t_s: float) -> float:
    """Return the rate that the profile asks for."""
    if FIRST_S <= t_s < BURST_S:
        return 15.0
    if BURST_S <= t_s < BURST_S + 4:
        return 15.0 + 45.0 * (t_s - BURST_S) / 4
    return 60.0 if BURST_S + 4 <= t_s < COOL_S else 10.0 if COOL_S <= t_s < END_S else 0.0


def requests(scale: float = 1.0) -> pd.DataFrame:
    """Return a request log; ``scale`` multiplies the rate."""
    rng = np.random.default_rng(7)
    counts = [round(offered_rps(t) * scale) for t in range(int(END_S))]
    second = np.repeat(np.arange(len(counts)), counts)
    intended_s = np.sort(second + rng.random(len(second)))
    hurt = (intended_s >= KILL_S) & (intended_s < KILL_S + 2)
    latency_s = rng.lognormal(-4.2, 0.35, len(second)) * np.where(intended_s > BURST_S, 1.6, 1.0) * np.where(hurt, 6, 1)
    bad = hurt & (rng.random(len(second)) < 0.1)
    return pd.DataFrame(
        {
            "intended_s": intended_s,
            "start_s": intended_s + rng.exponential(0.001, len(second)),
            "latency_s": latency_s,
            "status": np.where(bad, 0, 200),
            "outcome": np.where(bad, "connect_error", "ok"),
            "endpoint": "POST /v1/plan",
            "worker": 1,
            "seq": np.arange(len(second)),
            "pod": "planner-abc",
        }
    )


_LATE = [
    (10.0, "harness", "gate", "preflight", {"ok": True, "reason": "two planner pods are Ready"}),
    (FIRST_S, "load", "load-edge", "started", {}),
    (52.1, "harness", "gate", "baseline", {"ok": True, "reason": "the steady state holds"}),
    (60.0, "harness", "gate", "burst", {"ok": True, "reason": "offered 60.0, achieved 59.8 rps"}),
    (END_S, "load", "load-edge", "ended", {}),
    (190.0, "harness", "gate", "settle", {"ok": True, "reason": "the steady state is back"}),
    (192.0, "harness", "undo", "kill-a-third-of-the-planners", {"step": "done", "outcome": "nothing to restore"}),
]
_PHASES = [
    ("preflight", 0.0, 12.0),
    ("baseline", 12.0, 52.0),
    ("burst", 52.0, 60.0),
    ("inject", 60.0, 176.0),
    ("recover", 176.0, 178.0),
    ("settle", 178.0, 190.0),
    ("harvest", 190.0, 193.0),
]


def _fault_events() -> list[tuple[float, str, str, str, dict[str, Any]]]:
    names = [f"planner-7c9f-{n}" for n in ("x2x", "k8s", "q7w")]
    killed = [{"kind": "Pod", "namespace": "agents", "name": n, "uid": f"uid-{n}"} for n in names]
    evicted = [{"kind": "Pod", "namespace": "agents", "name": "planner-7c9f-ev1", "uid": "uid-ev1"}]
    told = []
    for name, action, t, loss, victims, hold in (
        ("kill-a-third-of-the-planners", "kill_pods", KILL_S, Loss.ABRUPT, killed, 6.5),
        ("evict-one-planner", "evict_pods", EVICT_S, Loss.EVICTION, evicted, 4.0),
    ):
        base = {"action": action, "loss": loss.value, "asked": len(victims)}
        told += [
            (t, "chaos", "fault", name, {"step": "permit", **base}),
            (t + 0.2, "chaos", "fault", name, {"step": "acted", **base, "victims": victims}),
            (t + hold, "chaos", "fault", name, {"step": "evidence", "effect": "CONFIRMED", "reason": "uids gone"}),
        ]
    return told


def _cluster_events() -> list[tuple[float, str, str, str, dict[str, Any]]]:
    told: list[tuple[float, str, str, str, dict[str, Any]]] = []
    steps = [(0.5, 3, 3, 3), (76, 6, 3, 3), (77, 6, 6, 3), (80, 6, 6, 6), (91, 9, 6, 6), (92, 9, 9, 6), (95, 9, 9, 9)]
    steps += [(KILL_S + 0.3, 9, 9, 6), (KILL_S + 6, 9, 9, 9), (EVICT_S + 0.2, 9, 9, 8), (EVICT_S + 4, 9, 9, 9)]
    for t, desired, spec, ready in steps:
        name = {"uid": "w1", "namespace": "agents", "name": "planner"}
        workload = {**name, "spec_replicas": spec, "replicas": spec, "ready_replicas": ready}
        hpa = {**name, "uid": "h1", "target": "Deployment/planner", "min_replicas": 3, "max_replicas": 12}
        pdb = {**name, "uid": "p1", "current_healthy": ready, "desired_healthy": 2, "disruptions_allowed": ready - 2}
        told += [
            (
                float(t),
                "cluster",
                "hpa",
                "agents/planner",
                {**hpa, "desired_replicas": desired, "current_replicas": spec},
            ),
            (float(t), "cluster", "workload", "agents/planner", workload),
            (float(t), "cluster", "pdb", "agents/planner", pdb),
        ]
    return told


def _load_events() -> list[tuple[float, str, str, str, dict[str, Any]]]:
    told, done = [], 0
    for t in range(int(FIRST_S) + 1, int(END_S) + 1):
        offered = offered_rps(t - 0.5)
        done += round(offered)
        snapshot = {
            "t_s": float(t), "stage": "burst", "offered_rps": offered, "achieved_rps": offered * 0.997,
            "requests": done, "failures": 0, "inflight": 2, "dropped": 0, "workers": 1, "users": 9,
            "cpu_ratio": 0.31, "lag_s": 0.004,
        }  # fmt: skip
        told.append((float(t), "load", "load", "burst", snapshot))
    return told


def timeline(until_s: float = 1e9) -> Timeline:
    """Return the events of the run up to a second."""
    phases = [(t, "harness", "phase", n, {"edge": e}) for n, a, b in _PHASES for t, e in ((a, "start"), (b, "end"))]
    told = [*phases, *_LATE, *_fault_events(), *_cluster_events(), *_load_events()]
    told = sorted((t for t in told if t[0] <= until_s), key=lambda one: one[0])
    return Timeline(ORIGIN, tuple(Event(n, *one) for n, one in enumerate(told, 1)))


def harvest(step_s: float = 2.0) -> Harvest:
    """Return the signals of the backlog chart and a counter."""
    t_s = np.arange(0.0, 193.0, step_s)
    depth = np.interp(t_s, [0, BURST_S, COOL_S, 188, 193], [0, 0, 240, 0, 0])
    shapes = {"queue_depth": depth, "queue_oldest_task_age_seconds": depth / 20, "gateway_requests_total": t_s * 30}
    signals = {}
    for name, values in shapes.items():
        signal = Signal(name, f"{name}{{job='x'}}", counter=name.endswith("_total"))
        signals[name] = SignalHarvest(signal, (Series(name, {"job": "x", "app": "y"}, t_s, values),), step_s)
    return Harvest(signals, "3.4.1", step_s, 0.02)


def record(**changes: Any) -> Record:
    """Return a whole record."""
    whole = Record(
        header=header(),
        experiment=experiment(),
        timeline=timeline(),
        harvest=harvest(),
        requests=requests(),
        fingerprint_before={"node//general-1": {"unschedulable": False}},
        fingerprint_after={"node//general-1": {"unschedulable": False}},
        undo=({"record_id": "u1", "fault": "evict-one-planner", "done": True, "outcome": "nothing to restore"},),
    )
    return replace(whole, **changes)


def verdicts() -> tuple[Verdict, ...]:
    """Return one verdict of each outcome, and a plain pass."""
    return (
        Verdict(
            "autoscaler-response", "autoscaler_response", Outcome.PASS,
            "desired replicas rise within 45 s, new pods Ready within 20 s", "desired after 24.0 s, Ready after 4.0 s",
            "every stage kept its limit", window=Window(BURST_S, COOL_S), coverage=Coverage(104, 104, 1.0),
            evidence=("event 92: hpa agents/planner desired 3 → 6", "event 95: 6 of 6 Ready"),
            figures={"desired_after_s": 24.0, "ready_after_s": 4.0},
        ),
        Verdict(
            "pdb-safety", "pdb_safety", Outcome.PASS, "healthy ≥ desiredHealthy (2) at every change",
            "lowest healthy 3 of 2 at +0.5 s", "never below", coverage=Coverage(11, 0, 30.0),
            figures={"healthy_min": 3.0},
        ),
        Verdict(
            "queue-backlog", "backlog", Outcome.INCONCLUSIVE, "oldest task ≤ 300 s, drained within 300 s",
            "no task was ever enqueued", "nothing queued: the answer would mean nothing",
            "give the load tool calls: load.options.tool_calls ≥ 1",
        ),
        Verdict(
            "error-budget", "error_budget", Outcome.FAIL, "≥ 99.5 % of at least 600 requests succeed",
            "99.12 % of 7,012 (62 bad)", "the budget is spent: 62 bad, 35 allowed",
            "look at the losses after +97 s: add a preStop hook or let Envoy retry on reset",
            window=Window(FIRST_S, END_S), coverage=Coverage(7012, 7012, 0.9),
            evidence=("requests.parquet: outcome = connect_error", "gateway_requests_total"),
            figures={"success_ratio": 0.9912, "requests": 7012.0, "bound_ratio": float("nan")},
        ),
        Verdict("restored", "restored", Outcome.PASS, "every undo done", "2 undone, no difference", "clean"),
    )  # fmt: skip


def assumptions() -> dict[str, Assumption]:
    """Return assumptions of each kind."""
    told = (
        Assumption("load_reached_floor", True, "achieved 99.7 % of offered, floor 95 %"),
        Assumption("generator_healthy", True, "cpu 31 %, lag 4 ms, nothing dropped"),
        Assumption("metrics_fresh", False, "queue_depth: hole of 22 s", "look at Prometheus' targets page"),
        Assumption("clocks_agree", None, "Prometheus gave no time", "ask /api/v1/query?query=time()"),
    )
    return {one.name: one for one in told}
