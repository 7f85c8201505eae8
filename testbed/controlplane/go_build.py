"""One `go build`, with its progress shown as it happens and its failure told in a few lines."""

import os
import re
import subprocess
import threading
from collections import deque
from pathlib import Path
from typing import IO

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.programs import Family

_BUILD_TIMEOUT_S = 3600.0
_SAY_EVERY_S = 10.0
_LAST_LINES = 15


def run_go_build(go: Path, family: Family, folder: Path, progress: Progress) -> None:
    """Build all programs of `family` into `folder`, in one go: compiling one overlaps with linking another.

    Raises:
        OperatorError: the build failed or took over an hour; the text has its last lines and the path of its log.
    """
    log = folder.with_suffix(".log")
    command = [str(go), "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", family.link_flags]
    command += ["-o", f"{folder}/", *family.packages.values()]
    with log.open("w", encoding="utf-8") as record:
        record.write(f"$ {' '.join(command)}\n")
        watch = _Watch(family.name, record, progress)
        returncode = _run(command, family.module_dir, watch)
    if returncode:
        raise OperatorError(
            f"building {family.name} failed with status {returncode}; its log is {log}. Last lines:\n{watch.tail()}"
        )
    for program, package in family.packages.items():
        (folder / binary_name(package)).rename(folder / program)


def binary_name(package: str) -> str:
    """Return what Go calls the program of `package`: the last part of its path that is not a major version."""
    *_, parent, last = package.split("/")
    return parent if re.fullmatch(r"v\d+", last) else last


def build_environment() -> dict[str, str]:
    """Return the environment of a build: no cgo, the toolchain that was chosen, go.mod left as it is."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


class _Watch:
    """Counts the packages that `go build -v` names and says now and then which is being built."""

    def __init__(self, family: str, record: IO[str], progress: Progress) -> None:
        self.packages = 0
        self.latest = ""
        self._family = family
        self._record = record
        self._progress = progress
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)

    def read(self, stream: IO[str]) -> None:
        for line in stream:
            self._record.write(line)
            self._lines.append(line.rstrip())
            if not line.startswith(("go: ", "#")):
                self.packages += 1
                self.latest = line.strip()

    def say(self) -> None:
        last = f"last {self.latest}" if self.latest else "fetching modules, or linking what is compiled already"
        self._progress.say(f"  building {self._family}: {self.packages} packages compiled, {last}")

    def tail(self) -> str:
        return "\n".join(self._lines)


def _run(command: list[str], folder: Path, watch: _Watch) -> int:
    process = subprocess.Popen(
        command, cwd=folder, env=build_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    assert process.stderr is not None  # noqa: S101 - PIPE was asked for
    reader = threading.Thread(target=watch.read, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        return _await(process, watch)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join(timeout=10)
        process.stderr.close()


def _await(process: "subprocess.Popen[str]", watch: _Watch) -> int:
    for _ in range(round(_BUILD_TIMEOUT_S / _SAY_EVERY_S)):
        try:
            return process.wait(timeout=_SAY_EVERY_S)
        except subprocess.TimeoutExpired:
            watch.say()
    raise OperatorError(f"the build has not ended in {_BUILD_TIMEOUT_S:.0f} s; last package: {watch.latest}")
