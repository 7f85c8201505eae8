"""Building the Go programs: once per recipe, into a cache outside the repository, atomically.

Never writes into the checkout, and never leaves a half-built folder where a complete one is looked for.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.go_build import build_environment, run_go_build
from testbed.controlplane.places import cache_root, ready_programs
from testbed.controlplane.programs import Family
from testbed.controlplane.toolchain import go_for

_BUILD_WAIT_S = 3600.0


def programs_dir(family: Family, progress: Progress) -> Path:
    """Return the folder that holds the programs and data of `family`; builds them if they are not there.

    Raises:
        OperatorError: `GAMEDAY_BIN_DIR` lacks one, or the build failed.
    """
    ready = ready_programs()
    if ready is not None:
        return _checked(ready, family)
    folder = cached_dir(family)
    if not folder.exists():
        with _building(family, progress):
            # Another process may have built it while this one waited for the lock.
            if not folder.exists():
                _build(family, folder, progress)
    return folder


def cached_dir(family: Family) -> Path:
    """Return where the programs of `family` are, once built."""
    return cache_root() / "bin" / f"{family.name}-{family.key()}"


def _checked(folder: Path, family: Family) -> Path:
    missing = [name for name in family.packages if not os.access(folder / name, os.X_OK)]
    missing += [f"{name}/" for name in family.data if not (folder / name).is_dir()]
    if missing:
        raise OperatorError(
            f"GAMEDAY_BIN_DIR={folder} lacks {', '.join(missing)}; put them there (executable), "
            "or unset GAMEDAY_BIN_DIR to have them built"
        )
    return folder


@contextmanager
def _building(family: Family, progress: Progress) -> Iterator[None]:
    (cache_root() / "bin").mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache_root() / "bin" / f"{family.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"another build of {family.name} is running; waiting for it")
        try:
            lock.acquire(timeout=_BUILD_WAIT_S)
        except Timeout as error:
            raise OperatorError(f"the other build of {family.name} has not ended in {_BUILD_WAIT_S:.0f} s") from error
    try:
        yield
    finally:
        lock.release()


def _build(family: Family, folder: Path, progress: Progress) -> None:
    check_disk(folder.parent, family.disk_bytes, f"building {family.name}")
    go = go_for(family.go_version(), progress)
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    progress.say(
        f"building {family.name} ({', '.join(family.packages)}); from empty caches it took {family.duration_hint}"
    )
    started_s = progress.elapsed_s
    run_go_build(go, family, draft, progress)
    for name, (module, pattern) in family.data.items():
        _copy_module_files(go, family, module, pattern, draft / name)
    draft.rename(folder)
    progress.say(f"built {family.name} in {progress.elapsed_s - started_s:.0f} s: {folder}")


def _copy_module_files(go: Path, family: Family, module: str, pattern: str, target: Path) -> None:
    command = [str(go), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
    answer = subprocess.run(
        command,
        cwd=family.module_dir,
        env=build_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    files = sorted(Path(answer.stdout.strip()).glob(pattern)) if answer.returncode == 0 else []
    if not files:
        raise OperatorError(
            f"{module}: no files {pattern} in the module. go said: {answer.stderr.strip() or 'nothing'}"
        )
    target.mkdir()
    for file in files:
        shutil.copyfile(file, target / file.name)


def check_disk(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Refuse to start what would fill the disk of `folder`.

    Raises:
        OperatorError: less than `needed_bytes` bytes are free.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise OperatorError(
            f"{purpose} needs {needed_bytes / 2**30:.1f} GiB free at {folder}, there are {free_bytes / 2**30:.1f} GiB; "
            "make room, or move the folder by GAMEDAY_CACHE_DIR (programs) or GAMEDAY_STATE_DIR (testbeds)"
        )
