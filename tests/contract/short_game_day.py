"""A short game day for tests of a shared cluster: a trickle of load, one planner killed, budget and errors judged."""

from __future__ import annotations

from typing import Any

SIGNALS = ("gateway_requests_total", "queue_depth", "queue_lag", "queue_pending")


def experiment_document(namespace: str) -> dict[str, Any]:
    """Return a short game day: a trickle of load, one planner pod killed, its budget and the restoration judged."""
    action = {
        "type": "action",
        "name": "kill-one",
        "pauses": {"before": 3},
        "provider": {
            "type": "python",
            "module": "experiments.faults.pod",
            "func": "kill_pods",
            "arguments": {"namespace": namespace, "selector": "app=planner", "count": 1},
        },
    }
    probe = {
        "type": "probe",
        "name": "two-ready",
        "tolerance": True,
        "provider": {
            "type": "python",
            "module": "experiments.faults.probes",
            "func": "ready_pods_at_least",
            "arguments": {"namespace": namespace, "selector": "app=planner", "minimum": 2},
        },
    }
    extension = {
        "name": "gameday",
        "schema": "gameday.experiment/1",
        "runbook": "runbooks/pod-kill-under-burst.md",
        "needs": ["core"],
        "scope": {"namespaces": [namespace], "workloads": []},  # without metrics-server none is known to be ready
        "load": {
            "profile": "planner-burst",
            "scale": 0.1,
            "stages": {"baseline": "6s", "ramp": "1s", "burst": "20s", "cooldown": "2s"},
            "options": {"tool_calls": 0},
        },
        "settle": "30s",
        "timeout": "4m",
        "faults": {"kill-one": {"max_hold": "12s"}},
        "assertions": {
            "pdb-safety": {"kind": "pdb_safety", "pdb": f"{namespace}/planner"},
            "error-budget": {"kind": "error_budget", "objective": 0.9, "min_requests": 60},
        },
    }
    return {
        "version": "1.0.0",
        "title": "One planner is killed on the stand-in",
        "description": "A short game day for the stand-in of staging.",
        "tags": [],
        "steady-state-hypothesis": {"title": "Two planners are Ready", "probes": [probe]},
        "method": [action],
        "rollbacks": [],
        "extensions": [extension],
    }
