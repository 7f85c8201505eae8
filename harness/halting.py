"""`gameday halt` (composition root): the lever in the cluster that stops every run on it and keeps new ones out.

Works while a run holds the Lease: that is what it is for. Must check the target's identity before it moves anything.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path

from harness import exits, guard
from harness.drivers.kubernetes.connection import connect
from harness.drivers.kubernetes.observer import KubernetesObserver
from harness.drivers.kubernetes.safety import HaltLever
from harness.drivers.system_clock import RealClock
from harness.settings import load_settings, resolve_target

Say = Callable[[str], None]


def halt(settings: str, target_name: str, reason: str, say: Say) -> int:
    """Pull the lever: every run on the target stops within seconds, takes back its faults, and none starts.

    Args:
        settings: Path of `gameday.toml`.
        target_name: Name of the target.
        reason: Why, for whoever is stopped by it.
        say: Prints a line.

    Returns:
        0; also where somebody pulled it before.

    Raises:
        Refusal: Another cluster than the target's.
        PortError: It could not be pulled: nothing is stopped.
    """
    lever, user = _lever(settings, target_name)
    pulled = lever.pull(user, reason)
    say(lever.state() if pulled else f"pulled already; {lever.state()}")
    say(f"every run on {target_name} stops and takes its faults back; release it: gameday halt --release")
    return exits.HELD


def release(settings: str, target_name: str, say: Say) -> int:
    """Release the lever; runs may start again. Idempotent.

    Raises:
        Refusal: Another cluster than the target's.
        PortError: It could not be released.
    """
    lever, _ = _lever(settings, target_name)
    say(f"{target_name}: released" if lever.release() else f"{target_name}: it was not pulled")
    return exits.HELD


def status(settings: str, target_name: str, say: Say) -> int:
    """Say whether the lever is pulled, by whom and why.

    Returns:
        0 where it is not pulled, 20 where it is.

    Raises:
        Refusal: Another cluster than the target's.
        PortError: It cannot be told.
    """
    lever, _ = _lever(settings, target_name)
    state = lever.state()
    say(f"{target_name}: {state or 'not halted'}")
    return exits.INCONCLUSIVE if state else exits.HELD


def _lever(settings: str, target_name: str) -> tuple[HaltLever, str]:
    target = resolve_target(load_settings(Path(settings)), target_name)
    connection = connect(target)
    identity = KubernetesObserver(connection, RealClock.starting_now()).identify()
    guard.check_identity(target, identity)
    return HaltLever(connection, target.system_namespace), f"{getpass.getuser()} ({identity.user})"
