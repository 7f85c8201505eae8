"""Runs one command of a runbook on a drill's cluster: no shell, a deadline, capped and redacted output.

Decides nothing that the grammar has not decided (`harness.runbook_commands`), and reads every line anew: what a caller
believes about a command opens nothing. Must never run a line that is not understood, and never on another cluster than
the one that the kubeconfig and the context name.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from harness.runbook_commands import KUBECTL, Command, pipeline_of
from harness.runbook_kubectl import CommandError
from harness.store_files import Redactor, secrets_in

OUTPUT_MAX_BYTES = 64 * 1024
_PIPE_MAX_BYTES = 4 * 1024 * 1024
"""What one program may hand to the next; a filter of more than this is not for a drill."""
_CHUNK_BYTES = 64 * 1024
_AFTER_KILL_S = 2.0


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What came of a command.

    Attributes:
        exit_status: Of the first program that failed, else of the last; None where it was refused or took too long.
        output: What people would see, capped and redacted.
        duration_s: How long it took.
        refused: Why it was not run, and what to do; empty where it was.
    """

    exit_status: int | None
    output: str
    duration_s: float
    refused: str = ""


def run_command(
    command: Command | str,
    *,
    environ: Mapping[str, str],
    kubeconfig: Path,
    context: str,
    allow_changes: bool,
    timeout_s: float = 20.0,
    folder: Path | None = None,
) -> CommandResult:
    """Run a command of a runbook.

    Args:
        command: Itself, or its line.
        environ: The environment; what could turn kubectl to another cluster is left out.
        kubeconfig: Of the target.
        context: In that file; empty for its current one.
        allow_changes: Whether one that changes the cluster may run.
        timeout_s: After which everything that it started is killed.
        folder: Where paths in it begin; the present one by default.
    """
    text = command.text if isinstance(command, Command) else command
    try:
        pipeline = pipeline_of(text)
        if pipeline.call.changes and not allow_changes:
            raise CommandError("it would change the cluster, and only reading is allowed", "do it by hand")
        stages = [_resolved(stage, environ, kubeconfig, context) for stage in pipeline.stages]
    except CommandError as error:
        return CommandResult(None, "", 0.0, str(error))
    return _Run(environ, kubeconfig, timeout_s, folder).all_of(stages)


def _resolved(stage: tuple[str, ...], environ: Mapping[str, str], kubeconfig: Path, context: str) -> list[str]:
    path = shutil.which(stage[0], path=environ.get("PATH", ""))
    path = path or shutil.which(stage[0], path=str(Path(sys.executable).parent))
    if path is None:
        raise CommandError(f"{stage[0]} is not on PATH", "install it, or put it on PATH, before the drill")
    if stage[0] != KUBECTL:
        return [path, *stage[1:]]
    if not kubeconfig.is_file():
        raise CommandError(f"there is no kubeconfig {kubeconfig.name} of the target", "start the target first")
    return [path, f"--kubeconfig={kubeconfig}", *([f"--context={context}"] if context else []), *stage[1:]]


class _Run:
    """One command line on its way; its clock begins with it."""

    def __init__(self, environ: Mapping[str, str], kubeconfig: Path, timeout_s: float, folder: Path | None) -> None:
        self._redact = Redactor(secrets_in(environ))
        self._environ = _harmless(environ, kubeconfig)
        self._folder = folder
        self._timeout_s = timeout_s
        self._began_s = time.monotonic()

    def all_of(self, stages: list[list[str]]) -> CommandResult:
        """Run one program after the other, each with what the one before it said."""
        handed, told = b"", b""
        for stage in stages:
            status, handed, complaint = self._one(stage, handed)
            told += complaint
            if status is None:
                told += f"\nstopped after {self._timeout_s:g} s\n".encode()
            if status != 0:
                break
        output = self._redact((handed + told).decode("utf-8", "replace"))
        return CommandResult(status, _capped(output), time.monotonic() - self._began_s)

    def _one(self, stage: list[str], handed: bytes) -> tuple[int | None, bytes, bytes]:
        process = subprocess.Popen(
            stage,
            env=self._environ,
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin and process.stdout and process.stderr  # noqa: S101 - all three are pipes
        readers = _Reader(process.stdout), _Reader(process.stderr)
        writer = Thread(target=_write, args=(process.stdin, handed), daemon=True)
        for thread in (*readers, writer):
            thread.start()
        status = self._ended(process)
        for thread in (*readers, writer):
            thread.join(_AFTER_KILL_S)
        return status, readers[0].kept(), readers[1].kept()

    def _ended(self, process: subprocess.Popen[bytes]) -> int | None:
        left_s = self._timeout_s - (time.monotonic() - self._began_s)
        try:
            return process.wait(max(left_s, 0.0))
        except subprocess.TimeoutExpired:
            return None
        finally:  # also what a plug-in of kubectl left behind
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


class _Reader(Thread):
    """Reads a pipe to its end and keeps its beginning, so that a talkative program neither blocks nor fills memory."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe, self._kept = pipe, bytearray()

    def run(self) -> None:
        """Read until the program closes its end."""
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), _CHUNK_BYTES):
                self._kept += chunk[: max(0, _PIPE_MAX_BYTES - len(self._kept))]

    def kept(self) -> bytes:
        """Return what was read so far."""
        return bytes(self._kept)


def _write(pipe: IO[bytes], content: bytes) -> None:
    try:
        with pipe:
            pipe.write(content)
    except BrokenPipeError:
        return  # `head` has seen enough


def _harmless(environ: Mapping[str, str], kubeconfig: Path) -> dict[str, str]:
    """Return the environment without our own secrets and without what gives kubectl other settings."""
    own = {name: value for name, value in environ.items() if not name.startswith(("GAMEDAY_", "KUBE"))}
    return own | {"KUBECONFIG": str(kubeconfig), "KUBERC": "off", "KUBECTL_KUBERC": "false"}


def _capped(text: str) -> str:
    content = text.encode()
    if len(content) <= OUTPUT_MAX_BYTES:
        return text
    kept = content[:OUTPUT_MAX_BYTES].decode("utf-8", "ignore")
    return f"{kept}\n… and {len(content) - OUTPUT_MAX_BYTES} bytes more\n"
