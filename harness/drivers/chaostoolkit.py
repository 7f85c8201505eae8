"""The chaos driver: runs an experiment's method by Chaos Toolkit in a child process of its own.

Why a child: chaoslib needs the main thread, installs signal handlers and swallows what they raise (CASES A03, A17).
Judges the journal itself, since the tool calls a run without chaos "completed" (CASES A01, A02). Must not undo.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.drivers.chaostoolkit_job import ChaosJob, Lines, Message, encode, encode_job, judge_journal
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError, SpecError
from harness.model.experiment import Experiment
from harness.model.fault import FaultPlan
from harness.model.target import Target
from harness.ports import Observation, Permit, PermitOffice, Victims

COMMAND = (sys.executable, "-m", "harness.drivers.chaostoolkit_child")
STOP_LIMIT_S = 5.0
"""An action looks for a stop request at least twice a second; the rest is for calls in flight."""

TERM_LIMIT_S = 2.0
KILL_LIMIT_S = 5.0
LOOK_EVERY_S = 0.05
_CHUNK_BYTES = 65536
_LOG_TAIL_LINES = 5
_WITHHELD = ("GAMEDAY_HEADER_", "GAMEDAY_PROMETHEUS_", "KUBERNETES_", "CHAOSTOOLKIT_")
"""What the child has no use for (secrets of others), and what chaosk8s would take instead of our target."""

_EVENT_KEYS = ("t_s", "actor", "kind", "subject", "detail")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class ChaosToolkitDriver:
    """A `ChaosDriver` over one child process. One method a driver."""

    def __init__(
        self,
        target: Target,
        clock: RealClock,
        run_dir: Path,
        run_id: str,
        seed: int,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Prepare; starts nothing.

        Args:
            target: The target; the child gets its one kubeconfig and context, never a default (CASES A16).
            clock: The run's clock; the child shares it.
            run_dir: Gets ``logs/chaos.log`` and ``logs/journal.json``.
            run_id: The run.
            seed: Its seed.
            command: What to start, for tests.
        """
        self._target = target
        self._clock = clock
        self._logs = run_dir / "logs"
        self._run_id = run_id
        self._seed = seed
        self._command = command
        self._plans: tuple[FaultPlan, ...] = ()
        self._office: PermitOffice | None = None
        self._child: _Child | None = None
        self._news: list[Observation] = []
        self._failure = ""
        self._stopped = False

    def start(self, experiment: Experiment, office: PermitOffice) -> None:
        """Start the method; second 0 of its schedule is now, also while the child is still coming up.

        Raises:
            PortError: The child could not be started.
        """
        if self._child is not None:
            raise PortError("chaostoolkit", "start", "this driver has run its method already", "one method a driver")
        self._plans, self._office = experiment.faults, office
        job = ChaosJob(
            run_id=self._run_id,
            seed=self._seed,
            origin_unix_s=self._clock.origin_unix_s,
            origin_monotonic_s=self._clock.origin_monotonic_s,
            started_s=self._clock.now_s(),
            text=experiment.text,
            plans=experiment.faults,
            target=self._target,
            journal=str(self._logs / "journal.json"),
        )
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            self._child = _Child(self._command, self._logs / "chaos.log", child_environment(self._target, os.environ))
            self._child.write(encode_job(job))
        except OSError as error:
            raise PortError("chaostoolkit", "start", f"the chaos child cannot be started: {error}") from error

    def poll(self) -> Sequence[Observation]:
        """Return what is new, at once, answering permits on the way."""
        self._look()
        news, self._news = self._news, []
        return news

    @property
    def running(self) -> bool:
        """Tell whether the method still runs."""
        self._look()
        return self._child is not None and not self._child.over

    @property
    def failure(self) -> str:
        """Return why the method ended badly, or an empty string."""
        return self._failure

    def stop(self) -> None:
        """Start no further fault; end the method (bounded). Idempotent, never raises."""
        self._stopped = True
        child = self._child
        if child is None or child.over:
            return
        child.write(encode({"m": "stop", "reason": "the conductor asked for it"}))
        child.hang_up()
        for limit_s, number in ((STOP_LIMIT_S, signal.SIGTERM), (TERM_LIMIT_S, signal.SIGKILL), (KILL_LIMIT_S, None)):
            if self._wait_over(limit_s):
                return
            if number is not None:
                self._note(f"the chaos child did not end within {limit_s:g} s; sending {number.name}")
                child.signal(number)
        self._failure = "; ".join(filter(None, (self._failure, "the chaos child could not be ended")))

    def _wait_over(self, limit_s: float) -> bool:
        deadline_s = time.monotonic() + limit_s
        while self.running:
            if time.monotonic() >= deadline_s:
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def _look(self) -> None:
        """Take in what the child wrote; settle its failure once it is over."""
        child = self._child
        if child is None or child.over:
            return
        try:
            messages = child.read()
        except ValueError as error:
            messages = []
            self._note_unreadable(error)
        for message in messages:
            self._take(message)
        if child.ended():
            self._failure = self._judge(child)

    def _take(self, message: Message) -> None:
        try:
            if message["m"] == "event":
                self._news.append(Observation(**{key: message[key] for key in _EVENT_KEYS}))
            asked = None
            if message["m"] == "permit":
                asked = (str(message["fault"]), tuple(dict(one) for one in message["victims"]), message["id"])
        except (KeyError, TypeError, ValueError) as error:  # `stop` reads too, and must never raise
            self._note_unreadable(error)
            return
        if asked is not None:
            self._answer(*asked)

    def _answer(self, fault: str, victims: Victims, number: Any) -> None:
        permit = self._permit(fault, victims)
        if self._child is not None:
            told = {"m": "permit", "id": number, "granted": permit.granted, "reason": permit.reason}
            self._child.write(encode(told))

    def _permit(self, fault: str, victims: Victims) -> Permit:
        if self._stopped or self._office is None:
            return Permit(False, "the method was stopped")
        return self._office.permit(fault, victims)

    def _judge(self, child: _Child) -> str:
        journal, problem = read_journal(self._logs / "journal.json")
        wrong = judge_journal(journal, self._plans) if not problem else problem
        if child.status:
            told = child.log_tail()
            wrong += f"; the chaos child ended with status {child.status}" + (
                f", its last lines: {told}" if told else ""
            )
        return wrong

    def _note_unreadable(self, error: Exception) -> None:
        why = f"{type(error).__name__}: {error}"
        self._note(f"the chaos child wrote something that is no message: {why}")

    def _note(self, message: str) -> None:
        self._news.append(Observation(self._clock.now_s(), "chaos", "note", "chaostoolkit", {"message": message}))


class _Child:
    """The process and its two pipes; knows nothing of what is said over them."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._lines = Lines()
        self._open = True
        self.over = False
        with log.open("ab") as out:
            control_read, self._control = os.pipe()
            self._events, events_write = os.pipe()
            try:
                self._process = subprocess.Popen(
                    [*command, str(control_read), str(events_write)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(control_read, events_write),
                    start_new_session=True,
                    env=dict(environment),
                )
            except OSError:
                self._close_ours()
                raise
            finally:
                os.close(control_read)
                os.close(events_write)
        os.set_blocking(self._events, False)

    @property
    def status(self) -> int:
        """Exit status; 0 while it runs."""
        return self._process.returncode or 0

    def write(self, data: bytes) -> None:
        """Tell it something; a child that is gone is told nothing, and `ended` will say so."""
        if self._control < 0:
            return
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._control, data) :]

    def read(self) -> list[Message]:
        """Return the messages that it wrote since the last call."""
        messages: list[Message] = []
        while self._open:
            try:
                data = os.read(self._events, _CHUNK_BYTES)
            except BlockingIOError:
                break
            self._open = bool(data)
            messages += self._lines.take(data)
        return messages

    def ended(self) -> bool:
        """Tell whether it is gone and everything it wrote was read."""
        if self._process.poll() is None or self._open:
            return False
        self.over = True
        self._close_ours()
        return True

    def hang_up(self) -> None:
        """Close its control pipe, which means stop."""
        if self._control >= 0:
            os.close(self._control)
            self._control = -1

    def _close_ours(self) -> None:
        self.hang_up()
        os.close(self._events)

    def signal(self, number: signal.Signals) -> None:
        """Signal its whole process group."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        lines = self._log.read_text("utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LOG_TAIL_LINES:] if line.strip())


def child_environment(target: Target, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the child's environment: exactly our kubeconfig, nothing that would lead chaosk8s elsewhere (CASES A16).

    Args:
        target: The target.
        environ: Our own environment.
    """
    withheld = (*_WITHHELD, *target.secret_envs)
    kept = {key: value for key, value in environ.items() if not key.startswith(withheld)}
    if target.loopback_only:
        kept = {key: value for key, value in kept.items() if key.upper() not in _PROXIES}
    return {**kept, "KUBECONFIG": target.kubeconfig}


def read_journal(path: Path) -> tuple[Mapping[str, Any] | None, str]:
    """Read Chaos Toolkit's journal.

    Returns:
        The journal, or None where there is none; and why it cannot be read, or an empty string.
    """
    try:
        journal = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError) as error:
        return None, f"Chaos Toolkit's journal cannot be read: {error}"
    return journal if isinstance(journal, dict) else None, ""


def ensure_valid(path: Path) -> None:
    """Ask Chaos Toolkit itself whether a file is a valid experiment.

    Raises:
        SpecError: It is not.
    """
    from chaoslib.exceptions import ChaosException  # noqa: PLC0415 - only where it is asked for
    from chaoslib.experiment import ensure_experiment_is_valid, load_experiment  # noqa: PLC0415

    try:
        ensure_experiment_is_valid(load_experiment(str(path)))
    except ChaosException as error:
        raise SpecError(path.name, "", f"Chaos Toolkit refuses it: {error}", "see `chaos validate`") from None
