"""Series for the kinds that look at CPU, GPUs and alerts: what `good_run()` leaves out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tests.replay.builders import Run

SCRAPES_S = np.arange(0.0, 200.0, 2.0)
SERVING = tuple(f"planner-{name}" for name in (*(f"new-{i}" for i in range(6)), *(f"again-{i}" for i in range(4))))
"""Planners of `good_run()` that are Ready once the killed ones are gone, at least for some time."""


def add_gpu(run: Run, percent: float, name: str = "gpu_utilisation_percent", **labels: str) -> None:
    """Add a device that is as busy as this all the time."""
    run.add_series(name, SCRAPES_S, np.full(len(SCRAPES_S), percent), **labels)


def add_alert(run: Run, name: str, from_s: float, to_s: float = 200.0) -> None:
    """Let an alert fire for a while."""
    fires = SCRAPES_S[(SCRAPES_S >= from_s) & (SCRAPES_S < to_s)]
    run.add_series("alerts_firing", fires, np.ones(len(fires)), alertname=name)


def add_rules(run: Run, names: Iterable[str]) -> None:
    """Let Prometheus know these rules."""
    for name in names:
        run.add_series("alert_rules", SCRAPES_S, np.ones(len(SCRAPES_S)), alertname=name)


def add_cpu(run: Run, pod: str, cores: float, request: float = 0.1) -> None:
    """Add a pod's CPU counter and its request."""
    run.add_series("pod_cpu_seconds", SCRAPES_S, SCRAPES_S * cores, pod=pod)
    run.add_series("pod_cpu_request_cores", SCRAPES_S, np.full(len(SCRAPES_S), request), pod=pod)
