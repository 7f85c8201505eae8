"""The folders of drills, and who may begin one: at most one at a time for a target of this machine.

``runs/drills/<drill_id>/`` holds a drill. Reads names and takes locks; what a drill is, is in its journal.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from harness.drill.journal import JOURNAL_FILE
from harness.model.drill import DrillError

DRILLS_DIR = "drills"
STOP_FILE = "stop"
"""In a drill's folder: somebody asks from another terminal for its end; what it says is the reason."""


def drills_dir(runs_dir: Path) -> Path:
    """Return where the drills of a runs folder are."""
    return runs_dir / DRILLS_DIR


def list_drills(runs_dir: Path) -> list[str]:
    """Return the ids of the drills, oldest first."""
    folder = drills_dir(runs_dir)
    if not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if (one / JOURNAL_FILE).is_file())


def find_drill(runs_dir: Path, name: str) -> Path:
    """Return the folder of a drill, by its id, a part of exactly one id, or ``latest``.

    Raises:
        DrillError: There is none, or more than one.
    """
    ids = list_drills(runs_dir)
    fitting = (
        ids[-1:] if name == "latest" else [one for one in ids if one == name] or [one for one in ids if name in one]
    )
    if len(fitting) == 1:
        return drills_dir(runs_dir) / fitting[0]
    problem = f"{len(fitting)} drills are called like {name!r}" if fitting else f"there is no drill {name!r}"
    newest = ", ".join((fitting or ids)[-5:])
    raise DrillError(problem, f"newest: {newest}" if newest else "`gameday drill NAME` makes one")


def make_folder(runs_dir: Path, now_unix_s: float) -> Path:
    """Make the folder of a new drill.

    Raises:
        DrillError: The disk refused.
    """
    drill_id = f"{datetime.fromtimestamp(now_unix_s, UTC):%Y%m%d-%H%M}-{secrets.token_hex(2)}"
    folder = drills_dir(runs_dir) / drill_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise DrillError(f"{folder} cannot be made ({error.strerror})", "name another --runs-dir") from error
    return folder


@contextmanager
def sole_drill(runs_dir: Path, target: str) -> Iterator[Path]:
    """Hold a target for one drill of this machine; ends with the process, however that ends.

    Yields:
        The lock's file; `name_holder` says who has it.

    Raises:
        DrillError: Another drill has it.
    """
    path = _lock_path(runs_dir, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, path, target)
        yield path
        os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, target: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = path.read_text("utf-8").strip() or "another drill"
        problem = f"{holder} is on {target} already, and two at once could not be told apart"
        raise DrillError(problem, f"wait until it ends, or `gameday drill stop --target {target}`") from None


def running_drill(runs_dir: Path, target: str) -> str:
    """Return the id of the drill that runs on a target from this machine, or an empty string."""
    path = _lock_path(runs_dir, target)
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return path.read_text("utf-8").strip()
    finally:
        os.close(descriptor)
    return ""


def _lock_path(runs_dir: Path, target: str) -> Path:
    return drills_dir(runs_dir) / f".lock-{target or 'twin'}"
