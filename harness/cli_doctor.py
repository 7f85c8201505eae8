"""Command `doctor`. A composition root: prints; decides nothing itself."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli_options import chosen_target, settings_option, target_option
from harness.doctor_lines import document, status_of, told
from harness.settings import load_settings


@click.command("doctor")
@click.argument("names", nargs=-1, metavar="[EXPERIMENT]...")
@target_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@settings_option
def doctor_command(names: tuple[str, ...], target: str | None, as_json: bool, settings: str) -> int:
    """Say whether a target is fit for experiments (all by default); reads only, touches nothing."""
    from harness.doctor_wiring import examine  # noqa: PLC0415 - brings the drivers

    chosen = chosen_target(settings, target)
    lines = examine(load_settings(Path(settings)), chosen, names)
    for line in [json.dumps(document(chosen, lines), indent=2)] if as_json else told(chosen, lines):
        click.echo(line)
    return status_of(lines)


COMMANDS = (doctor_command,)
