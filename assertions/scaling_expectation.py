"""What an autoscaler's own object promises: how soon it answers, and when the replicas are back. Judges nothing; pure.

Sources: Kubernetes, "Horizontal Pod Autoscaling" (sync period, behavior, stabilisation), and KEDA, "Scaling
Deployments" (the cool-down rules only the step to zero; CASES F10, F13).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assertions.scaling_view import HPA, ScalingView
from harness.model.facts import HpaFact, ScaledObjectFact

SYNC_S = 15.0
"""``--horizontal-pod-autoscaler-sync-period``; not readable from outside."""

METRICS_DELAY_S = 30.0
"""metrics-server reads kubelets every 15 s, and these measure over as long again."""

STEP_S = SYNC_S
"""A way down may take steps, one a sync period (CASES F10)."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Seconds that follow from an object's spec, each with the rule that gave it.

    Attributes:
        desired_s: From the burst until replicas are asked.
        desired_rule: How that comes about.
        returned_s: From the end of the burst until the replicas are back.
        returned_rule: How that comes about.
    """

    desired_s: float
    desired_rule: str
    returned_s: float
    returned_rule: str


def promise(view: ScalingView) -> Promise:
    """Return what the objects of a view promise, as last written."""
    hpa = view.hpa[-1][1] if view.hpa else HpaFact(uid="", namespace=view.ref.namespace, name=view.ref.name)
    newest = view.states[-1][1]
    if view.ref.kind == HPA or not isinstance(newest, ScaledObjectFact):
        return _of_hpa(hpa)
    known = view.asked.values[np.isfinite(view.asked.values)]
    return _of_keda(newest, hpa, int(known[0]) if len(known) else 0)


def _of_hpa(hpa: HpaFact) -> Promise:
    up_s = METRICS_DELAY_S + SYNC_S + hpa.up_stabilisation_s
    down_s = METRICS_DELAY_S + SYNC_S + hpa.down_stabilisation_s + STEP_S
    up = f"metrics {METRICS_DELAY_S:g} s + sync {SYNC_S:g} s + stabilisation {hpa.up_stabilisation_s:g} s"
    down = f"metrics {METRICS_DELAY_S:g} s + sync {SYNC_S:g} s + stabilisation {hpa.down_stabilisation_s:g} s + a step"
    return Promise(up_s, up, down_s, down)


def _of_keda(scaled: ScaledObjectFact, hpa: HpaFact, before: int) -> Promise:
    poll_s = scaled.polling_interval_s
    up_s, up = poll_s + SYNC_S, f"polling {poll_s:g} s + sync {SYNC_S:g} s"
    if scaled.min_replicas == 0 and before == 0:
        rule = f"cool-down {scaled.cooldown_s:g} s (it rules the step to zero, from any number) + polling {poll_s:g} s"
        return Promise(up_s, up, scaled.cooldown_s + poll_s + STEP_S, rule)
    rule = f"the HPA's stabilisation {hpa.down_stabilisation_s:g} s (the cool-down rules the step to zero only)"
    return Promise(up_s, up, hpa.down_stabilisation_s + SYNC_S + poll_s + STEP_S, rule)
