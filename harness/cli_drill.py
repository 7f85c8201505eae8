"""The command `drill`: hold one, list them, write a debrief anew, stop one. A composition root."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from harness import exits, registries
from harness.cli_options import chosen_target, runs_option, settings_option, target_option
from harness.model.drill import Drill, DrillError
from harness.model.errors import SpecError
from harness.model.time import parse_duration_s

STOP_LIMIT_S = 180.0
LOOK_EVERY_S = 0.5


class _Drills(click.Group):
    """Takes a name that is no command for an experiment's: `gameday drill NAME` holds a drill."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["hold", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Tell a refusal of a drill in one line."""
        try:
            return super().invoke(ctx)
        except DrillError as error:
            click.echo(f"gameday: {error.problem} — {error.remedy}", err=True)
            return exits.INCONCLUSIVE


@click.group("drill", cls=_Drills, options_metavar="", subcommand_metavar="NAME... [OPTIONS] | COMMAND")
def drill() -> None:
    """Hold a drill for people: `gameday drill NAME...` hides one fault of the named experiments.

    Its options: `gameday drill hold -h`. All of it: docs/drills.md. To see one first: `make drill-demo`.
    """


@drill.command("hold", short_help="Hold one; the word may be left out.")
@click.argument("names", nargs=-1, required=True)
@target_option
@click.option("--fault", default="", metavar="F", help="Only faults of this name; chosen by chance if not given.")
@click.option("--seed", type=int, metavar="N", help="Seed of the choice and of the run; whoever knows it knows both.")
@click.option("--limit", metavar="10m", help="Longest time from the fault, instead of the file's.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Of the pages; any free one.")
@click.option("--script", type=click.Path(path_type=Path), metavar="FILE", help="A scripted participant.")
@click.option("--no-page", is_flag=True, help="No links to pages: marks come from the script and from webhooks.")
@click.option("--allow-changes", is_flag=True, help="The runbook's commands may change the cluster.")
@click.option(
    "--with-testbed", is_flag=True, help="Start the local testbed for the drill, and take it down afterwards."
)
@click.option("--rehearse", is_flag=True, help="Against the in-memory twin, in real time; nobody is paged.")
@runs_option
@settings_option
def hold_command(  # noqa: PLR0913, PLR0917 - one parameter an option
    names: tuple[str, ...],
    target: str | None,
    fault: str,
    seed: int | None,
    limit: str | None,
    port: int,
    script: Path | None,
    no_page: bool,
    allow_changes: bool,
    with_testbed: bool,
    rehearse: bool,
    runs_dir: str,
    settings: str,
) -> int:
    """Hold a drill: one fault of the experiments NAMES, which one is sealed until the end."""
    from harness.drill.holding import hold  # noqa: PLC0415 - brings the drivers
    from harness.drill.preparing import Wish  # noqa: PLC0415

    chosen = "" if rehearse else chosen_target(settings, target)
    if with_testbed and chosen != "local":
        raise SpecError("--with-testbed", "", "it is for --target local only")
    wish = Wish(
        names=names,
        settings=Path(settings),
        target=chosen,
        runs_dir=Path(runs_dir).resolve(),
        fault=fault,
        seed=seed,
        limit_s=None if limit is None else _limit_s(limit),
        script=script,
        pages=not no_page,
        port=port,
        allow_changes=allow_changes,
    )
    with _testbed(names) if with_testbed else nullcontext():
        return hold(wish, _echo, linger=_nothing if script or no_page else _linger)


def _testbed(names: Sequence[str]) -> AbstractContextManager[object]:
    """Return a testbed for whichever of the experiments it will be, with what pages people."""
    from harness.testbed_session import LocalTestbed  # noqa: PLC0415 - only where it is asked for

    needs = {need for name in names for need in registries.load(registries.experiment_path(name)).components}
    return LocalTestbed((*sorted(needs), "alerting"))


def _echo(line: str) -> None:
    with suppress(OSError):  # the terminal was closed: the journal has it, and the drill goes on to its end
        click.echo(line)


def _nothing() -> None:
    """Nobody is there to look at a page."""


def _linger() -> None:
    """Leave the pages on while people look at the debrief; without a terminal nobody could say that they are done."""
    click.pause("the pages stay until you press a key")


def _limit_s(text: str) -> float:
    try:
        limit_s = parse_duration_s(text)
    except ValueError as error:
        raise SpecError("--limit", "", str(error)) from None
    if not limit_s:
        raise SpecError("--limit", "", "0 s leaves no time for anything", "a duration such as 10m")
    return limit_s


@drill.command("list", short_help="What can be drilled, and what was.")
@runs_option
def list_command(runs_dir: str) -> int:
    """List the experiments that are drills, and the drills that were held."""
    from harness.drill.folders import drills_dir, list_drills  # noqa: PLC0415 - pandas only where it is needed
    from harness.drill.journal import read_drill  # noqa: PLC0415

    table = Table("experiment", "faults", "limit", box=None)
    for path in sorted(registries.EXPERIMENTS_DIR.glob("*.yaml")):
        plan = registries.load(path).drill
        if plan is not None:
            table.add_row(path.stem, str(len(plan.faults)), f"{plan.limit_s / 60:g} min")
    held = Table("drill", "target", "marks", "end", box=None)
    for drill_id in list_drills(Path(runs_dir)):
        held.add_row(drill_id, *_summary(lambda one=drill_id: read_drill(drills_dir(Path(runs_dir)) / one)))  # type: ignore[misc]
    for one in (table, held):
        if one.row_count:
            Console().print(one)
    return exits.HELD


def _summary(read: Callable[[], Drill]) -> tuple[str, str, str]:
    try:
        found = read()
    except DrillError as error:
        return "", "", error.problem
    end = found.end.detail["end"] if found.end else found.state.value
    return str(found.opened().get("target", "")), f"{len(found.marks)} of 4", str(end)


@drill.command("debrief", short_help="Write a drill's debrief anew.")
@click.argument("name", metavar="ID", default="latest")
@runs_option
def debrief_command(name: str, runs_dir: str) -> int:
    """Write the debrief of a drill anew; one whose process died is revealed and ended first."""
    from harness.drill.afterwards import debrief_anew  # noqa: PLC0415 - pandas only where it is needed

    return debrief_anew(Path(runs_dir).resolve(), name, click.echo)


@drill.command("stop", short_help="Pull the safety stop from another terminal.")
@target_option
@click.option("--reason", default="", metavar="TEXT", help="For the debrief.")
@runs_option
@settings_option
def stop_command(target: str | None, reason: str, runs_dir: str, settings: str) -> int:
    """Pull the safety stop of the drill that runs on a target from this machine, and wait until it is over."""
    from harness.drill.folders import STOP_FILE, drills_dir, running_drill  # noqa: PLC0415 - pandas, as above

    runs, name = Path(runs_dir), chosen_target(settings, target)
    drill_id = running_drill(runs, name)
    if not drill_id:
        raise DrillError(f"no drill runs on {name} from here", "elsewhere: `gameday halt`, which stops every run")
    (drills_dir(runs) / drill_id / STOP_FILE).write_text(reason or "gameday drill stop", "utf-8")
    deadline_s = time.monotonic() + STOP_LIMIT_S
    while running_drill(runs, name) == drill_id:
        if time.monotonic() >= deadline_s:
            problem = f"drill {drill_id} is not over after {STOP_LIMIT_S:g} s"
            raise DrillError(problem, "`gameday halt` stops its run; `gameday recover --check` says what is left")
        time.sleep(LOOK_EVERY_S)
    click.echo(f"drill {drill_id} is over")
    return exits.HELD


COMMANDS = (drill,)
