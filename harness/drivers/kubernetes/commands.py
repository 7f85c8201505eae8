"""Commands of a target: what no API can do, such as stopping a node's machine. Run without a shell, with a limit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from harness.model.errors import PortError

COMMAND_LIMIT_S = 30.0
_TAIL_CHARACTERS = 300


def run_command(argv: Sequence[str]) -> str:
    """Run a command to its end.

    Args:
        argv: Program and arguments; never from a cluster.

    Returns:
        What was run, for the record.

    Raises:
        PortError: It could not be started, took too long, or failed.
    """
    told = " ".join(argv)
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PortError("command", told, f"{type(error).__name__}: {error}", "try it by hand") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-_TAIL_CHARACTERS:]
        raise PortError("command", told, f"it ended with status {done.returncode}: {said}", "try it by hand")
    return f"ran {told}"
