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
