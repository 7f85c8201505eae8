"""A local testbed for the length of one run: up before, down after, by the testbed's own command.

Must not import the testbed: the harness knows it only as a program and a target file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

from harness.model.errors import PortError

UP_LIMIT_S = 1800.0
"""The first call builds the control plane; about five minutes on two cores, plus as much for KEDA."""
DOWN_LIMIT_S = 120.0
"""`down` itself gives the programs 60 s and then kills; it must not be cut short itself."""

_NOT_NOW = (signal.SIGINT, signal.SIGTERM)


class LocalTestbed:
    """Starts the testbed with what an experiment needs; takes it down unless it was up before."""

    def __init__(self, components: Sequence[str], instance: str = "default") -> None:
        self._extra = [c for c in components if c not in {"core", "platform"}]
        self._instance = instance
        self._ours = False

    def __enter__(self) -> LocalTestbed:
        """Bring the testbed up.

        Raises:
            PortError: It did not come up; its own message was printed.
        """
        self._ours = self._call(["status"], DOWN_LIMIT_S, subprocess.DEVNULL, subprocess.DEVNULL).returncode != 0
        arguments = ["up", "--json", *(["--owner-pid", str(os.getpid())] if self._ours else [])]
        for component in self._extra:
            arguments += ["--with", component]
        try:
            self._ours = self._up(arguments)
        except BaseException:  # also an interrupt: what was started must not stay
            self._down()
            raise
        return self

    def _up(self, arguments: list[str]) -> bool:
        """Return whether it was made now: one that another call was still starting a moment ago is not ours to end."""
        ended = self._call(arguments, UP_LIMIT_S, subprocess.PIPE)
        try:
            if ended.returncode == 0:
                return json.loads(ended.stdout)["created"] is True
        except (ValueError, KeyError, TypeError) as error:
            raise PortError("testbed", "up", f"it did not say what it did: {error}") from error
        raise PortError("testbed", "up", "it did not come up", "its message is above; logs: gameday testbed logs")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the testbed down if we brought it up; that it did not go down changes nothing of what the run found."""
        try:
            self._down()
        except PortError as stuck:
            sys.stderr.write(f"gameday: {stuck}\n")

    def _down(self) -> None:
        if not self._ours:
            return
        before = [(number, signal.signal(number, signal.SIG_IGN)) for number in _NOT_NOW]  # never leave it half down
        try:
            self._call(["down"], DOWN_LIMIT_S)
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _call(
        self, arguments: list[str], limit_s: float, stdout: int | None = None, stderr: int | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "testbed", *arguments, "--name", self._instance]
        try:
            return subprocess.run(command, timeout=limit_s, check=False, stdout=stdout, stderr=stderr)
        except subprocess.TimeoutExpired:
            remedy = "see `gameday testbed logs`, then `gameday testbed down`"
            raise PortError("testbed", arguments[0], f"it took more than {limit_s:g} s", remedy) from None
