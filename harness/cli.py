"""The command ``gameday``. A composition root: wires and prints; decides nothing that a run or a judge decides.

Exit statuses are those of DESIGN §3; click's own usage errors become 4.
"""

from __future__ import annotations

import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from harness import cli_deploy, cli_doctor, cli_drill, cli_init, cli_runbook, cli_runs, cli_safety, exits, registries
from harness.cli_options import SETTINGS, chosen_target, runs_option, settings_option, target_option
from harness.cli_sabotage import sabotage_command
from harness.client import CONTROL_SUFFIX, Job, RunClient, RunEnd
from harness.live import LiveView
from harness.model.errors import GameDayError, Refusal, SpecError
from harness.model.experiment import Experiment
from harness.settings import check_query_packs, load_settings, resolve_target


class _Lazy(click.Group):
    """Finds the testbeds' commands only when they are asked for: the harness knows a testbed only as a target."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "kind", "testbed"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "testbed":
            from testbed.cli import testbed  # noqa: PLC0415 - an optional product of its own

            return testbed
        if cmd_name == "kind":
            from testbed.kind.cli import kind  # noqa: PLC0415 - as the testbed

            return kind
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def gameday() -> None:
    """Break a platform on purpose, under load, and say from evidence what held."""


@gameday.command("run")
@click.argument("name")
@target_option
@click.option("--seed", type=int, metavar="N", help="Seed of victims, arrivals and payloads; printed if not given.")
@click.option("--rehearse", is_flag=True, help="Run against the in-memory twin, in seconds; touches no cluster.")
@click.option("--with-testbed", is_flag=True, help="Start the local testbed for the run and take it down afterwards.")
@click.option("--dry-run", "dry", is_flag=True, help="Read everything, touch nothing; say whom each fault would hit.")
@click.option("--control", is_flag=True, help="Run it without its faults first; the report tells what they did.")
@runs_option
@settings_option
def run_command(  # noqa: PLR0913, PLR0917 - one parameter an option
    name: str,
    target: str | None,
    seed: int | None,
    rehearse: bool,
    with_testbed: bool,
    dry: bool,
    control: bool,
    runs_dir: str,
    settings: str,
) -> int:
    """Run the game day NAME (or a file) and say what held."""
    path = registries.experiment_path(name)
    experiment = registries.load(path)
    chosen = "" if rehearse else chosen_target(settings, target)
    if with_testbed and (rehearse or chosen != "local"):
        raise SpecError("--with-testbed", "", "it is for --target local only")
    console = Console(stderr=True)
    number = seed if seed is not None else random.SystemRandom().randrange(1, 2**31)
    job = Job(str(path), settings, chosen, number, str(Path(runs_dir).resolve()), rehearse)
    if dry:
        from harness.cli_inspection import dry_run  # noqa: PLC0415 - brings the drivers

        return dry_run(experiment, job, click.echo)
    run = partial(_run_with_control if control else _run_job, job, console, experiment)
    if not with_testbed:
        return run()
    from harness.testbed_session import LocalTestbed  # noqa: PLC0415 - only where it is asked for

    with LocalTestbed(experiment.components):
        return run()


def _run_job(job: Job, console: Console, experiment: Experiment) -> int:
    end = _watched(job, console, experiment)
    return end.exit_status if end.run_dir is None else _print_verdicts(end.run_dir)


def _run_with_control(job: Job, console: Console, experiment: Experiment) -> int:
    """Run without the faults, then with them; a control run that did not complete is the end of it."""
    from harness.control import after_control  # noqa: PLC0415 - pandas only where it is needed

    end = _watched(replace(job, control=True), console, experiment)
    if end.run_dir is None:
        return end.exit_status
    status = _print_verdicts(end.run_dir)
    found = after_control(end.run_dir, job)
    if found.problem:
        console.print(f"gameday: {found.problem}", style="red", soft_wrap=True)
        return status
    if found.rest_s:
        console.print(f"resting {found.rest_s:.0f} s: the autoscalers go back before the run with the faults")
        time.sleep(found.rest_s)
    return _run_job(replace(job, control_run=end.run_dir.name), console, experiment)


def _watched(job: Job, console: Console, experiment: Experiment) -> RunEnd:
    expected_s = experiment.expected_duration_s
    if job.target:  # a target that cannot be used is the only thing to say
        resolve_target(load_settings(Path(job.settings)), job.target)
    what = f"{experiment.title}{CONTROL_SUFFIX if job.control else ''}"
    console.print(f"{what}: about {expected_s / 60:.1f} min on {job.target or 'the twin'}")
    with LiveView(console, expected_s) as view:
        end = RunClient(job, view.take_message).wait()
    if end.run_dir is None:
        console.print(f"gameday: {end.error}", style="red", soft_wrap=True)
    return end


def _print_verdicts(run_dir: Path) -> int:
    from harness.effect import with_effect  # noqa: PLC0415 - pandas only where it is needed
    from harness.judgement import judge_run  # noqa: PLC0415
    from reports.terminal import print_verdicts  # noqa: PLC0415

    judgement = judge_run(run_dir)
    record = with_effect(run_dir, judgement.record)
    print_verdicts(Console(), record, judgement.verdicts, judgement.assumptions)
    click.echo(f"report  {run_dir / 'report.html'}")
    click.echo(f"exit    {judgement.exit_status}: {exits.MEANING[judgement.exit_status]}")
    return judgement.exit_status


@gameday.command("list")
def list_command() -> int:
    """List the experiments: load, faults, what they need, how long they take."""
    table = Table("experiment", "what it does", "peak", "faults", "needs", "takes", box=None)
    for column in (0, 2, 5):
        table.columns[column].no_wrap = True
    for path in sorted(registries.EXPERIMENTS_DIR.glob("*.yaml")):
        e = registries.load(path)
        minutes = f"{e.expected_duration_s / 60:.1f} min"
        table.add_row(e.name, e.title, f"{e.load.peak_rps:g} rps", str(len(e.faults)), ", ".join(e.components), minutes)
    Console().print(table)
    return exits.HELD


@gameday.command("validate")
@click.argument("names", nargs=-1)
def validate_command(names: tuple[str, ...]) -> int:
    """Validate experiment files; all of them, and the query packs, by default. Touches nothing."""
    from harness.drivers.chaostoolkit import ensure_valid  # noqa: PLC0415 - brings Chaos Toolkit

    paths = [registries.experiment_path(name) for name in names] or sorted(registries.EXPERIMENTS_DIR.glob("*.yaml"))
    status = exits.HELD
    if not names:
        check_query_packs(load_settings(Path(SETTINGS)))
    for path in paths:
        try:
            registries.load(path)
            ensure_valid(path)
            click.echo(f"{path.name}: valid")
        except SpecError as error:
            click.echo(f"{error}", err=True)
            status = exits.USAGE
    return status


@gameday.command("new")
@click.argument("name")
def new_command(name: str) -> int:
    """Write experiments/NAME.yaml and its runbook: commented, and it already runs."""
    from harness.spec import write_new_experiment  # noqa: PLC0415

    for path in write_new_experiment(name, registries.PROJECT_DIR):
        click.echo(f"wrote {path}")
    click.echo(f"try it: gameday run {name} --rehearse")
    return exits.HELD


@gameday.command("report")
@click.argument("run", default="latest")
@runs_option
def report_command(run: str, runs_dir: str) -> int:
    """Judge the stored run RUN again and write its reports anew."""
    from harness import store  # noqa: PLC0415
    from harness.judgement import judge_run, write_reports  # noqa: PLC0415

    run_dir = store.find_run(Path(runs_dir), run)
    for path in write_reports(judge_run(run_dir)):
        click.echo(f"wrote {path}")
    return _print_verdicts(run_dir)


for _command in (
    *cli_doctor.COMMANDS,
    *cli_init.COMMANDS,
    *cli_deploy.COMMANDS,
    *cli_drill.COMMANDS,
    *cli_safety.COMMANDS,
    *cli_runs.COMMANDS,
    *cli_runbook.COMMANDS,
    sabotage_command,
):
    gameday.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its status; SIGTERM ends it like Ctrl-C, so that what was started is stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(_guarded(lambda: gameday.main(arguments, prog_name="gameday", standalone_mode=False)))


def _guarded(act: Callable[[], Any]) -> int:
    try:
        status = act()
        return int(status) if isinstance(status, int) else exits.HELD
    except click.exceptions.Exit as asked:
        return asked.exit_code
    except click.ClickException as error:
        error.show()
        return exits.USAGE
    except click.Abort:
        return exits.STOPPED
    except GameDayError as error:
        click.echo(f"gameday: {error}", err=True)
        usage = isinstance(error, SpecError) or (isinstance(error, Refusal) and error.code == "identity")
        return exits.USAGE if usage else exits.INCONCLUSIVE
    except Exception:  # the outermost frame: told in full, and never with the status of a broken assertion
        traceback.print_exc()
        return exits.CRASHED


if __name__ == "__main__":
    main()
