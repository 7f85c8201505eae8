"""Wires drivers to ports for one run (composition root): the real ones for a target, or the twin for a rehearsal.

Must hold no policy: what may be done, and when, is said elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.announce import AnnouncedLoad, Announcer
from harness.client import Job
from harness.definitions import Probe
from harness.drivers.system_clock import RealClock
from harness.model.experiment import Experiment
from harness.model.fault import Loss, Permission
from harness.model.target import Target
from harness.ports import Clock, Drivers, UndoLedger
from harness.settings import check_objectives, load_settings, resolve_target

_PACKAGES = (
    "chaostoolkit-lib", "chaostoolkit-kubernetes", "kubernetes", "locust", "prometheus-api-client", "pandas", "pytest",
)  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """What a run is made of before it has a folder.

    Attributes:
        target: The target.
        clock: The run's clock; second 0 is when it was made.
        versions: Versions of what takes part.
        drivers: Makes the drivers, once the run has a folder and an id.
        permissions: What the drivers themselves need to be allowed; faults say their own.
        announcer: Tells others of the run, or None.
    """

    target: Target
    clock: Clock
    versions: Mapping[str, str]
    drivers: Callable[[Path, str], Drivers]
    permissions: tuple[Permission, ...] = ()
    announcer: Announcer | None = None

    def probes(self, drivers: Drivers) -> Mapping[str, Probe]:
        """Return PROBES, bound to the run's observer and metrics."""
        from experiments.faults.probes import bound_probes  # noqa: PLC0415 - brings Chaos Toolkit

        return bound_probes(drivers.observer, drivers.metrics, self.target.signals)


def versions() -> dict[str, str]:
    """Return the versions of the packages that do a run's work."""
    return {name: metadata.version(name) for name in _PACKAGES}


def real(experiment: Experiment, job: Job) -> Parts:
    """Wire the real drivers.

    Raises:
        SpecError: The target is unknown, incomplete or not up, or the experiment is laxer than the objectives.
    """
    settings = load_settings(Path(job.settings))
    check_objectives(settings, experiment)
    target = resolve_target(settings, job.target)
    clock = RealClock.starting_now()
    announcer = Announcer(experiment, target.name, clock)

    def drivers(run_dir: Path, run_id: str) -> Drivers:
        from harness.drivers.chaostoolkit import ChaosToolkitDriver  # noqa: PLC0415 - brings Chaos Toolkit
        from harness.drivers.kubernetes.actor import KubernetesActor  # noqa: PLC0415
        from harness.drivers.kubernetes.connection import connect  # noqa: PLC0415
        from harness.drivers.kubernetes.lease import KubernetesLease  # noqa: PLC0415
        from harness.drivers.kubernetes.observer import KubernetesObserver  # noqa: PLC0415
        from harness.drivers.kubernetes.safety import KubernetesSafety  # noqa: PLC0415
        from harness.drivers.locust_driver import LocustDriver  # noqa: PLC0415
        from harness.drivers.prometheus import PrometheusSource  # noqa: PLC0415

        ledger = _announced(announcer, target, run_id)
        if experiment.drilled:
            announcer.silences = None  # people are to be paged
        return Drivers(
            clock=clock,
            load=AnnouncedLoad(LocustDriver(clock, run_dir), announcer, ledger),
            chaos=ChaosToolkitDriver(target, clock, run_dir, run_id, job.seed),
            observer=KubernetesObserver(connect(target), clock),
            actor=KubernetesActor(connect(target), target.commands),
            metrics=PrometheusSource(target, clock),
            ledger=ledger,
            lease=KubernetesLease(connect(target), target.system_namespace),
            safety=KubernetesSafety(connect(target), target.system_namespace, undo_operations(experiment, target)),
            run_dir=run_dir,
        )

    return Parts(target, clock, versions(), drivers, driver_permissions(experiment, target), announcer)


def _announced(announcer: Announcer, target: Target, run_id: str) -> UndoLedger:
    """Give the announcer its channels, and return the ledger that also takes back what it changes.

    Raises:
        GameDayError: A channel cannot be used as written.
    """
    from harness.announce_http import channels_of, silences_of  # noqa: PLC0415 - only for real runs
    from harness.drivers.kubernetes.connection import connect  # noqa: PLC0415
    from harness.drivers.kubernetes.ledger import KubernetesLedger  # noqa: PLC0415

    silences = silences_of(target, os.environ)
    announcer.run_id, announcer.silences = run_id, silences
    announcer.channels = channels_of(target, os.environ)
    end = silences.expire if silences else None
    return KubernetesLedger(connect(target), target.system_namespace, target.commands, end)


def undo_operations(experiment: Experiment, target: Target) -> set[str]:
    """Return how the run's changes are taken back: what the reaper must be able to do."""
    commands = any(plan.loss is Loss.NODE for plan in experiment.faults) and target.kind != "local"
    more = {name for name, wanted in (("command", commands), ("packed", experiment.drilled)) if wanted}
    return {plan.undo for plan in experiment.faults} | more


def driver_permissions(experiment: Experiment, target: Target) -> tuple[Permission, ...]:
    """Return what the drivers of a run need to be allowed."""
    from harness.drivers.kubernetes.lease import lease_permissions  # noqa: PLC0415
    from harness.drivers.kubernetes.ledger import ledger_permissions  # noqa: PLC0415
    from harness.drivers.kubernetes.observer import identity_permissions, observer_permissions  # noqa: PLC0415
    from harness.drivers.kubernetes.safety import safety_permissions  # noqa: PLC0415

    scope = experiment.scope
    return (
        *identity_permissions((*scope.namespaces, target.system_namespace)),
        *observer_permissions(scope.namespaces, "keda" in experiment.components, scope.node_autoscalers),
        *ledger_permissions(target.system_namespace),
        *lease_permissions(target.system_namespace),
        *safety_permissions(target.system_namespace),
    )


def drill_permissions(experiment: Experiment, target: Target) -> tuple[Permission, ...]:
    """Return what a drill of the experiment reads besides, to see what people do; nothing where it is no drill."""
    from harness.drivers.kubernetes.people import people_permissions  # noqa: PLC0415

    return people_permissions(experiment.scope.namespaces, target.system_namespace) if experiment.drill else ()


def rehearsal(experiment: Experiment, job: Job) -> Parts:
    """Wire the in-memory twin; the same faults and judges, simulated time."""
    from harness.fakes.world import Twin  # noqa: PLC0415 - only for rehearsals

    twin = Twin(experiment, job.seed)
    return Parts(twin.target, twin.clock, versions(), twin.drivers)
