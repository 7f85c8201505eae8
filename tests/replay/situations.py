"""Whole records in which each kind of assertion has something to say; most are good runs that tests here build anyway.

`SITUATIONS` names them. They are spoilt by `tests.replay.spoilings`; nothing here judges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from harness.model.experiment import AssertionSpec
from harness.model.fault import Loss
from tests.replay.builders import ASSERTIONS, Run, add_loss, add_pod, asserting, good_run, pod, workload
from tests.replay.fault_builders import one_fault, tell_fault
from tests.replay.keda_builders import keda_run
from tests.replay.node_builders import DOWN, UP, long_run, mark, node_scaled_run, remove
from tests.replay.signal_builders import SCRAPES_S, SERVING, add_cpu
from tests.replay.test_agent_outcomes import outcome_run
from tests.replay.test_alerts import alert_run
from tests.replay.test_backlog_sources import kafka_run, source_run
from tests.replay.test_claims import run_with
from tests.replay.test_drains_and_jobs import BUDGET, blocked_run, drain_run, job_run
from tests.replay.test_held_and_returned import GPU, blackout, node, node_run
from tests.replay.test_latency_share import share_run
from tests.replay.test_scheduling import gpu_run, wait_for_node
from tests.replay.test_utilisation import cpu_run
from tests.replay.test_utilisation import gpu_run as busy_gpus


def with_asked(run: Run, **asked: Mapping[str, object]) -> Run:
    """Let a run be judged by the named kinds, each with its limits."""
    specs = tuple(AssertionSpec(kind, kind, dict(params)) for kind, params in asked.items())
    run.experiment = replace(run.experiment, assertions=specs)
    return run


def burst() -> Run:
    """Return the good run, asked besides about its recovery, its pending pods and how it came back."""
    run = good_run()
    planner = {"namespace": "agents", "selector": "app=planner"}
    more = {
        "workload_recovery": {"workload": "agents/planner", "within": "2s"},
        "pending_time": {**planner, "within": "1s"},
    }
    asked = {spec.kind: dict(spec.params) for spec in ASSERTIONS}
    return with_asked(run, **asked, **more)


def counted_cpu() -> Run:
    """Return a run whose pods have CPU counters, every second of them near the limit."""
    run = cpu_run(70)
    for number, name in enumerate(SERVING):
        add_cpu(run, name, 0.06 if number % 2 else 0.085)
    return run


def counts() -> Run:
    """Return a run whose backlog is known by counts of tasks alone."""
    return only(source_run("counts"), "backlog")


def only(run: Run, kind: str) -> Run:
    """Let a run be judged by its assertion of a kind alone."""
    found = tuple(spec for spec in run.experiment.assertions if spec.kind == kind)
    run.experiment = replace(run.experiment, assertions=found)
    return run


def scaled(**limits: object) -> Run:
    """Return the good run, asked about its autoscaler with every limit there is; the replicas come back at +172 s."""
    run = good_run()
    run.fact(172, workload(3))
    asked = {"autoscaler": "hpa/agents/planner", "signal_within": "10s", "saturated_max": "5s", "overshoot_max": 0}
    return asserting(run, "autoscaler_response", **{**asked, "returned_within": "30s", **limits})


def boxes() -> Run:
    """Return a run whose pods have two containers each, and the sandbox beside them, in two namespaces."""
    run = cpu_run(70)
    for name in SERVING:
        for box, cores in (("main", 0.06), ("sidecar", 0.015), ("POD", 9.0)):
            for signal, values in (
                ("pod_cpu_seconds", SCRAPES_S * cores),
                ("pod_cpu_request_cores", SCRAPES_S * 0 + 0.05),
            ):
                run.add_series(signal, SCRAPES_S, values, pod=name, container=box, namespace="agents")
                run.add_series(signal, SCRAPES_S, values * 7, pod=name, container=box, namespace="others")
    return run


def claims() -> Run:
    """Return a run of which every mode of claim is asked, true and untrue."""
    run = run_with({80.0: 51, 82.0: 60}, at_most=50)
    modes = ("always", "never", "sometimes", "eventually", "for-at-least")
    bounds = ({"at_most": 50}, {"at_least": 51}, {"at_least": 5, "stage": "baseline"}, {"at_most": 9, "within": "15s"})
    run.experiment = replace(run.experiment, assertions=tuple(
        AssertionSpec(f"{mode} {bound}", "signal", {"signal": "depth", "mode": mode, "duration": "20s", **bound})
        for mode in modes for bound in bounds
    ))  # fmt: skip
    return run


def lost_node() -> Run:
    """Return a run that loses node gpu-1 with two planners, gets it back after 10 s, and whose planners come back."""
    run = node_run((140, node()))
    for number in range(2):
        run.fact(89, pod(f"planner-new-{number}", node="gpu-1"))
        add_loss(run, 111, f"planner-new-{number}", "DeletionByTaintManager")
        add_pod(run, 112, f"planner-back-{number}")
    run.fact(111.1, workload(9, available_replicas=7))
    run.fact(113, workload(9))
    asked = {
        "node_recovery": {"fault": "lose", "ready_within": "20s", "resource": GPU},
        "workload_recovery": {"workload": "agents/planner", "after": "lose", "within": "30s"},
        "pending_time": {"namespace": "agents", "selector": "app=planner", "within": "30s"},
        "pdb_safety": {"pdb": "agents/planner"},
    }
    return with_asked(run, **asked)


def crashes() -> Run:
    """Return a run in which two planners crash and hang, and are whole again by themselves."""
    run = one_fault(good_run(), "crash", Loss.CRASH)
    victims = [{"kind": "Pod", "namespace": "agents", "name": f"planner-new-{i}", "uid": f"uid-planner-new-{i}"}
               for i in range(2)]  # fmt: skip
    tell_fault(run, "crash", Loss.CRASH, victims, undone_s=None)
    for i in range(2):
        run.fact(97.5, pod(f"planner-new-{i}", ready=False, restarts=1, reason="OOMKilled"))
        run.fact(105 + i, pod(f"planner-new-{i}", restarts=1))
    run.fact(97.6, workload(9, available_replicas=7))
    run.fact(106.2, workload(9))
    asked = {
        "workload_recovery": {"workload": "agents/planner", "within": "30s"},
        "pdb_safety": {"pdb": "agents/planner"},
    }
    return with_asked(run, **asked)


def finished_job() -> Run:
    """Return a run whose Job goes through the reclaim of its node."""
    asked = {"namespace": "agents", "selector": "app=evaluation", "completed_within": "100s", "fault": "reclaim"}
    return asserting(job_run(), "job_progress", **asked)


def nodes_that_come() -> Run:
    """Return a run whose node comes in time, asked with every limit there is."""
    pods = {"namespace": "agents", "selector": "app=planner"}
    asked = {"direction": UP, "nodes": "pool=general", "count_max": 1, "offered_within": "60s", **pods}
    return asserting(node_scaled_run(), "nodes_scaled", **asked)


def nodes_that_go() -> Run:
    """Return a run whose node goes as its autoscaler's timers say."""
    run = remove(mark(long_run(900), 170), 540)
    return asserting(run, "nodes_scaled", direction=DOWN, nodes="pool=general")


def taken_gpus() -> Run:
    """Return a run in which inference preempts batch."""
    victims = {"namespace": "agents", "selector": "app=batch"}
    asked = {"namespace": "agents", "selector": "app=inference", "victims": victims}
    return asserting(gpu_run(), "preemption", **asked)


SITUATIONS: Mapping[str, Callable[[], Run]] = {
    "agent-outcomes": lambda: outcome_run(tasks_duplicate=5, tasks_late=8),
    "alerts": lambda: alert_run(("PlannerDown", 20), ("QueueOld", 30), allow=["QueueOld"]),
    "blackout": lambda: asserting(blackout(), "replicas_held", autoscaler="hpa/agents/planner", during="blackout"),
    "burst": burst,
    "claim": lambda: run_with({80.0: 51}, at_most=55, name="depth"),
    "claims": claims,
    "counts": counts,
    "cpu-by-containers": boxes,
    "cpu-by-counters": counted_cpu,
    "cpu-by-hpa": lambda: cpu_run(70),
    "crashes": crashes,
    "drain": lambda: asserting(drain_run(), "drain_outcome", fault="drain", within="10s"),
    "drain-blocked": lambda: asserting(blocked_run(), "drain_outcome", fault="drain", expect="blocked", budget=BUDGET),
    "gpus": lambda: busy_gpus(80, 60, 70),
    "job": finished_job,
    "kafka": lambda: only(kafka_run((1000, 0), (1000, 500)), "backlog"),
    "keda": lambda: only(keda_run(), "autoscaler_response"),
    "latency-share": lambda: share_run(bound="1s", share_min=0.95),
    "lost-node": lost_node,
    "nodes-come": nodes_that_come,
    "nodes-go": nodes_that_go,
    "preemption": taken_gpus,
    "redis-list": lambda: only(source_run("redis-list"), "backlog"),
    "scaled": scaled,
    "scaled-as-specified": lambda: scaled(expect="as-specified", returned_within="as-specified"),
    "scaled-and-held": lambda: scaled(expect="hold"),
    "slow-pod": lambda: asserting(
        wait_for_node(good_run(), 100, 120), "pending_time", namespace="agents", selector="app=planner", within="30s"
    ),
}
"""Every record by name. A new one is one line here."""
