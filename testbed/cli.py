"""`gameday testbed`: the commands for people and for the harness. Parses and prints; decides nothing else.

Exit status: 0 done · 4 usage or environment (one message, no traceback) · 3 anything unexpected.
"""

import json
import os
import shlex
import signal
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from testbed.addresses import SLOT_MAX, AddressRefusedError
from testbed.controlplane.boot import COMPONENTS, alerting_programs
from testbed.controlplane.build import programs_dir
from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.exec import ExecRequest, exec_in_pod
from testbed.controlplane.lifecycle import UpRequest, UpResult, down, up
from testbed.controlplane.places import instance_dir
from testbed.controlplane.programs import FAMILIES, TESTBED_FAMILIES
from testbed.controlplane.status import as_text, status_of
from testbed.layout import LayoutError, read_layout
from testbed.reported import EXIT_OPERATOR, reported, run_program

_reported = reported(OperatorError, LayoutError, AddressRefusedError)
_NAME = click.option("--name", default="default", show_default=True, metavar="N", help="Instance.")


@click.group()
def testbed() -> None:
    """A real Kubernetes control plane and a sample agent platform as local processes."""


@testbed.command("up")
@_NAME
@click.option("--with", "added", multiple=True, type=click.Choice(list(COMPONENTS)), help="Add a component.")
@click.option(
    "--without", multiple=True, type=click.Choice(["platform", "metrics", "reaper"]), help="Leave a component out."
)
@click.option("--light", is_flag=True, help="Control plane, node agent and reaper only.")
@click.option("--slot", type=click.IntRange(0, SLOT_MAX), help="Slot; the lowest free one by default.")
@click.option("--port-base", type=int, metavar="P", help="First port; 21000 + 100 * slot by default.")
@click.option(
    "--owner-pid", type=int, metavar="PID", help="When this process is gone, the next `up` clears the testbed."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON; progress goes to stderr.")
@_reported
def up_command(  # noqa: PLR0913, PLR0917 - click passes one argument per option
    name: str,
    added: tuple[str, ...],
    without: tuple[str, ...],
    light: bool,
    slot: int | None,
    port_base: int | None,
    owner_pid: int | None,
    as_json: bool,
) -> None:
    """Start a testbed, or reuse the one that lives; add to it what is asked for."""
    signal.signal(signal.SIGTERM, _terminated)
    usual = ("core", "reaper") if light else ("core", "reaper", "metrics", "platform")
    base = tuple(part for part in usual if part not in without)
    request = UpRequest(name, tuple(dict.fromkeys((*base, *added))), slot, port_base, owner_pid)
    progress = Progress(partial(click.echo, err=as_json))
    _print_result(up(request, progress), as_json)


def _terminated(signum: int, _frame: FrameType | None) -> NoReturn:
    # So that what was started is stopped again on the way out.
    raise SystemExit(128 + signum)


def _print_result(result: UpResult, as_json: bool) -> None:
    layout = result.layout
    if as_json:
        click.echo(
            json.dumps({"created": result.created, "components": result.components, "target": str(layout.target_file)})
        )
        return
    click.echo(f"export KUBECONFIG={shlex.quote(str(layout.admin_kubeconfig))}")


@testbed.command("down")
@_NAME
@_reported
def down_command(name: str) -> None:
    """End a testbed; leaves its logs, and no process, key or token."""
    progress = Progress()
    found = down(name, progress)
    progress.say(f"testbed {name} is down" if found else f"there is no testbed {name}")


@testbed.command("status")
@_NAME
@click.option("--json", "as_json", is_flag=True, help="Print JSON (schema gameday.testbed-status/1).")
@_reported
def status_command(name: str, as_json: bool) -> None:
    """Show a testbed's programs; exit 4 when there is none or one of its programs is not running."""
    status = status_of(instance_dir(name))
    click.echo(json.dumps({**status.document, "faults": status.faults}, indent=1) if as_json else as_text(status))
    running = all(program["state"] in ("STARTING", "RUNNING") for program in status.document["programs"])
    if status.document["condition"] != "living" or not running:
        raise click.exceptions.Exit(EXIT_OPERATOR)


@testbed.command("logs")
@_NAME
@click.argument("program", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="Lines to show.")
@_reported
def logs_command(name: str, program: str | None, follow: bool, lines: int) -> None:
    """Show the log of PROGRAM, or the end of every log. Logs stay after `down`."""
    files = _log_files(instance_dir(name) / "logs", program)
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)])  # noqa: S606


def _log_files(folder: Path, program: str | None) -> list[Path]:
    files = sorted(folder.glob("*.log"))
    chosen = [file for file in files if program in (None, file.stem)]
    if not chosen:
        there = ", ".join(file.stem for file in files) or "none"
        raise OperatorError(f"no log of {program or 'any program'} in {folder}; there are: {there}")
    return chosen


@testbed.command("exec", context_settings={"ignore_unknown_options": True})
@_NAME
@click.option("-n", "--namespace", default="agents", show_default=True)
@click.option("-c", "--container", help="Container; the first one by default.")
@click.option("--timeout-s", type=click.FloatRange(0, 3600, min_open=True), default=600.0, show_default=True)
@click.argument("pod")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_reported
def exec_command(
    name: str, namespace: str, container: str | None, timeout_s: float, pod: str, command: tuple[str, ...]
) -> None:
    """Run COMMAND with the environment of a container of POD; ends with the command's exit status."""
    layout = read_layout(instance_dir(name))
    raise click.exceptions.Exit(exec_in_pod(layout, ExecRequest(namespace, pod, container, command, timeout_s)))


@testbed.command("env")
@_NAME
@_reported
def env_command(name: str) -> None:
    """Print what makes kubectl speak to the testbed: `eval "$(gameday testbed env)"`."""
    layout = read_layout(instance_dir(name))
    click.echo(f"export KUBECONFIG={shlex.quote(str(layout.admin_kubeconfig))}")
    programs = alerting_programs(layout)
    if programs:
        click.echo(f'export PATH={shlex.quote(programs)}:"$PATH"')


@testbed.command("build")
@click.argument("families", nargs=-1, type=click.Choice(list(FAMILIES)))
@_reported
def build_command(families: tuple[str, ...]) -> None:
    """Build the programs of FAMILIES (by default what a testbed needs) unless they are built already."""
    progress = Progress()
    for family in families or TESTBED_FAMILIES:
        progress.say(f"{family}: {programs_dir(FAMILIES[family], progress)}")


def main(arguments: list[str] | None = None) -> int:
    """Run the CLI; return its exit status."""
    return run_program(testbed, arguments, "python -m testbed")
