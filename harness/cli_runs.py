"""Commands over stored runs: `compare`. A composition root: wires and prints; touches no cluster."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

runs_option = click.option("--runs-dir", default="runs", show_default=True, metavar="DIR", help="Where run folders go.")


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


COMMANDS = (compare_command,)
