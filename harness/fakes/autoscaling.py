"""Simulated autoscalers: the HPA's loop over CPU, and KEDA's over the queue. They look every few seconds, as real ones.

The arithmetic is Kubernetes' ("Horizontal Pod Autoscaling", algorithm details): ratio of the current value to the
target, tolerance 10 %, rounded up, and the largest recommendation of the stabilisation window on the way down.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.fakes.cluster import SimulatedCluster
from harness.fakes.queue import SimulatedQueue
from harness.fakes.switches import Switches
from harness.fakes.workloads import SimScaler, SimWorkload
from harness.model.facts import HpaFact, ScaledObjectFact

SYNC_S = 5.0
STABILISATION_S = 15.0
TOLERANCE_RATIO = 0.1
TARGET_PERCENT = 70
REQUEST_CORES = 0.1
LAG_PER_ADAPTER, PENDING_PER_ADAPTER = 20, 3
COOLDOWN_S = 15.0
SYNC_PHASE_S = 1.25


def per_pod(value: float, target: float, current: int) -> int:
    """Return the pods that a total asks for at ``target`` each; the present number while it is within the tolerance."""
    if current and abs(value / (target * current) - 1) <= TOLERANCE_RATIO:
        return current
    return math.ceil(value / target)


@dataclass
class Stabiliser:
    """Holds recommendations down: falls only to the largest one of the window."""

    _seen: list[tuple[float, int]] = field(default_factory=list)

    def settle(self, now_s: float, recommended: int, current: int) -> int:
        """Return what to ask for."""
        self._seen = [(t, r) for t, r in self._seen if t > now_s - STABILISATION_S]
        self._seen.append((now_s, recommended))
        return recommended if recommended >= current else max(r for _, r in self._seen)


@dataclass(eq=False)
class SimHpa:
    """A HorizontalPodAutoscaler on CPU."""

    cluster: SimulatedCluster
    workload: SimWorkload
    name: str
    switches: Switches
    sees: Callable[[], bool] = lambda: True
    bounds: SimScaler = field(default_factory=SimScaler)
    uid: str = ""
    _next_s: float = SYNC_PHASE_S
    _cpu_mark_s: float = 0.0
    _since_s: float = 0.0
    _wants_more_since_s: float | None = None
    _stabiliser: Stabiliser = field(default_factory=Stabiliser)

    def __post_init__(self) -> None:
        """Show itself."""
        self.uid = self.cluster.new_uid()
        self.cluster.scalers[self.uid] = self.bounds
        self._publish(self.workload.replicas, 0)

    def step(self, now_s: float, cpu_s: float) -> None:
        """Look, if it is time.

        Args:
            now_s: Time.
            cpu_s: CPU seconds that the workload has used so far.
        """
        if now_s < self._next_s:
            return
        elapsed_s, used_s = now_s - self._since_s, cpu_s - self._cpu_mark_s
        self._next_s, self._since_s, self._cpu_mark_s = now_s + SYNC_S, now_s, cpu_s
        pods = len(self.cluster.alive(self.workload))
        if not pods or elapsed_s <= 0:
            return
        if not self.sees():
            self._go_blind()
            return
        percent = round(100 * used_s / elapsed_s / pods / REQUEST_CORES)
        self._ask(now_s, percent)

    def _go_blind(self) -> None:
        """Hold what there is: without a metric the real controller changes nothing."""
        if self.switches.hpa_drops_blind:
            self.workload.replicas = self.bounds.minimum
        self._publish(self.workload.replicas, 0)

    def _ask(self, now_s: float, percent: int) -> None:
        current = self.workload.replicas
        ratio = percent / TARGET_PERCENT
        wanted = current if abs(ratio - 1) <= TOLERANCE_RATIO else math.ceil(current * ratio)
        limited = wanted > self.bounds.maximum
        wanted = min(self.bounds.maximum, max(self.bounds.minimum, wanted))
        desired = min(self.bounds.maximum, self._stabiliser.settle(now_s, wanted, current))
        if not self.switches.hpa_dead and not self._holds_back(now_s, desired > current):
            self.workload.replicas = desired
        self._publish(desired, percent, limited=limited)

    def _holds_back(self, now_s: float, wants_more: bool) -> bool:
        if not wants_more:
            self._wants_more_since_s = None
            return False
        self._wants_more_since_s = now_s if self._wants_more_since_s is None else self._wants_more_since_s
        return now_s - self._wants_more_since_s < self.switches.hpa_delay_s

    def _publish(self, desired: int, percent: int, *, limited: bool = False) -> None:
        dead = self.switches.hpa_dead or not self.sees()
        self.cluster.publish(
            HpaFact(
                self.uid, self.workload.namespace, self.name, target=f"Deployment/{self.workload.name}",
                min_replicas=self.bounds.minimum, max_replicas=self.bounds.maximum,
                current_replicas=self.workload.replicas,
                desired_replicas=self.workload.replicas if dead else desired, cpu_target_percent=TARGET_PERCENT,
                cpu_current_percent=None if dead else percent, able=True, active=not dead,
                active_reason="FailedGetResourceMetric" if dead else "ValidMetricFound",
                limited=limited and not dead, down_stabilisation_s=STABILISATION_S,
            )
        )  # fmt: skip


@dataclass(eq=False)
class SimScaledObject:
    """A KEDA ScaledObject on the queue, with the HPA that KEDA makes for it.

    It reads pending tasks as their mean since the last look: a real group's count is spread by more than one producer,
    the twin's comes in lumps of one request's tool calls, which a single reading would hit or miss.
    """

    cluster: SimulatedCluster
    workload: SimWorkload
    name: str
    queue: SimulatedQueue
    switches: Switches
    maximum: int = 8
    uid: str = ""
    hpa_uid: str = ""
    _next_s: float = SYNC_PHASE_S
    _active_s: float = 0.0
    _pending: list[int] = field(default_factory=list)
    _wants_more_since_s: float | None = None
    _stabiliser: Stabiliser = field(default_factory=Stabiliser)

    def __post_init__(self) -> None:
        """Show itself."""
        self.uid, self.hpa_uid = self.cluster.new_uid(), self.cluster.new_uid()
        self._publish(self.workload.replicas)

    def step(self, now_s: float) -> None:
        """Look, if it is time."""
        self._pending.append(self.queue.pending)
        if now_s < self._next_s:
            return
        self._next_s = now_s + SYNC_S
        current, asked = self.workload.replicas, self._wanted()
        if asked:
            self._active_s = now_s
        wanted = min(self.maximum, max(1, asked))
        desired = self._stabiliser.settle(now_s, wanted, current)
        if not asked and now_s - self._active_s >= COOLDOWN_S:
            desired = 0
        if self._may(now_s, desired > current):
            self.workload.replicas = desired if asked or current else 0
        self._publish(desired)

    def _wanted(self) -> int:
        pending = sum(self._pending) / max(1, len(self._pending))
        self._pending.clear()
        current = self.workload.replicas
        return max(per_pod(self.queue.lag, LAG_PER_ADAPTER, current), per_pod(pending, PENDING_PER_ADAPTER, current))

    def _may(self, now_s: float, wants_more: bool) -> bool:
        if self.switches.hpa_dead:
            return False
        if not wants_more:
            self._wants_more_since_s = None
            return True
        self._wants_more_since_s = now_s if self._wants_more_since_s is None else self._wants_more_since_s
        return now_s - self._wants_more_since_s >= self.switches.hpa_delay_s

    def _publish(self, desired: int) -> None:
        dead, active = self.switches.hpa_dead, self.queue.depth > 0
        namespace, target = self.workload.namespace, f"Deployment/{self.workload.name}"
        made = f"keda-hpa-{self.name}"
        self.cluster.publish(
            ScaledObjectFact(
                self.uid, namespace, self.name, target=target, hpa_name=made, min_replicas=0,
                max_replicas=self.maximum, polling_interval_s=SYNC_S, cooldown_s=COOLDOWN_S, ready=not dead,
                active=active, fallback=False, ready_reason="ScaledObjectCheckFailed" if dead else "ScaledObjectReady",
            )
        )  # fmt: skip
        enabled = self.workload.replicas > 0 and not dead
        self.cluster.publish(
            HpaFact(
                self.hpa_uid, namespace, made, target=target, min_replicas=1, max_replicas=self.maximum,
                current_replicas=self.workload.replicas, desired_replicas=desired,
                metric_current={"s0-redis-streams-tool-tasks": float(self.queue.lag)}, able=True, active=enabled,
                active_reason="ValidMetricFound" if enabled else "ScalingDisabled", limited=False,
                down_stabilisation_s=STABILISATION_S,
            )
        )  # fmt: skip
