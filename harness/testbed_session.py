"""A local testbed for the length of one run: up before, down after, by the testbed's own command.

Must not import the testbed: the harness knows it only as a program and a target file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType

from harness.model.errors import PortError

UP_LIMIT_S = 1800.0
"""The first call builds the control plane; about five minutes on two cores, plus as much for KEDA."""
DOWN_LIMIT_S = 60.0


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
        self._ours = self._call(["status"], DOWN_LIMIT_S, quiet=True) != 0
        arguments = ["up", "--owner-pid", str(os.getpid())] if self._ours else ["up"]
        for component in self._extra:
            arguments += ["--with", component]
        try:
            self._up(arguments)
        except BaseException:  # also an interrupt: what was started must not stay
            self._down()
            raise
        return self

    def _up(self, arguments: list[str]) -> None:
        if self._call(arguments, UP_LIMIT_S) != 0:
            raise PortError("testbed", "up", "it did not come up", "its message is above; logs: gameday testbed logs")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the testbed down if we brought it up."""
        self._down()

    def _down(self) -> None:
        if self._ours:
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave it half down
            try:
                self._call(["down"], DOWN_LIMIT_S)
            finally:
                signal.signal(signal.SIGINT, before)

    def _call(self, arguments: list[str], limit_s: float, quiet: bool = False) -> int:
        command = [sys.executable, "-m", "testbed", *arguments, "--name", self._instance]
        output = subprocess.DEVNULL if quiet else None
        try:
            return subprocess.run(command, timeout=limit_s, check=False, stdout=output, stderr=output).returncode
        except subprocess.TimeoutExpired:
            remedy = "see `gameday testbed logs`, then `gameday testbed down`"
            raise PortError("testbed", arguments[0], f"it took more than {limit_s:g} s", remedy) from None
