"""Folders outside the repository: state of instances, cache of built programs. Names only; nothing is created here."""

import os
import re
from pathlib import Path

import platformdirs

from testbed.controlplane.errors import OperatorError

REPOSITORY = Path(__file__).resolve().parents[2]
"""Root of the checkout: the parent of the package `testbed`."""

_INSTANCE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def state_root() -> Path:
    """Folder of the instances: `$GAMEDAY_STATE_DIR/testbeds`, else `<user state dir>/gameday/testbeds`."""
    parent = os.environ.get("GAMEDAY_STATE_DIR") or platformdirs.user_state_dir("gameday")
    return Path(parent).expanduser().resolve() / "testbeds"


def instance_dir(name: str) -> Path:
    """Folder of the instance `name`.

    Raises:
        OperatorError: the name is not one (it becomes part of context and file names).
    """
    if not _INSTANCE_NAME.fullmatch(name):
        raise OperatorError(f"--name {name!r}: use up to 32 of a-z, 0-9 and '-', as in a DNS label")
    return state_root() / name


def cache_root() -> Path:
    """Folder of what was built: `$GAMEDAY_CACHE_DIR`, else `<user cache dir>/gameday`."""
    return Path(os.environ.get("GAMEDAY_CACHE_DIR") or platformdirs.user_cache_dir("gameday")).expanduser().resolve()


def ready_programs() -> Path | None:
    """Folder of ready programs that `GAMEDAY_BIN_DIR` names, if it does."""
    given = os.environ.get("GAMEDAY_BIN_DIR")
    return Path(given).expanduser().resolve() if given else None
