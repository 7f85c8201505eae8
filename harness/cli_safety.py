"""Commands that keep a cluster safe: `reaper`, `halt`, `recover`. A composition root: decides nothing itself."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli_options import chosen_target, settings_option, target_option
from harness.model.errors import SpecError
from harness.settings import load_settings, resolve_target

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command("recover")
@target_option
@click.option("--run", "run_id", metavar="ID", help="Only what this run left.")
@click.option("--list", "only_list", is_flag=True, help="Say what is left to undo; take nothing back.")
@click.option("--check", is_flag=True, help="Look at everything that a run may leave; exit 0 only where it is clean.")
@_json
@settings_option
def recover_command(
    target: str | None, run_id: str | None, only_list: bool, check: bool, as_json: bool, settings: str
) -> int:
    """Take back what a dead run left on a cluster; safe to call again."""
    from harness.recovery import check_target, recover_target  # noqa: PLC0415 - brings the Kubernetes client

    name = chosen_target(settings, target)
    if check:
        if run_id or only_list:
            raise SpecError("--check", "", "it looks at all runs and goes with neither --run nor --list")
        return check_target(settings, name, click.echo, as_json)
    return recover_target(settings, name, run_id, only_list, click.echo, as_json)


@click.command("halt")
@target_option
@click.option("--reason", default="", metavar="TEXT", help="For whoever is stopped by it.")
@click.option("--release", "let_go", is_flag=True, help="Let runs start again.")
@click.option("--status", "only_status", is_flag=True, help="Say whether it is pulled; exit 20 where it is.")
@settings_option
def halt_command(target: str | None, reason: str, let_go: bool, only_status: bool, settings: str) -> int:
    """Stop every run on a cluster and let none start, until it is released."""
    from harness import halting  # noqa: PLC0415 - brings the Kubernetes client

    if let_go and only_status:
        raise SpecError("--release", "", "it does not go with --status")
    name = chosen_target(settings, target)
    if only_status:
        return halting.status(settings, name, click.echo)
    return halting.release(settings, name, click.echo) if let_go else halting.halt(settings, name, reason, click.echo)


@click.command("reaper")
@target_option
@click.option("--manifest", is_flag=True, help="Print a Deployment with its ServiceAccount and least rights instead.")
@click.option("--image", metavar="IMAGE", help="With --manifest: an image in which this project is installed.")
@settings_option
def reaper_command(target: str | None, manifest: bool, image: str | None, settings: str) -> int:
    """Take back what dead runs leave, in the foreground, until SIGTERM."""
    name = chosen_target(settings, target)
    found = resolve_target(load_settings(Path(settings)), name)
    if manifest:
        from harness.deploy.reaper import manifest_text  # noqa: PLC0415 - brings Chaos Toolkit (FAULTS)

        if not image:
            raise SpecError("--image", "", "no image is named", "one in which this project is installed")
        click.echo(manifest_text(found, image), nl=False)
        return 0
    from harness import reaper_main  # noqa: PLC0415 - brings the Kubernetes client
    from harness.recovery import Recovery  # noqa: PLC0415

    Recovery.of(found, click.echo).check_identity()
    argv = ["--kubeconfig", found.kubeconfig, "--context", found.context, "--namespace", found.system_namespace]
    return reaper_main.main([*argv, "--commands-from", settings, "--target", name])


@click.command("load-workers")
@target_option
@click.option("--image", metavar="IMAGE", required=True, help="An image in which this project is installed.")
@click.option("--master", metavar="HOST", help="Where pods reach this machine; default: listen_host of the target.")
@settings_option
def load_workers_command(target: str | None, image: str, master: str | None, settings: str) -> int:
    """Print a Deployment of pods that make the target's load, for kubectl apply."""
    from harness.deploy.load_workers import manifest_text  # noqa: PLC0415 - as the others

    found = resolve_target(load_settings(Path(settings)), chosen_target(settings, target))
    click.echo(manifest_text(found, image, master or found.load_workers.listen_host), nl=False)
    return 0


COMMANDS = (recover_command, halt_command, reaper_command, load_workers_command)
