"""What would happen, and what it would need: a dry run, and `gameday rbac`. A composition root: wires and prints."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from harness import assembly, exits, preflight, registries
from harness.client import Job
from harness.dry_run import DryRun
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from harness.rbac import as_yaml, manifests, subject_of
from harness.settings import load_settings, resolve_target

_RUNNER = "gameday-runner"


def look_only(experiment: Experiment, job: Job) -> DryRun:
    """Do every read of a run's preflight and not one write.

    Args:
        experiment: What would be run.
        job: On what, with which seed.

    Raises:
        GameDayError: Another cluster than the target's, or no answer from it.
    """
    parts = assembly.rehearsal(experiment, job) if job.rehearse else assembly.real(experiment, job)
    with tempfile.TemporaryDirectory(prefix="gameday-dry-run-") as folder:
        drivers = parts.drivers(Path(folder), "dry-run")
        needed = (*parts.permissions, *preflight.fault_permissions(experiment, registries.faults()))
        found = DryRun(experiment, parts.target, drivers, registries.faults(), needed, job.seed)
        found.run()
    return found


def told(found: DryRun) -> tuple[str, ...]:
    """Return what a dry run found, as lines for people."""
    able = "nothing was touched; it would run" if not found.problems else "nothing was touched; it would be refused"
    return (*found.lines, *(f"in the way: {problem}" for problem in found.problems), able)


def dry_run(experiment: Experiment, job: Job, say: Callable[[str], None]) -> int:
    """Print what a run would do.

    Args:
        experiment: What would be run.
        job: On what, with which seed.
        say: Prints a line.

    Returns:
        0 where it would run, 20 where something is in the way.
    """
    found = look_only(experiment, job)
    for line in told(found):
        say(line)
    return exits.INCONCLUSIVE if found.problems else exits.HELD


def print_rbac(name: str, settings: str, target: str, user: str, service_account: str) -> int:
    """Print the least rights that an experiment needs on a target, as YAML.

    Raises:
        SpecError: The experiment or the target is not known, or the subject is not one.
    """
    experiment = registries.load(registries.experiment_path(name))
    try:
        subject = subject_of(user if user or service_account else _RUNNER, service_account)
    except ValueError as error:
        raise SpecError(
            "--user, --service-account", "", str(error), "--user NAME or --service-account NS/NAME"
        ) from None
    where = resolve_target(load_settings(Path(settings)), target)
    needed = (
        *assembly.driver_permissions(experiment, where),
        *assembly.drill_permissions(experiment, where),
        *preflight.fault_permissions(experiment, registries.faults()),
    )
    click.echo(as_yaml(manifests(f"gameday:{experiment.name}", needed, subject)), nl=False)
    return exits.HELD
