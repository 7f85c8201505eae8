"""The secrets of a drill's webhooks: each from an environment variable, or from a file that nobody else may read.

``NAME`` holds the secret itself, ``NAME_FILE`` the path of a file that does. No error tells a secret, and none may go
into a process's arguments, a log or the journal.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.model.drill import DrillError

PAGERDUTY_ENV = "GAMEDAY_DRILL_PAGERDUTY_SECRET"
"""Secrets of PagerDuty's webhook subscriptions, separated by commas or lines."""

SLACK_ENV = "GAMEDAY_DRILL_SLACK_SECRET"
"""Signing secrets of Slack apps whose slash command marks, separated likewise."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO
BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class HookSecrets:
    """The secrets by which senders sign; see `harness.drill.web.access.WebSecrets`."""

    pagerduty: tuple[str, ...] = field(default=(), repr=False)
    slack: tuple[str, ...] = field(default=(), repr=False)


def hook_secrets(environ: Mapping[str, str]) -> HookSecrets:
    """Return those that are set.

    Raises:
        DrillError: A file cannot be used.
    """
    return HookSecrets(*(_several(secret_value(name, environ)) for name in (PAGERDUTY_ENV, SLACK_ENV)))


def _several(text: str) -> tuple[str, ...]:
    return tuple(filter(None, re.split(r"[,\s]+", text)))


def secret_value(name: str, environ: Mapping[str, str]) -> str:
    """Return the secret of a variable, or of the file that the variable of that name and ``_FILE`` names.

    Returns:
        The secret without white space round it; empty where neither is set.

    Raises:
        DrillError: Both are set, or the file cannot be used.
    """
    value, path = environ.get(name, "").strip(), environ.get(f"{name}_FILE", "").strip()
    if value and path:
        raise DrillError(f"{name} and {name}_FILE are both set", "unset one of them")
    return read_secret(Path(path), f"{name}_FILE") if path else value


def read_secret(path: Path, named_by: str) -> str:
    """Return what is in a file of ours.

    Args:
        path: The file.
        named_by: What names it, for errors.

    Raises:
        DrillError: It is no file, others may read it, or it is empty, too large or no text.
    """
    try:
        if not path.is_file():
            raise DrillError(f"{named_by}: {path} is not a file", "name the file that holds the secret")
        with path.open("rb") as file:
            mode, data = os.fstat(file.fileno()).st_mode, file.read(BYTES_MAX + 1)
    except OSError as error:
        raise DrillError(f"{named_by}: {path} cannot be read ({error.strerror})", f"see `ls -l {path}`") from None
    if mode & OTHERS:
        problem = f"{named_by}: {path} may be used by others (mode {stat.S_IMODE(mode):04o})"
        raise DrillError(problem, f"chmod 600 {path}, and change the secret if they may have read it")
    try:
        found = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        found = ""
    if not found or len(data) > BYTES_MAX:
        problem = f"{named_by}: {path} is empty, no text, or larger than {BYTES_MAX} bytes"
        raise DrillError(problem, "write the secret alone into it")
    return found
