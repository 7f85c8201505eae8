"""`gameday runbook lint`. A composition root: wires and prints, and judges no runbook itself."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from harness import exits, registries


@click.group("runbook", context_settings={"help_option_names": ["-h", "--help"]})
def runbook() -> None:
    """Look after the runbooks."""


@runbook.command("lint")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.pass_context
def lint_command(context: click.Context, files: tuple[Path, ...]) -> int:
    """Check FILES, or all runbooks: sections, links, commands, steps. Runs nothing and touches no cluster."""
    from harness.runbook_lint import Project, lint  # noqa: PLC0415 - brings the parsers

    project = Project(registries.PROJECT_DIR, context.find_root().command)
    problems = lint(files, project)
    for problem in problems:
        click.echo(f"{replace(problem, path=Path(os.path.relpath(problem.path)))}", err=True)
    wrong = {problem.path for problem in problems}
    for path in files or project.runbooks:
        if path not in wrong:
            click.echo(f"{path.name}: valid")
    return exits.USAGE if problems else exits.HELD


COMMANDS = (runbook,)
