"""Commands of a target: what no API can do, such as stopping a node's machine. Run without a shell, with a limit."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

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


def run_named(commands: Mapping[str, tuple[str, ...]], name: str, node: str) -> str:
    """Run a command of a target for one node.

    Args:
        commands: The target's, from the settings of this process.
        name: Which one, such as ``node_start``.
        node: Takes the place of ``{node}`` in its arguments.

    Raises:
        PortError: There is no such command, or it failed.
    """
    argv = commands.get(name)
    if not argv:
        problem = f"the command {name!r} is not among this process's own"
        remedy = f"set commands.{name} of the target in gameday.toml, and run `gameday recover` where it works"
        raise PortError("command", name, problem, remedy)
    return run_command([part.replace("{node}", node) for part in argv])
