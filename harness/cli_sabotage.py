"""The command ``gameday sabotage``. A composition root: chooses saboteurs and prints what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from harness import exits
from harness.cli_options import runs_option, settings_option
from harness.model.errors import SpecError
from harness.sabotage.saboteurs import SABOTEURS, Saboteur
from harness.sabotage.trial import FILE_NAME, Runner, Trial, document, exit_status, try_all
from harness.store_files import dump_text, write_atomic

SPOILT_FOLDER = "sabotage"


@click.command("sabotage")
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Say what each saboteur does, and run nothing.")
@click.option("--on", "where", type=click.Choice(["twin", "testbed"]), default="twin", show_default=True)
@click.option("--seed", type=int, default=7, show_default=True, metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@runs_option
@settings_option
def sabotage_command(
    names: tuple[str, ...], only_list: bool, where: str, seed: int, as_json: bool, runs_dir: str, settings: str
) -> int:
    """Break things on purpose, and see that the right verdict turns for the right reason.

    On the twin it takes half a minute and touches no cluster; on the testbed it starts a local testbed of its own.
    """
    table = _table(where)
    chosen = _chosen(table, names)
    if only_list:
        for saboteur in chosen:
            click.echo(f"{saboteur.name:28}{saboteur.does} ({saboteur.experiment})")
        return exits.HELD
    spoilt_dir = Path(runs_dir, SPOILT_FOLDER).resolve()  # apart: they are nobody's latest run, and no trend
    spoilt_dir.mkdir(parents=True, exist_ok=True)
    with _runner(where, settings, str(spoilt_dir), seed) as runner:
        trials = try_all(chosen, runner, lambda trial: click.echo(_line(trial), err=True))
    found = document(where, trials)
    text = dump_text(found)
    path = Path(runs_dir) / (f"{where}-{FILE_NAME}" if len(chosen) == len(table) else f"part-of-{where}-{FILE_NAME}")
    write_atomic(path, text)
    if as_json:
        click.echo(text, nl=False)
    else:
        _print(trials)
        click.echo(f"{found['caught']} of {found['tried']} caught on the {where}; wrote {path}")
    return exit_status(trials)


def _table(where: str) -> Sequence[Saboteur]:
    if where == "twin":
        return SABOTEURS
    from harness.sabotage.on_testbed import TESTBED_SABOTEURS  # noqa: PLC0415 - only where it is asked for

    return TESTBED_SABOTEURS


@contextmanager
def _runner(where: str, settings: str, runs_dir: str, seed: int) -> Iterator[Runner]:
    if where == "twin":
        from harness.sabotage.on_twin import TwinRunner  # noqa: PLC0415 - as above

        yield TwinRunner(settings, runs_dir, seed)
        return
    from harness.sabotage.on_testbed import TestbedRunner  # noqa: PLC0415 - as above

    with TestbedRunner(settings, runs_dir, seed) as runner:
        yield runner


def _chosen(table: Sequence[Saboteur], names: Sequence[str]) -> Sequence[Saboteur]:
    known = {saboteur.name: saboteur for saboteur in table}
    for name in names:
        if name not in known:
            raise SpecError("sabotage", name, "there is no such saboteur", f"one of {', '.join(known)}")
    return [known[name] for name in names] if names else table


def _line(trial: Trial) -> str:
    return f"{'caught' if trial.caught else 'MISSED'}  {trial.name}"


def _print(trials: Sequence[Trial]) -> None:
    table = Table("saboteur", "what it does", "", "what was said", box=None)
    for trial in trials:
        table.add_row(trial.name, trial.does, "caught" if trial.caught else "MISSED", "\n".join(trial.told))
    Console(width=max(Console().width, 160)).print(table)
