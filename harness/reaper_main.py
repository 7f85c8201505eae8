"""The reaper's process (composition root): looks every second until it is told to end, whatever does not answer.

Run as ``python -m harness.reaper_main --kubeconfig FILE --context NAME --namespace N`` under something that
starts it again (the testbed's supervisor, a Deployment). Must need no run folder, no fault code and no target file.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from uuid import uuid4

from harness.announce import Silences
from harness.announce_http import AlertmanagerSilences, Peer, secret_of, silences_of
from harness.drivers.kubernetes.connection import Connection, connect_context
from harness.drivers.kubernetes.lease import KubernetesLease, KubernetesLeaseView
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.residue import sweep
from harness.drivers.kubernetes.safety import REAPER_NAME, SILENCE, UNDOES_ANNOTATION
from harness.drivers.system_clock import RealClock
from harness.model.errors import GameDayError, PortError, Refusal, SpecError
from harness.model.target import Target
from harness.reaper import LOOK_EVERY_S, Reaper, Sweep
from harness.settings import load_settings, resolve_target

USAGE = 4
REMIND_EVERY_TURNS = 30
HEARTBEAT_EVERY_S = 2.0
SIGN_OF_LIFE_S = 8
"""How long a dead reaper keeps its successor out."""

OPERATIONS = ("create", "delete", "none", "packed", "patch")
_logger = logging.getLogger("gameday.reaper")

Commands = Mapping[str, tuple[str, ...]]


class _Duty:
    """One reaper's duty: its sign of life, and a turn every second while it has it."""

    def __init__(
        self, options: argparse.Namespace, commands: Commands, silences: Silences | None, over: threading.Event
    ) -> None:
        self._options, self._commands, self._silences, self._over = options, commands, silences, over
        self._name = f"reaper-{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        self._sign: KubernetesLease | None = None
        self._reaper: Reaper | None = None

    def _connect(self) -> Connection:
        return connect_context(self._options.kubeconfig, self._options.context)

    def turn(self) -> None:
        """Do one turn; a reaper that another one's sign of life keeps out only waits.

        Raises:
            GameDayError: Something did not answer; the next turn tries again.
        """
        if self._sign is None or not self._sign.held:
            self._sign = None
            sign = self._claim()
            sign.acquire(self._name)
            self._sign, self._reaper = sign, self._make_reaper()
            _logger.info("on duty as %s", self._name)
        if self._reaper is not None:
            self._reaper.turn(self._name)

    def _claim(self) -> KubernetesLease:
        more = {"command": self._commands, SILENCE: self._silences}
        undoes = ",".join(sorted({*OPERATIONS, *(operation for operation, means in more.items() if means)}))
        said = {UNDOES_ANNOTATION: undoes}
        namespace = self._options.namespace
        return KubernetesLease(
            self._connect(),
            namespace,
            name=REAPER_NAME,
            annotations=said,
            duration_s=SIGN_OF_LIFE_S,
            renew_every_s=HEARTBEAT_EVERY_S,
        )

    def _make_reaper(self) -> Reaper:
        namespace = self._options.namespace
        end_silences = self._silences.expire if self._silences else None
        return Reaper(
            ledger=KubernetesLedger(self._connect(), namespace, self._commands, end_silences),
            leases=KubernetesLeaseView(self._connect(), namespace),
            make_lease=lambda: KubernetesLease(self._connect(), namespace),
            clock=RealClock.starting_now(),
            say=_logger.warning,
            sweep=self._make_sweep(),
            ended=self._over.is_set,
        )

    def _make_sweep(self) -> Sweep:
        connection = self._connect()
        return lambda spared: sweep(connection, self._options.sweep, spared)

    def leave(self) -> None:
        """Give the sign of life back."""
        if self._sign is not None:
            self._sign.release()


def watch(duty: _Duty, over: threading.Event) -> None:
    """Take turns until told to end. Never raises: what fails is said now and then, and tried again."""
    troubles = 0
    while not over.wait(LOOK_EVERY_S):
        try:
            duty.turn()
            troubles = 0
        except GameDayError as error:
            if troubles % REMIND_EVERY_TURNS == 0:
                _logger.log(logging.INFO if isinstance(error, Refusal | PortError) else logging.ERROR, "%s", error)
            troubles += 1
        except Exception:  # whatever it is, a reaper that ended would take nothing back
            _logger.exception("a turn failed")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.reaper_main", description=__doc__)
    parser.add_argument("--kubeconfig", default="", help="one file; empty means the pod's own ServiceAccount")
    parser.add_argument("--context", default="")
    parser.add_argument("--namespace", default="gameday-system")
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="where orphaned helpers are swept; all by default",
    )
    parser.add_argument("--commands-from", default="", metavar="GAMEDAY_TOML")
    parser.add_argument("--target", default="", help="whose commands and Alertmanager, with --commands-from")
    parser.add_argument("--alertmanager-url", default="", metavar="URL", help="where silences of dead runs are ended")
    parser.add_argument("--alertmanager-token-env", default="", metavar="NAME", help="variable with its bearer token")
    parser.add_argument("--alertmanager-ca-file", default="", metavar="FILE", help="its CA; the system's by default")
    return parser.parse_args(arguments)


def _target(options: argparse.Namespace) -> Target | None:
    if not options.commands_from:
        return None
    return resolve_target(load_settings(Path(options.commands_from)), options.target)


def silences(options: argparse.Namespace, target: Target | None, environ: Mapping[str, str]) -> Silences | None:
    """Return where silences of dead runs are ended, or None where that is not known: they have an end of their own.

    The address is an option of this process, never part of a record: a record could bring a token elsewhere.

    Raises:
        Refusal: An address outside loopback on a loopback target.
    """
    try:
        if target is not None:
            return silences_of(target, environ)
        if not options.alertmanager_url:
            return None
        token = secret_of(options.alertmanager_token_env, environ, "a token that may silence")
    except PortError as error:
        _logger.warning("silences of dead runs last until their own end: %s", error)
        return None
    return AlertmanagerSilences(Peer("alertmanager", options.alertmanager_url, token, options.alertmanager_ca_file))


def run(options: argparse.Namespace) -> int:
    """Be a reaper until SIGTERM or SIGINT.

    Returns:
        Exit status: 0, or 4 where the options cannot be used.
    """
    over = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        target = _target(options)
        commands = target.commands if target is not None else {}
        duty = _Duty(options, commands, silences(options, target, os.environ), over)
    except (SpecError, Refusal) as error:
        _logger.error("%s", error)
        return USAGE
    watch(duty, over)
    duty.leave()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return run(parse(arguments))


if __name__ == "__main__":
    sys.exit(main())
