"""An experiment as a value: load, faults, assertions and steady state of one file, validated. No I/O (see `spec`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.model.abort import AbortLimits
from harness.model.drill import DrillPlan
from harness.model.fault import FaultPlan
from harness.model.load import LoadProfile

NODES_SCALED = "nodes_scaled"
"""Kind of the assertions about an autoscaler of nodes: they alone make it be watched."""

NODE_AUTOSCALER_STATUS = "kube-system/cluster-autoscaler-status"
"""ConfigMap in which the Cluster Autoscaler tells of itself, unless its flags say otherwise."""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A probe of the steady state. ``probe`` is a key in `PROBES`; it must return True."""

    name: str
    probe: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AssertionSpec:
    """An assertion of the file: its name, its kind (key in `ASSERTIONS`) and its limits."""

    name: str
    kind: str
    params: Mapping[str, Any] = field(default_factory=dict)


def node_autoscaler_of(spec: AssertionSpec) -> str:
    """Return ``namespace/name`` of the status by which an assertion about an autoscaler of nodes is judged."""
    return str(spec.params.get("status", NODE_AUTOSCALER_STATUS))


@dataclass(frozen=True, slots=True)
class WorkloadRef:
    """A workload that is watched: its pods carry ``selector``."""

    namespace: str
    name: str
    selector: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched.

    Attributes:
        namespaces: Watched as a whole (pods, workloads, HPAs, PDBs, ScaledObjects); nodes always are.
        workloads: Those whose metrics must be fresh and whose pods must be Ready before the load starts.
        node_autoscalers: ``namespace/name`` of each ConfigMap in which an autoscaler of nodes tells of itself; pods and
            budgets of that namespace are watched too, for what keeps a node.
    """

    namespaces: tuple[str, ...]
    workloads: tuple[WorkloadRef, ...] = ()
    node_autoscalers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """One game day.

    Attributes:
        name: File name without ``.yaml``.
        title: One line for people.
        hypothesis: What the steady state claims, in a sentence.
        probes: Its probes.
        load: The profile, with the file's overrides.
        load_options: Options of its user classes.
        faults: In the order of the method, with their times.
        assertions: What is judged; ``restored`` is always last.
        scope: What is watched.
        components: What the target must have.
        settle_s: Longest wait for the steady state to return.
        timeout_s: Longest run, all in.
        runbook: Path of the runbook, relative to the project.
        text: The file as written, for the record.
        path: Where it came from.
        may_hit: Protected parts that it may hit all the same, as in `Target.protected`.
        abort: Limits of the live guard; None where it has none.
        drill: What makes it an exercise for people; None where it is none.
        drilled: Whether it is run as one: a single fault, held until people have mended it.
    """

    name: str
    title: str
    hypothesis: str
    probes: tuple[ProbeSpec, ...]
    load: LoadProfile
    faults: tuple[FaultPlan, ...]
    assertions: tuple[AssertionSpec, ...]
    scope: Scope
    components: tuple[str, ...]
    settle_s: float
    timeout_s: float
    runbook: str
    load_options: Mapping[str, str | int | float] = field(default_factory=dict)
    text: str = ""
    path: str = ""
    may_hit: tuple[str, ...] = ()
    abort: AbortLimits | None = None
    drill: DrillPlan | None = None
    drilled: bool = False

    @property
    def expected_duration_s(self) -> float:
        """How long the run takes when all goes well: load, then about half the settle limit."""
        return self.load.duration_s + self.settle_s / 2

    def assertion(self, kind: str) -> AssertionSpec | None:
        """Return the first assertion of a kind."""
        return next((a for a in self.assertions if a.kind == kind), None)
