"""Command `doctor`. A composition root: prints; decides nothing itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from harness.cli_options import settings_option
from harness.doctor_lines import document, status_of, told
from harness.model.errors import SpecError
from harness.settings import choose_target, load_settings


@click.command("doctor")
@click.argument("names", nargs=-1, metavar="[EXPERIMENT]...")
@click.option("--target", metavar="NAME", help="Target of gameday.toml (else GAMEDAY_TARGET, else default).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@settings_option
def doctor_command(names: tuple[str, ...], target: str | None, as_json: bool, settings: str) -> int:
    """Say whether a target is fit for experiments (all by default); reads only, touches nothing."""
    from harness.doctor_wiring import examine  # noqa: PLC0415 - brings the drivers

    found = load_settings(Path(settings))
    chosen = choose_target(found, target, os.environ)
    if chosen is None:
        raise SpecError("--target", "", "no target is named", "--target NAME, GAMEDAY_TARGET, or default_target")
    lines = examine(found, chosen, names)
    for line in [json.dumps(document(chosen, lines), indent=2)] if as_json else told(chosen, lines):
        click.echo(line)
    return status_of(lines)


COMMANDS = (doctor_command,)
