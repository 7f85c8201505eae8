"""Commands over stored runs: `compare`, `trend`, `prune`. A composition root: wires and prints; touches no cluster."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console

from harness import exits
from harness.cli_options import runs_option
from harness.model.errors import SpecError


@click.command("compare")
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN", default="latest")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@runs_option
def compare_command(first: str, second: str, as_json: bool, runs_dir: str) -> int:
    """Compare two stored runs: exit 1 where the second is worse beyond noise, 20 where it cannot be told."""
    from harness.comparison import EXIT, compare_runs  # noqa: PLC0415 - pandas only where it is needed
    from reports.comparison import comparison_json, print_comparison  # noqa: PLC0415

    found = compare_runs(Path(runs_dir), first, second)
    status = EXIT[found.change]
    if as_json:
        click.echo(comparison_json(found, status), nl=False)
    else:
        print_comparison(Console(), found)
    return status


@click.command("trend")
@click.argument("experiment", required=False, default="")
@click.option("--last", type=int, default=20, show_default=True, metavar="N", help="Runs of each experiment.")
@runs_option
def trend_command(experiment: str, last: int, runs_dir: str) -> int:
    """Judge the last runs again and write DIR/index.html: exit 1 where the last one is worse beyond noise."""
    from harness.comparison import EXIT  # noqa: PLC0415 - pandas only where it is needed
    from harness.store import write_atomically  # noqa: PLC0415
    from harness.trend import FIGURES, index_of  # noqa: PLC0415
    from reports.index import INDEX_FILE, index_page, overall, sentence, trend_lines  # noqa: PLC0415

    found = index_of(Path(runs_dir), experiment, last)
    path = Path(runs_dir) / INDEX_FILE
    write_atomically(path, index_page(found.rows, found.experiments, FIGURES))
    for line in (*trend_lines(found.experiments), sentence(found.experiments), f"wrote {path}"):
        click.echo(line)
    return EXIT[overall(list(found.trends))]


@click.command("prune")
@click.option("--keep", type=int, metavar="N", help="Keep the N newest runs; a run and its control run count as one.")
@click.option("--max-size", metavar="SIZE", help="Keep at most so much, such as 2GiB.")
@click.option("--keep-failed", is_flag=True, help="Keep every run that failed or was never judged as well.")
@click.option("--dry-run", "dry", is_flag=True, help="Say what would go; remove nothing.")
@runs_option
def prune_command(keep: int | None, max_size: str | None, keep_failed: bool, dry: bool, runs_dir: str) -> int:
    """Remove the oldest stored runs; never the newest, and never one that may still go on."""
    from harness import retention  # noqa: PLC0415 - pandas only where it is needed

    found = retention.stored_runs(Path(runs_dir), time.time())
    chosen = retention.plan(found, retention.Limits(keep, _size_bytes(max_size), keep_failed))
    word = "would remove" if dry else "removed"
    if not dry:
        retention.remove_leftovers(Path(runs_dir))
    for run in chosen.going:
        if not dry:
            retention.remove(run)
        click.echo(f"{word} {run.path.name}  {retention.size_text(run.size_bytes)}")
    gone, left = (retention.size_text(sum(run.size_bytes for run in runs)) for runs in (chosen.going, chosen.staying))
    click.echo(f"{word} {len(chosen.going)} run folders, {gone}; {len(chosen.staying)} stay, {left}")
    if chosen.over:
        reasons = "; ".join(f"{run.path.name}: {run.held}" for run in chosen.staying if run.held)
        kept = ", failed runs are kept" if keep_failed else ""
        click.echo(f"still too much: {chosen.over}; the newest run stays{kept}; {reasons}".rstrip("; "), err=True)
    return exits.HELD


def _size_bytes(text: str | None) -> int | None:
    from harness.retention import parse_size_bytes  # noqa: PLC0415 - pandas only where it is needed

    try:
        return None if text is None else parse_size_bytes(text)
    except ValueError as error:
        raise SpecError("--max-size", "", str(error)) from None


COMMANDS = (compare_command, trend_command, prune_command)
