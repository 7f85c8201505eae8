"""A queue that KEDA scales: a run whose autoscaler is a ScaledObject."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.model.facts import ScaledObjectFact, WorkloadFact
from tests.replay.builders import Run, good_run, pod, with_params


def adapters(replicas: int) -> WorkloadFact:
    """Return the tool adapter Deployment."""
    labels = {"app": "tool-adapter"}
    return WorkloadFact("uid-adapter", "agents", "tool-adapter", spec_replicas=replicas, selector=labels)


def scaled_object(**changes: Any) -> ScaledObjectFact:
    """Return the tool adapter's ScaledObject."""
    fact = ScaledObjectFact(
        "uid-so", "agents", "tool-adapter", target="Deployment/tool-adapter", hpa_name="keda-hpa-tool-adapter",
        min_replicas=0, max_replicas=8, ready=True, active=False,
    )  # fmt: skip
    return replace(fact, **changes)


def keda_run() -> Run:
    """Return a good run whose autoscaler is KEDA: adapters go from 0 to 1 at +52 s, to 4 at +60 s."""
    run = good_run()
    run = with_params(run, "autoscaler_response", autoscaler="scaledobject/agents/tool-adapter")
    run.fact(1, scaled_object())
    run.fact(1, adapters(0))
    run.fact(51, scaled_object(active=True))
    labels = {"app": "tool-adapter"}
    for t_s, replicas, first in ((52.0, 1, 0), (60.0, 4, 1)):
        run.fact(t_s, adapters(replicas))
        for i in range(first, replicas):
            name = f"tool-adapter-{i}"
            run.fact(t_s + 0.1, pod(name, labels=labels, node="", ready=False, phase="Pending"))
            run.fact(t_s + 0.2, pod(name, labels=labels, ready=False, phase="Pending"))
            run.fact(t_s + 1.0, pod(name, labels=labels))
    return run
