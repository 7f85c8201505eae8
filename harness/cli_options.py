"""Options that several commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import click

from harness import registries
from harness.model.errors import SpecError
from harness.settings import choose_target, load_settings

SETTINGS = str(registries.PROJECT_DIR / "gameday.toml")

settings_option = click.option("--settings", default=SETTINGS, show_default="gameday.toml", metavar="FILE")
runs_option = click.option("--runs-dir", default="runs", show_default=True, metavar="DIR", help="Where run folders go.")
target_option = click.option(
    "--target", metavar="NAME", help="Target of gameday.toml (else GAMEDAY_TARGET, else default_target)."
)


def chosen_target(settings: str, named: str | None) -> str:
    """Return the name of the target that a command is for.

    Raises:
        SpecError: None is named, or the settings cannot be read.
    """
    chosen = choose_target(load_settings(Path(settings)), named, os.environ)
    if chosen is None:
        raise SpecError("--target", "", "no target is named", "--target NAME, GAMEDAY_TARGET, or default_target")
    return chosen
