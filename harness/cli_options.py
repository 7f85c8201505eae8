"""Options that several commands share, so that they are called and explained the same everywhere."""

from __future__ import annotations

import click

from harness import registries

SETTINGS = str(registries.PROJECT_DIR / "gameday.toml")

settings_option = click.option("--settings", default=SETTINGS, show_default="gameday.toml", metavar="FILE")
runs_option = click.option("--runs-dir", default="runs", show_default=True, metavar="DIR", help="Where run folders go.")
