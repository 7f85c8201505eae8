"""`gameday new NAME`: an experiment that already runs, with its runbook. Must never overwrite a file."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template

from harness.model.errors import SpecError

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def new_experiment(name: str) -> str:
    """Return the text of a commented experiment that already runs.

    Args:
        name: Its name: lower-case letters, digits and dashes.

    Raises:
        SpecError: Not a name.
    """
    return _filled("new-experiment.yaml", name)


def new_runbook(name: str) -> str:
    """Return the text of its runbook, to be filled in."""
    return _filled("new-runbook.md", name)


def write_new_experiment(name: str, project_dir: Path) -> tuple[Path, Path]:
    """Write ``experiments/NAME.yaml`` and ``runbooks/NAME.md``.

    Raises:
        SpecError: Not a name, or one of the files is there already.
    """
    texts = {
        project_dir / "experiments" / f"{name}.yaml": new_experiment(name),
        project_dir / "runbooks" / f"{name}.md": new_runbook(name),
    }
    for path in texts:
        if path.exists():
            raise SpecError(path.name, "", "is there already, and nothing is overwritten", "choose another name")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    experiment, runbook = texts
    return experiment, runbook


def _filled(template: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise SpecError("gameday new", name, "not a name for an experiment", "lower-case letters, digits and dashes")
    text = resources.files("harness").joinpath(f"schema/{template}").read_text("utf-8")
    return Template(text).substitute(name=name)
