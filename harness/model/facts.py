"""Facts about cluster objects, derived from their state and keyed by uid (CASES B03). No I/O, no client types.

A fact is what a watch event becomes before it enters the record: small, frozen, with None where the object has not
said it (None is never read as 0: CASES B05).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True, slots=True)
class Fact:
    """Base of all facts.

    Attributes:
        uid: Of the object.
        namespace: Empty for cluster objects.
        name: Of the object.
        resource_version: Of the state it was derived from.
        deleted: The object is gone.
    """

    kind: ClassVar[str] = ""
    uid: str
    namespace: str
    name: str
    resource_version: str = ""
    deleted: bool = False

    @property
    def subject(self) -> str:
        """Return ``namespace/name``, or the name of a cluster object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def detail(self) -> dict[str, Any]:
        """Return the fact as plain JSON."""
        return asdict(self)

    @classmethod
    def from_detail(cls, detail: Mapping[str, Any]) -> Self:
        """Build the fact from plain JSON; unknown keys of newer records are ignored."""
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in detail.items() if key in known})


@dataclass(frozen=True, slots=True)
class PodFact(Fact):
    """A pod. ``ready`` is condition Ready=True without a deletionTimestamp (CASES A12).

    ``safe_to_evict`` and ``local_volumes`` (those that no annotation excuses) are what an autoscaler of nodes goes by.
    """

    kind: ClassVar[str] = "pod"
    labels: dict[str, str] = field(default_factory=dict)
    node: str = ""
    phase: str = ""
    ready: bool = False
    terminating: bool = False
    owner: str = ""
    restarts: int = 0
    created_unix_s: float | None = None
    scheduled_unix_s: float | None = None
    ready_unix_s: float | None = None
    disruption: str = ""
    reason: str = ""
    priority: int | None = None
    safe_to_evict: bool | None = None
    local_volumes: list[str] = field(default_factory=list)

    @property
    def terminal(self) -> bool:
        """Tell whether the pod has ended for good."""
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class NodeFact(Fact):
    """A node. ``taints`` are ``key=value:effect``; ``kept``: an annotation bars its autoscaler from removing it."""

    kind: ClassVar[str] = "node"
    labels: dict[str, str] = field(default_factory=dict)
    ready: bool = False
    unschedulable: bool = False
    taints: list[str] = field(default_factory=list)
    allocatable: dict[str, str] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True, slots=True)
class WorkloadFact(Fact):
    """A Deployment (or StatefulSet): what was asked of it and what it has."""

    kind: ClassVar[str] = "workload"
    workload_kind: str = "Deployment"
    generation: int = 0
    observed_generation: int = 0
    spec_replicas: int | None = None
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    updated_replicas: int = 0
    selector: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HpaFact(Fact):
    """A HorizontalPodAutoscaler. ``able`` and ``active`` are conditions AbleToScale and ScalingActive.

    Stabilisation and tolerance are those of ``spec.behavior``, else Kubernetes' defaults (0 s up, 300 s down, 10 %).
    """

    kind: ClassVar[str] = "hpa"
    target: str = ""
    min_replicas: int = 1
    max_replicas: int = 1
    current_replicas: int | None = None
    desired_replicas: int | None = None
    cpu_target_percent: int | None = None
    cpu_current_percent: int | None = None
    metric_current: dict[str, float] = field(default_factory=dict)
    able: bool | None = None
    active: bool | None = None
    active_reason: str = ""
    limited: bool | None = None
    up_stabilisation_s: float = 0.0
    down_stabilisation_s: float = 300.0
    up_tolerance_ratio: float = 0.1


@dataclass(frozen=True, slots=True)
class ScaledObjectFact(Fact):
    """A KEDA ScaledObject."""

    kind: ClassVar[str] = "scaledobject"
    target: str = ""
    hpa_name: str = ""
    min_replicas: int = 0
    max_replicas: int = 100
    polling_interval_s: float = 30.0
    cooldown_s: float = 300.0
    ready: bool | None = None
    active: bool | None = None
    fallback: bool | None = None
    paused: bool = False
    ready_reason: str = ""


@dataclass(frozen=True, slots=True)
class PdbFact(Fact):
    """A PodDisruptionBudget. ``min_available`` and ``max_unavailable`` are as written (``2`` or ``40%``)."""

    kind: ClassVar[str] = "pdb"
    generation: int = 0
    observed_generation: int = 0
    min_available: str | None = None
    max_unavailable: str | None = None
    selector: dict[str, str] = field(default_factory=dict)
    current_healthy: int | None = None
    desired_healthy: int | None = None
    expected_pods: int | None = None
    disruptions_allowed: int | None = None
    computed: bool | None = None


@dataclass(frozen=True, slots=True)
class JobFact(Fact):
    """A Job of batch/v1. ``complete`` and ``failed_for_good`` are its conditions Complete and Failed.

    Its counters say nothing of pods that were deleted before the controller saw them end; its pods are keyed by uid.
    """

    kind: ClassVar[str] = "job"
    labels: dict[str, str] = field(default_factory=dict)
    completions: int | None = None
    parallelism: int = 1
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    created_unix_s: float | None = None
    completed_unix_s: float | None = None
    complete: bool | None = None
    failed_for_good: bool | None = None
    suspended: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeAutoscalerFact(Fact):
    """What an autoscaler of nodes publishes of itself (ConfigMap ``cluster-autoscaler-status``), both forms of it.

    Attributes:
        state: ``Running`` or ``Initializing``; empty where the status cannot be read.
        health: ``Healthy`` or ``Unhealthy``, of the whole cluster.
        scale_up: ``NoActivity``, ``InProgress`` and others.
        scale_down: ``NoCandidates`` or ``CandidatesPresent``.
        candidates: Nodes that it would remove.
        min_sizes: Least size of each group of nodes.
        max_sizes: Its largest size.
        targets: Its size as asked of the provider.
        backoffs: Why a group is not scaled up for a while; empty for a group without a reason.
        updated_unix_s: When it wrote so.
    """

    kind: ClassVar[str] = "nodeautoscaler"
    state: str = ""
    health: str = ""
    scale_up: str = ""
    scale_down: str = ""
    candidates: int | None = None
    min_sizes: dict[str, int] = field(default_factory=dict)
    max_sizes: dict[str, int] = field(default_factory=dict)
    targets: dict[str, int] = field(default_factory=dict)
    backoffs: dict[str, str] = field(default_factory=dict)
    updated_unix_s: float | None = None


@dataclass(frozen=True, slots=True)
class NodeAutoscalerFlagsFact(Fact):
    """The flags that an autoscaler of nodes was started with; of those that say when and what it may remove only."""

    kind: ClassVar[str] = "nodeautoscalerflags"
    flags: dict[str, str] = field(default_factory=dict)


FACTS: dict[str, type[Fact]] = {
    cls.kind: cls
    for cls in (
        PodFact, NodeFact, WorkloadFact, HpaFact, ScaledObjectFact, PdbFact, JobFact, NodeAutoscalerFact,
        NodeAutoscalerFlagsFact,
    )
}  # fmt: skip
"""Every kind of fact by the event kind it travels under."""
