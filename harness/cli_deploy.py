"""Commands `rbac` and `deploy`: what a cluster needs, as manifests. A composition root: it applies nothing."""

from __future__ import annotations

from pathlib import Path

import click

from harness import exits
from harness.cli_options import chosen_target, settings_option, target_option
from harness.model.errors import SpecError
from harness.settings import load_settings, resolve_target


@click.command("rbac")
@click.argument("names", nargs=-1, metavar="[EXPERIMENT]...")
@target_option
@click.option(
    "--manifest", is_flag=True, help="With the runner's ServiceAccount; for all that fit where none is named."
)
@click.option("--user", default="", metavar="NAME", help="Who is granted it (gameday-runner).")
@click.option("--service-account", default="", metavar="NAMESPACE/NAME", help="Who is granted it instead.")
@settings_option
def rbac_command(
    names: tuple[str, ...], target: str | None, manifest: bool, user: str, service_account: str, settings: str
) -> int:
    """Print the least rights that experiments need, for `kubectl apply -f -`."""
    chosen = chosen_target(settings, target)
    if manifest:
        from harness.deploy.runner import manifest_text  # noqa: PLC0415 - brings Chaos Toolkit (FAULTS)

        if user or service_account:
            raise SpecError("--manifest", "", "it brings a ServiceAccount of its own", "leave --user out")
        click.echo(manifest_text(resolve_target(load_settings(Path(settings)), chosen), names), nl=False)
        return exits.HELD
    from harness.cli_inspection import print_rbac  # noqa: PLC0415 - brings the drivers

    if not names:
        raise SpecError("EXPERIMENT", "", "no experiment is named", "name one, or ask for all by --manifest")
    return max(print_rbac(name, settings, chosen, user, service_account) for name in names)


@click.command("deploy")
@click.argument("names", nargs=-1, metavar="[EXPERIMENT]...")
@target_option
@click.option("--image", required=True, metavar="IMAGE", help="An image in which this project is installed.")
@click.option("--out", metavar="DIR", help="Folder that is written (deploy/TARGET).")
@click.option(
    "--claim", default="", metavar="NAME", help="PersistentVolumeClaim for the runs; else they go with the pod."
)
@settings_option
def deploy_command(
    names: tuple[str, ...], target: str | None, image: str, out: str | None, claim: str, settings: str
) -> int:
    """Write what a target needs in its cluster, for `kubectl apply -k`: runner, reaper, labels, a Job an EXPERIMENT."""
    from harness.deploy import runner, runner_folder  # noqa: PLC0415 - brings Chaos Toolkit (FAULTS)

    chosen = chosen_target(settings, target)
    found = resolve_target(load_settings(Path(settings)), chosen)
    folder = Path(out or f"deploy/{chosen}")
    text = Path(settings).read_text("utf-8")
    fitting = runner.fitting(found, names)
    runner_folder.write(folder, runner_folder.files_of(found, text, image, fitting))
    click.echo(f"wrote {folder}: kubectl apply -k {folder}")
    for experiment in fitting:
        job = folder / "jobs" / experiment.name
        runner_folder.write(job, runner_folder.job_files(found, experiment, image, claim))
        click.echo(f"wrote {job}: kubectl apply -k {job}")
    return exits.HELD


COMMANDS = (rbac_command, deploy_command)
