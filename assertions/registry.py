"""`ASSERTIONS`: every kind of assertion by name. Explicit; nothing is scanned."""

from __future__ import annotations

from collections.abc import Mapping

from assertions import (
    agent_outcomes,
    alerts,
    autoscaler,
    backlog,
    cpu_utilisation,
    disruption_budget,
    drain_outcome,
    error_budget,
    gpu_utilisation,
    job_progress,
    latency,
    latency_share,
    node_recovery,
    nodes_scaled,
    pending_time,
    preemption,
    recovery,
    replicas_held,
    restored,
    signal,
)
from assertions.definition import Definition

ASSERTIONS: Mapping[str, Definition] = {
    definition.kind: definition
    for definition in (
        autoscaler.DEFINITION,
        disruption_budget.DEFINITION,
        backlog.DEFINITION,
        error_budget.DEFINITION,
        latency.DEFINITION,
        latency_share.DEFINITION,
        recovery.DEFINITION,
        pending_time.DEFINITION,
        preemption.DEFINITION,
        replicas_held.DEFINITION,
        node_recovery.DEFINITION,
        nodes_scaled.DEFINITION,
        drain_outcome.DEFINITION,
        job_progress.DEFINITION,
        cpu_utilisation.DEFINITION,
        gpu_utilisation.DEFINITION,
        agent_outcomes.DEFINITION,
        alerts.DEFINITION,
        signal.DEFINITION,
        restored.DEFINITION,
    )
}
"""Every kind by name, in the order in which `gameday list` shows them. A new kind is one line here."""
