"""Renders a program's configuration from a template and becomes that program.

Used where a program cannot read what it needs from its environment (Envoy, Prometheus). The launcher execs: afterwards
the process is the program itself and gets the signals. Nothing is fetched and no process stays behind.
"""

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from jinja2 import Environment as Jinja
from jinja2 import StrictUndefined, TemplateError

from testbed.platform import jsonlog
from testbed.platform.settings import Environment, SettingsError

LOOPBACK = "loopback"  # pods are processes of this machine: 198.18.A.M in the API, 127.44.A.M to dial
ROUTABLE = "routable"  # pods have addresses of their own, as on kind


def pod_addresses(env: Environment) -> str:
    """Return whether pod addresses must be mapped; the default is the one that never leaves the machine."""
    return env.choice("POD_ADDRESSES", LOOPBACK, (LOOPBACK, ROUTABLE))


def render(template: Path, values: Mapping[str, object]) -> str:
    """Return the text of ``template`` with ``values``; raises SettingsError when it cannot be read or rendered."""
    try:
        jinja = Jinja(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701
        return jinja.from_string(template.read_text()).render(**values)
    except (OSError, TemplateError) as error:
        raise SettingsError(f"cannot render {template}: {error}") from error


def write_config(env: Environment, name: str, text: str) -> Path:
    """Write ``text`` to ``name`` in the pod's temporary folder and return the path."""
    path = Path(env.text("TMPDIR", "/tmp")) / name  # noqa: S108 - the pod's own folder
    try:
        path.write_text(text)
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error
    return path


def become(program: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by ``program``; raises SettingsError when it is not installed."""
    path = shutil.which(program)
    if path is None:
        raise SettingsError(f"{program} is not on PATH")
    jsonlog.log(logging.INFO, "starting", program_path=program, arguments=list(arguments))
    os.execv(path, [program, *arguments])  # noqa: S606 - no shell; the arguments are our own


def launcher(prepare: Callable[[Environment], tuple[str, Sequence[str]]]) -> Callable[[Environment], NoReturn]:
    """Return a program that prepares its command and becomes it."""

    def launch(env: Environment) -> NoReturn:
        become(*prepare(env))

    return launch
