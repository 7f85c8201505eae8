"""Which stored runs go when there are too many: the oldest, never the newest, never one that may still go on.

A run and the control run that it names count as one and go together. Must remove nothing but run folders that it has
listed, and must follow no symbolic link.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import store
from harness import store_files as files
from harness.model.comparison import CONTROL_RUN_FACT
from harness.model.errors import SpecError
from harness.model.verdict import Outcome

QUIET_S = 3600.0
"""A run that never wrote how it ended is left alone until its files were quiet for so long: a run that still goes on
writes at least once a second, and one that was killed is worth a look before it goes."""

LEAVING = ".pruned-"
"""Begins the name of a folder that is being removed: a removal that is cut off leaves no half run under its name."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_size_bytes(text: str) -> int:
    """Parse ``2GiB``, ``500MB`` or a plain number of bytes.

    Raises:
        ValueError: The text is not a size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size; write it like 2GiB, 500MB or 1000000")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()])


@dataclass(frozen=True, slots=True)
class Limits:
    """What is kept.

    Attributes:
        runs: At most so many runs, or None.
        size_bytes: At most so much in all, or None.
        failed: Also every run of which something is broken, and every run that was never judged.
    """

    runs: int | None = None
    size_bytes: int | None = None
    failed: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that say nothing, or that would take the newest run."""
        if self.runs is None and self.size_bytes is None:
            raise SpecError("prune", "", "it is not said how much to keep", "--keep N, --max-size SIZE, or both")
        if self.runs is not None and self.runs < 1:
            raise SpecError("--keep", "", f"{self.runs} is less than 1, and the newest run always stays", "--keep 1")


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run folder as retention sees it.

    Attributes:
        path: The folder.
        started_at: When it began; its folder's own time where the header cannot be read.
        size_bytes: Of its files, without what links lead to.
        held: Why it must stay whatever the limits are, or empty.
        failed: Whether something is broken, or it was never judged.
        control_run: Id of its control run, or empty.
    """

    path: Path
    started_at: datetime
    size_bytes: int
    held: str = ""
    failed: bool = False
    control_run: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes and what stays.

    Attributes:
        going: Runs to remove, oldest first.
        staying: Runs that stay, oldest first.
        over: The limit that is still passed, since what is left must stay; empty where none is.
    """

    going: tuple[StoredRun, ...] = ()
    staying: tuple[StoredRun, ...] = field(default_factory=tuple)
    over: str = ""


def stored_runs(runs_dir: Path, now_unix_s: float) -> list[StoredRun]:
    """Return the run folders, oldest first; what is no run folder, or a link, is not among them.

    Args:
        runs_dir: Where run folders are.
        now_unix_s: The time, to tell a run that still goes on.

    Raises:
        SpecError: There is no such folder, or it cannot be read.
    """
    if not runs_dir.is_dir():
        raise SpecError(str(runs_dir), "", "there is no such folder", "--runs-dir DIR names another one")
    try:
        latest = (runs_dir / store.LATEST).resolve().name
        found = [_look(runs_dir / run_id, now_unix_s, latest) for run_id in store.list_runs(runs_dir)]
    except OSError as error:
        raise SpecError(str(error.filename or runs_dir), "", error.strerror or str(error), "check its rights") from None
    return sorted(found, key=lambda run: (run.started_at, run.path.name))


def _look(path: Path, now_unix_s: float, latest: str) -> StoredRun:
    header = files.json_object(path / files.HEADER_FILE)
    quiet_s = now_unix_s - max(one.lstat().st_mtime for one in (path, *_within(path)))
    held = "latest points to it" if path.name == latest else ""
    if not header.get("ending") and quiet_s < QUIET_S:
        held = f"it may still go on: no ending yet, written {max(0.0, quiet_s):.0f} s ago"
    facts = header.get("facts")
    control_run = str(facts.get(CONTROL_RUN_FACT) or "") if isinstance(facts, dict) else ""
    size_bytes = sum(one.lstat().st_size for one in _within(path))
    return StoredRun(path, _started(header, path), size_bytes, held, _failed(path), control_run)


def _within(path: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)


def _started(header: Mapping[str, Any], path: Path) -> datetime:
    try:
        return datetime.fromisoformat(str(header.get("started_at"))).astimezone(UTC)
    except ValueError:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def _failed(path: Path) -> bool:
    verdicts = files.json_object(path / files.VERDICTS_FILE).get("verdicts")
    if not isinstance(verdicts, list):
        return True
    return any(not isinstance(one, dict) or one.get("outcome") == Outcome.FAIL.value for one in verdicts)


def plan(runs: Sequence[StoredRun], limits: Limits) -> Plan:
    """Choose what goes: the oldest first, until both limits are kept or only what must stay is left; pure.

    Args:
        runs: Oldest first.
        limits: What is kept.
    """
    groups = _groups(runs)
    staying = list(groups)
    for group in groups[:-1]:
        if not _over(staying, limits):
            break
        if not any(run.held or (limits.failed and run.failed) for run in group):
            staying.remove(group)
    kept = {run.path for group in staying for run in group}
    going = tuple(run for run in runs if run.path not in kept)
    return Plan(going, tuple(run for run in runs if run.path in kept), _over(staying, limits))


def _groups(runs: Sequence[StoredRun]) -> list[tuple[StoredRun, ...]]:
    """Return each run with its control run, oldest first; a control run is older than its run, else it is none."""
    place = {run.path.name: number for number, run in enumerate(runs)}
    control_of = {n: place[r.control_run] for n, r in enumerate(runs) if place.get(r.control_run, n) < n}
    taken: set[int] = set()
    groups: list[tuple[StoredRun, ...]] = []
    for number in reversed(range(len(runs))):
        control = control_of.get(number)
        members = [n for n in (control, number) if n is not None and n not in taken]
        if number not in taken:
            taken.update(members)
            groups.append(tuple(runs[n] for n in members))
    return groups[::-1]


def _over(groups: Sequence[tuple[StoredRun, ...]], limits: Limits) -> str:
    if limits.runs is not None and len(groups) > limits.runs:
        return f"{len(groups)} runs are more than --keep {limits.runs}"
    size_bytes = sum(run.size_bytes for group in groups for run in group)
    if limits.size_bytes is not None and size_bytes > limits.size_bytes:
        return f"{size_text(size_bytes)} are more than --max-size {size_text(limits.size_bytes)}"
    return ""


def remove(run: StoredRun) -> None:
    """Remove a run folder: taken out of sight in one step, then emptied; links inside are removed, never followed.

    Raises:
        StoreError: The disk refused.
    """
    leaving = run.path.with_name(f"{LEAVING}{run.path.name}")
    try:
        run.path.rename(leaving)
        shutil.rmtree(leaving)
    except OSError as error:
        raise files.store_error(f"remove {run.path.name}", run.path.parent, error) from error


def remove_leftovers(runs_dir: Path) -> None:
    """Remove what an earlier removal left when it was cut off.

    Raises:
        StoreError: The disk refused.
    """
    for path in sorted(runs_dir.glob(f"{LEAVING}*")):
        if path.is_symlink() or not path.is_dir():
            continue
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise files.store_error(f"remove {path.name}", runs_dir, error) from error


def size_text(size_bytes: float) -> str:
    """Return a size for people, such as ``12.3 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:  # noqa: PLR2004 - the next unit
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"
