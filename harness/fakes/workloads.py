"""The twin's pods, Deployments and budgets: state only. What happens to them is the cluster's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.fakes.jobs import SimJob
from harness.model.facts import PdbFact, PodFact, WorkloadFact

FROZEN, KILL = "testbed.gameday.local/frozen", "testbed.gameday.local/kill-container"
PROBED_S, RESTART_S = 3.0, 1.0
"""Until the probes of a hung pod have failed, and until a container that was killed or goes on is Ready again."""


@dataclass(eq=False)
class SimPod:
    """A pod: its present fact, what the object says beside it, and when its next change is due.

    Attributes:
        fact: What a watch shows.
        workload: The Deployment that it is of, if any.
        schedule_at_s: When the scheduler looks at it.
        ready_at_s: When it is Ready, at the earliest.
        gone_at_s: When it has left.
        spec: Its spec as plain JSON, without ``nodeName``.
        annotations: Of the object.
        job: The Job that it is of, if any.
        message: Why it finds no node.
        frozen_s: Since when it hangs, or None.
        killed: The last order to kill a container that was obeyed.
    """

    fact: PodFact
    workload: SimWorkload | None
    schedule_at_s: float
    ready_at_s: float
    gone_at_s: float = math.inf
    spec: Mapping[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    job: SimJob | None = None
    message: str = ""
    frozen_s: float | None = None
    killed: str = ""

    @property
    def serving(self) -> bool:
        """Tell whether it is Ready and not on its way out."""
        return self.fact.ready and not self.fact.terminating


@dataclass(eq=False)
class SimWorkload:
    """A Deployment: how many pods it is asked to have, and of what kind (a pod spec as plain JSON)."""

    namespace: str
    name: str
    selector: dict[str, str]
    replicas: int
    fact: WorkloadFact | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def pod_spec(self) -> Mapping[str, Any]:
        """Return the spec of its pods; without one, one container of its name."""
        return self.spec or {"containers": [{"name": self.name}]}


@dataclass(eq=False)
class SimScaler:
    """What can be set of a HorizontalPodAutoscaler."""

    minimum: int = 3
    maximum: int = 12
    annotations: dict[str, str] = field(default_factory=dict)


IMAGE, READY_PATH = "gameday-platform:dev", "/readyz"
"""What the sample platform's pods are made of, and where they say that they are ready."""


def start_problem(spec: Mapping[str, Any]) -> str:
    """Return why a pod never gets Ready: the reason that its first container waits for, ``Unready``, or nothing."""
    container = spec["containers"][0]
    path = ((container.get("readinessProbe") or {}).get("httpGet") or {}).get("path", READY_PATH)
    image = str(container.get("image", IMAGE))
    if image != IMAGE and image.startswith(IMAGE.partition(":")[0]):
        return "ImagePullBackOff"
    if container.get("command") == ["false"]:
        return "CrashLoopBackOff"
    return "" if path == READY_PATH else "Unready"


@dataclass(eq=False)
class SimPdb:
    """A PodDisruptionBudget of plain ``minAvailable``."""

    namespace: str
    name: str
    selector: dict[str, str]
    min_available: int
    fact: PdbFact | None = None


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Tell whether labels carry all of a selector."""
    return selector.items() <= labels.items()


def select(pods: Iterable[SimPod], namespace: str, selector: Mapping[str, str]) -> Iterator[SimPod]:
    """Yield pods of a namespace by labels."""
    return (p for p in pods if p.fact.namespace == namespace and matches(selector, p.fact.labels))


def rollout_step(workload: SimWorkload, alive: list[SimPod]) -> tuple[int, list[SimPod]]:
    """Return how many pods a Deployment makes now, and which it lets go.

    Pods of an older template are replaced one by one (maxSurge 1, maxUnavailable 0): first those that do not serve.
    """
    spec, replicas = workload.pod_spec(), workload.replicas
    stale = [pod for pod in alive if pod.spec != spec]
    most = replicas + bool(stale)
    missing = max(0, min(most - len(alive), replicas - (len(alive) - len(stale))))
    renewed = any(pod.serving for pod in alive if pod not in stale)
    spare = max(0, sum(pod.serving for pod in alive) - replicas) if renewed else 0
    leaving = [p for p in stale if not p.serving] + [p for p in stale if p.serving][:spare]
    staying = sorted((p for p in alive if p not in leaving), key=lambda p: (p.serving, -p.schedule_at_s))
    return missing, leaving + staying[: max(0, len(staying) - most)]


def workload_fact(workload: SimWorkload, uid: str, alive: list[SimPod]) -> WorkloadFact:
    """Return what a watch shows of a Deployment now.

    Args:
        workload: The Deployment, with its last fact.
        uid: Its uid.
        alive: Its pods that are not on their way out.
    """
    old, ready = workload.fact, sum(pod.serving for pod in alive)
    generation = 1 if old is None else old.generation + (old.spec_replicas != workload.replicas)
    return WorkloadFact(
        uid, workload.namespace, workload.name, generation=generation, observed_generation=generation,
        spec_replicas=workload.replicas, replicas=len(alive), ready_replicas=ready, available_replicas=ready,
        updated_replicas=sum(pod.spec == workload.pod_spec() for pod in alive), selector=workload.selector,
    )  # fmt: skip


def pdb_fact(pdb: SimPdb, uid: str, expected: int, healthy: int) -> PdbFact:
    """Return what a watch shows of a budget now."""
    return PdbFact(
        uid, pdb.namespace, pdb.name, generation=1, observed_generation=1, min_available=str(pdb.min_available),
        selector=pdb.selector, current_healthy=healthy, desired_healthy=pdb.min_available, expected_pods=expected,
        computed=True, disruptions_allowed=max(0, healthy - pdb.min_available),
    )  # fmt: skip
