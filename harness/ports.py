"""The seam: every system outside this process, as a Protocol. Drivers and fakes implement them; nothing here acts.

Every call has a deadline of its own inside the driver and raises `PortError` (never a library's exception) when the
system does not answer as it must. Times are seconds since the run's origin unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pandas as pd

from harness.model.experiment import Experiment, Scope
from harness.model.facts import Fact, HpaFact, NodeFact, PdbFact, PodFact, ScaledObjectFact, WorkloadFact
from harness.model.fault import ObjectRef, Permission, UndoRecord
from harness.model.load import LoadPlan, LoadSnapshot
from harness.model.record import LoggedRequests
from harness.model.signal import Harvest, Signal
from harness.model.target import ClusterIdentity
from harness.model.time import Window


class Clock(Protocol):
    """Time. One wall-clock origin plus a monotonic count."""

    @property
    def origin_unix_s(self) -> float:
        """Wall clock of second 0."""
        ...

    def now_s(self) -> float:
        """Return seconds since the origin, monotonic."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Wait."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """Something a driver saw; the conductor numbers it and appends it. Fields as in `timeline.Event`."""

    t_s: float
    actor: str
    kind: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class LoadDriver(Protocol):
    """Makes the load of a plan. One plan a driver."""

    def start(self, plan: LoadPlan) -> None:
        """Start the load and return once the first stage is on.

        Raises:
            PortError: The generator did not come up.
        """
        ...

    def poll(self) -> Sequence[Observation]:
        """Return what is new (kinds ``load`` and ``load-edge``), at once; a dead generator is ``load-edge/lost``."""
        ...

    def latest(self) -> LoadSnapshot | None:
        """Return the newest snapshot."""
        ...

    def ask_to_stop(self) -> None:
        """Ask for the end of sending (within 1 s) and wait for nothing. Idempotent, never raises."""
        ...

    def stop(self) -> None:
        """Stop sending within 1 s, wait (bounded) for answers in flight. Idempotent, never raises."""
        ...

    def collect(self) -> tuple[pd.DataFrame, int]:
        """Return the request log (`REQUEST_COLUMNS`) and the number of rows known to be lost. After `stop`."""
        ...

    def request_log(self) -> tuple[LoggedRequests, int]:
        """Return the same for the store; a driver that streams its rows into a file hands over that, not a frame."""
        ...


@dataclass(frozen=True, slots=True)
class Permit:
    """The conductor's answer to a fault that asks whether it may start. Fail closed."""

    granted: bool
    reason: str = ""


Victims: TypeAlias = Sequence[Mapping[str, str]]
"""Whom a fault would hit: ``kind``, ``namespace``, ``name``, ``uid`` and, for pods, ``node``."""


class PermitOffice(Protocol):
    """Grants faults; the conductor is one."""

    def permit(self, fault: str, victims: Victims = ()) -> Permit:
        """Say whether a fault may hit these victims now (see `Preview.victims`)."""
        ...


class ChaosDriver(Protocol):
    """Runs the method of an experiment (faults by their schedule) beside the conductor."""

    def start(self, experiment: Experiment, office: PermitOffice) -> None:
        """Start the method; second 0 of its schedule is now."""
        ...

    def poll(self) -> Sequence[Observation]:
        """Return what is new (kind ``fault`` and ``note``), at once, answering permits on the way."""
        ...

    @property
    def running(self) -> bool:
        """Tell whether the method still runs."""
        ...

    @property
    def failure(self) -> str:
        """Return why the method ended badly, or an empty string."""
        ...

    def stop(self) -> None:
        """Start no further fault; end the method (bounded). Idempotent, never raises."""
        ...


class ClusterObserver(Protocol):
    """Watches the cluster; it never writes."""

    def identify(self) -> ClusterIdentity:
        """Read what the cluster says it is: context, server, kube-system."""
        ...

    def allowed(self, permissions: Sequence[Permission]) -> Sequence[Permission]:
        """Return those of the permissions that we do not have (SelfSubjectAccessReview)."""
        ...

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, or None where there is none."""
        ...

    def skew_s(self) -> float:
        """Return the API server's clock minus ours, from a response's Date header (±1 s)."""
        ...

    def start(self, scope: Scope) -> None:
        """Start to watch; returns once every resource has been listed."""
        ...

    def poll(self) -> Sequence[Observation]:
        """Return state changes and watch edges since the last call, at once."""
        ...

    def stop(self) -> None:
        """Stop watching. Idempotent, never raises."""
        ...

    def current(self, kind: str) -> Sequence[Fact]:
        """Return the present state of every watched object of a fact kind (`FACTS`)."""
        ...

    def pod_metrics(self, namespace: str) -> Mapping[str, float]:
        """Return CPU in cores by pod from metrics.k8s.io, for pods whose sample is fresh; empty where it is down."""
        ...

    def fingerprint(self, scope: Scope) -> Mapping[str, Any]:
        """Read what faults touch (DESIGN U6) as JSON by ``kind/namespace/name``, without what controllers change."""
        ...


@dataclass(frozen=True, slots=True)
class EvictionResult:
    """Answer of the eviction subresource.

    Attributes:
        status: ``accepted``, ``blocked`` (429 by a budget), ``throttled`` (429 by the API server), ``gone`` (404),
            ``overlap`` (500: more than one budget) or ``refused`` (403 and others).
        message: What the API server said, with the budget's name where it names one.
        retry_after_s: Of ``throttled``: how long the API server wants to be left alone, or 0 where it does not say.
    """

    status: str
    message: str = ""
    retry_after_s: float = 0.0


class ClusterActor(Protocol):
    """What faults may do to a cluster. Each write carries a uid precondition."""

    def pods(self, namespace: str, selector: Mapping[str, str]) -> Sequence[PodFact]:
        """List pods by labels, now."""
        ...

    def pod(self, namespace: str, name: str) -> PodFact | None:
        """Read one pod, or None where it is gone."""
        ...

    def pdbs(self, namespace: str) -> Sequence[PdbFact]:
        """List disruption budgets, now."""
        ...

    def delete_pod(self, pod: PodFact, grace_s: int | None) -> bool:
        """Delete a pod by uid; None keeps its own grace. Returns False where it was gone already."""
        ...

    def evict_pod(self, pod: PodFact, dry_run: bool = False) -> EvictionResult:
        """Ask the eviction subresource, once."""
        ...

    def terminate_pods(self, namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        """Kill pods abruptly by name; returns the names that were accepted (chaosk8s' ``terminate_pods``)."""
        ...

    def serves(self, api_version: str, kind: str) -> bool:
        """Tell whether the cluster serves a kind (its CRD may not be installed)."""
        ...

    def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """Read one object as plain JSON, or None where there is none."""
        ...

    def find(
        self, api_version: str, kind: str, namespace: str = "", selector: str = "", field_selector: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        """List objects as plain JSON, now; of every namespace where none is named."""
        ...

    def patch(
        self, ref: ObjectRef, seen: Mapping[str, Any], values: Mapping[str, Any], subresource: str = ""
    ) -> Mapping[str, Any]:
        """Set values by pointer (`harness.model.pointer`; None removes) on exactly the state that was seen.

        Raises:
            ChangedMeanwhileError: The object is no longer in that state (or is another one); nothing was written.
        """
        ...

    def create(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create an object and return it."""
        ...

    def delete(self, ref: ObjectRef, uid: str, grace_s: int | None = None) -> bool:
        """Delete an object by uid. Returns False where it was gone already."""
        ...

    def run_command(self, name: str, node: str) -> str:
        """Run a command of the target's settings for a node (`Target.commands`) and return what was run."""
        ...


class MetricsSource(Protocol):
    """The metrics store."""

    def identify(self) -> str:
        """Return the server's version; proves that it answers queries (``1`` is 1: CASES C16)."""
        ...

    def skew_s(self) -> float:
        """Return the store's clock minus ours."""
        ...

    def instant(self, signal: Signal) -> Mapping[str, float]:
        """Return values by a readable label string, now; empty where there are none. For gates and the live view."""
        ...

    def harvest(self, signals: Sequence[Signal], window: Window) -> Harvest:
        """Ask every signal over the window, plus one scrape either side. A failed query is part of the answer."""
        ...

    def alert_rules(self) -> Mapping[str, str]:
        """Return why each alert that has a rule cannot fire, by alertname; empty text for one that can."""
        ...


class UndoLedger(Protocol):
    """Undo records, kept in the cluster (DESIGN U1)."""

    def write(self, record: UndoRecord) -> Mapping[str, Any]:
        """Store a record before the deed; returns an ownerReference for helper objects in the ledger's namespace."""
        ...

    def open_records(self, run_id: str | None = None) -> Sequence[UndoRecord]:
        """Return records that are not done, newest first; of every run where none is named."""
        ...

    def run_records(self, run_id: str) -> Sequence[UndoRecord]:
        """Return every record of a run that is not closed, newest first: also those that somebody else took back."""
        ...

    def undo(self, record: UndoRecord) -> UndoRecord:
        """Take one change back (idempotent; only what still has our value) and return the record with its outcome."""
        ...

    def close(self, run_id: str) -> None:
        """Remove the done records of a run; open ones stay."""
        ...


class RunLease(Protocol):
    """The one run that a cluster allows at a time (DESIGN U3)."""

    def acquire(self, holder: str) -> None:
        """Take the Lease and keep renewing it.

        Raises:
            Refusal: Another run holds it; the text names the holder.
        """
        ...

    @property
    def held(self) -> bool:
        """Tell whether it is still ours and renewed in time."""
        ...

    def release(self) -> bool:
        """Give it back and tell whether that worked; what did not lapses by itself. Idempotent, never raises."""
        ...


class SafetyWatch(Protocol):
    """What ends a run from outside: the halt lever, and the reaper without which no run may go on (DESIGN U3, U7)."""

    def start(self) -> None:
        """Look once, then keep looking.

        Raises:
            Refusal: ``halted`` by somebody, or ``reaper``: none is alive, or it cannot take back what is planned.
            PortError: No answer.
        """
        ...

    def trouble(self) -> str:
        """Return why the run must stop, or an empty string; at once, by the last look. Old news is trouble too."""
        ...

    def ask(self) -> str:
        """Look now (bounded) and return why no fault may start, or an empty string. Fails closed, never raises."""
        ...

    def stop(self) -> None:
        """Stop looking. Idempotent, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Drivers:
    """One driver a port, for one run.

    Attributes:
        run_dir: The run's folder, for drivers that log there.
    """

    clock: Clock
    load: LoadDriver
    chaos: ChaosDriver
    observer: ClusterObserver
    actor: ClusterActor
    metrics: MetricsSource
    ledger: UndoLedger
    lease: RunLease
    safety: SafetyWatch
    run_dir: Path


__all__ = [
    "ChaosDriver",
    "Clock",
    "ClusterActor",
    "ClusterObserver",
    "Drivers",
    "EvictionResult",
    "Fact",
    "HpaFact",
    "LoadDriver",
    "MetricsSource",
    "NodeFact",
    "Observation",
    "PdbFact",
    "Permit",
    "PermitOffice",
    "PodFact",
    "RunLease",
    "SafetyWatch",
    "ScaledObjectFact",
    "UndoLedger",
    "Victims",
    "WorkloadFact",
]
