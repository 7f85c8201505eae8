"""Wires what looks to what is looked at, for `gameday doctor` (composition root). Decides nothing itself."""

from __future__ import annotations

import os

from harness import assembly, preflight, registries
from harness.announce_http import channels_of, silences_of
from harness.doctor import Case, Doctor, Instruments
from harness.doctor_lines import Line
from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.connection import connect
from harness.drivers.kubernetes.lease import KubernetesLeaseView
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.observer import KubernetesObserver
from harness.drivers.kubernetes.safety import SILENCE, KubernetesSafety
from harness.drivers.prometheus import PrometheusSource
from harness.drivers.system_clock import RealClock
from harness.model.experiment import Experiment
from harness.model.fault import Permission
from harness.model.target import Target
from harness.settings import Settings, check_objectives, resolve_target, sparse_signals


def examine(settings: Settings, name: str, experiments: tuple[str, ...] = ()) -> list[Line]:
    """Look at a target with the real drivers.

    Args:
        settings: The settings.
        name: Name of the target.
        experiments: What it is to be fit for; all experiments of the project where none is named.

    Raises:
        SpecError: The target or an experiment cannot be used as written.
    """
    target = resolve_target(settings, name)
    paths = [registries.experiment_path(n) for n in experiments] or sorted(registries.EXPERIMENTS_DIR.glob("*.yaml"))
    known = [registries.load(path) for path in paths]
    for experiment in known:
        check_objectives(settings, experiment)
    cases = [Case(e, needs(e, target), bool(experiments)) for e in known]
    sparse = sparse_signals(settings, name)
    doctor = Doctor(target, _instruments(target, known), cases, registries.faults(), registries.assertions(), sparse)
    return list(doctor.examine())


def needs(experiment: Experiment, target: Target) -> tuple[Permission, ...]:
    """Return what drivers and faults of an experiment need to be allowed, and its drill where people can be paged."""
    own = assembly.driver_permissions(experiment, target)
    drill = assembly.drill_permissions(experiment, target) if target.drill.alertmanager_url else ()
    return (*own, *drill, *preflight.fault_permissions(experiment, registries.faults()))


def _instruments(target: Target, experiments: list[Experiment]) -> Instruments:
    clock, system = RealClock.starting_now(), target.system_namespace
    operations = {operation for e in experiments for operation in assembly.undo_operations(e, target)}
    lease = KubernetesLeaseView(connect(target), system)

    def holder() -> str:
        state = lease.look()
        return state.holder if state.alive else ""

    return Instruments(
        clock=clock,
        observer=KubernetesObserver(connect(target), clock),
        actor=KubernetesActor(connect(target), target.commands),
        ledger=KubernetesLedger(connect(target), system, target.commands),
        safety=KubernetesSafety(connect(target), system, operations),
        holder=holder,
        metrics=lambda: PrometheusSource(target, clock),
        announced=lambda: _announced(target),
    )


def _announced(target: Target) -> str:
    """Say who is told of runs, and ask Alertmanager whether it answers; nobody is told anything here.

    Raises:
        GameDayError: Somebody could not be told.
    """
    names = [channel.name for channel in channels_of(target, os.environ)]
    silences = silences_of(target, os.environ)
    if silences is not None:
        names.append(f"Alertmanager ({silences.expire('no-run')}; {_after_death(target)})")
    return ", ".join(names) or "nobody"


def _after_death(target: Target) -> str:
    """Say who ends the silence of a run that dies."""
    unable = KubernetesSafety(connect(target), target.system_namespace, {SILENCE}).ask()
    return f"of a run that dies it ends by itself: {unable}" if unable else "the reaper ends it too"
