"""The chaos child (composition root): runs one method by chaoslib's `Runner` in the main thread of its own process.

Run as ``python -m harness.drivers.chaostoolkit_child CONTROL_FD EVENTS_FD``. After a stop request (message, signal or
end-of-file) no further action starts and a pause is cut short; an action that runs sees the request and ends by itself.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, Queue
from types import FrameType
from typing import Any

import yaml
from chaoslib.run import RunEventHandler, Runner
from chaoslib.types import Strategy

from experiments.faults.context import FaultContext, TerminatePods, bound
from harness.drivers.chaostoolkit_job import ChaosJob, Message, decode_job, encode
from harness.drivers.prometheus import PrometheusSource
from harness.drivers.system_clock import RealClock
from harness.model.errors import GameDayError, PortError, SpecError
from harness.model.fault import FaultPlan
from harness.ports import Clock, ClusterActor, MetricsSource, Observation, Permit, UndoLedger, Victims

PERMIT_LIMIT_S = 10.0
"""Forty polls of the conductor; no answer by then is a denial."""

LINGER_LIMIT_S = 20.0
"""A stopped child that hangs in a call ends by itself after this, whatever its parent can still do."""

FAILED = 3
USAGE = 4
_LOOK_EVERY_S = 0.25
_NO_ROLLBACKS = 30
"""chaoslib's exit code for "end now, play no rollbacks" (chaoslib/exit.py)."""

_WAKE = signal.SIGUSR1
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_logger = logging.getLogger("gameday.chaos")

Connect = Callable[[ChaosJob], tuple[ClusterActor, UndoLedger, TerminatePods]]
"""Makes what faults act with."""


class StopRequest:
    """Why no further action may start. Set once; never cleared."""

    def __init__(self) -> None:
        self.reason = ""

    def ask(self, reason: str) -> None:
        """Ask for the end, and wake the main thread so that a pause is cut short."""
        if self.reason:
            return
        self.reason = reason
        _logger.warning("stop: %s", reason)
        watchdog = threading.Timer(LINGER_LIMIT_S, os._exit, (FAILED,))
        watchdog.daemon = True
        watchdog.start()
        signal.pthread_kill(threading.main_thread().ident or 0, _WAKE)


def handle_signals(stop: StopRequest, then: Callable[[], None] = lambda: None) -> None:
    """Make every signal that may reach us a stop request, followed by ``then`` in the main thread."""

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        stop.ask(f"{signal.Signals(number).name} to the chaos child")
        then()

    for number in _STOP_SIGNALS:
        signal.signal(number, ask)


class Channel:
    """The two pipes to the driver."""

    def __init__(self, control_fd: int, events_fd: int, stop: StopRequest) -> None:
        self._control = os.fdopen(control_fd, "rb")
        self._events_fd = events_fd
        self._stop = stop
        self._answers: Queue[Message] = Queue()
        self._asked = 0

    def job(self) -> ChaosJob:
        """Wait for the job, then listen for answers and stop requests in a thread.

        Raises:
            ValueError: The driver hung up, or what it sent is no job.
        """
        job = decode_job(self._control.readline())
        threading.Thread(target=self._listen, daemon=True, name="control").start()
        return job

    def _listen(self) -> None:
        for line in self._control:
            message: Message = json.loads(line)
            if message["m"] == "stop":
                self._stop.ask(str(message["reason"]))
            else:
                self._answers.put(message)
        self._stop.ask("the conductor is gone")

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; a driver that is gone is a reason to stop."""
        data = encode(message)
        try:
            while data:
                data = data[os.write(self._events_fd, data) :]
        except BrokenPipeError:
            self._stop.ask("the conductor is gone")

    def emit(self, seen: Observation) -> None:
        """Send an observation."""
        fields = {"t_s": seen.t_s, "actor": seen.actor, "kind": seen.kind, "subject": seen.subject}
        self.send({"m": "event", **fields, "detail": dict(seen.detail)})

    def permit(self, fault: str, victims: Victims = ()) -> Permit:
        """Ask whether a fault may hit these victims now; no answer is a denial."""
        self._asked += 1
        self.send({"m": "permit", "id": self._asked, "fault": fault, "victims": [dict(one) for one in victims]})
        deadline_s = time.monotonic() + PERMIT_LIMIT_S
        while time.monotonic() < deadline_s:
            if self._stop.reason:
                return Permit(False, f"stopped: {self._stop.reason}")
            try:
                answer = self._answers.get(timeout=_LOOK_EVERY_S)
            except Empty:
                continue
            if answer["id"] == self._asked:
                return Permit(answer["granted"] is True, str(answer["reason"]))
        return Permit(False, f"the conductor did not answer within {PERMIT_LIMIT_S:g} s")


class MethodWatch(RunEventHandler):  # type: ignore[misc]  # chaoslib is not typed
    """Follows chaoslib's run: names the current fault, keeps the schedule, ends the method when it must.

    chaoslib logs and drops every `Exception` of these hooks, so an end is raised as `SystemExit`, which it obeys.
    """

    def __init__(self, context: FaultContext, plans: Mapping[str, FaultPlan], stop: StopRequest) -> None:
        self._context = context
        self._plans = plans
        self._stop = stop
        self._left: list[dict[str, Any]] = []
        self._pausing = False

    def started(self, experiment: dict[str, Any], journal: dict[str, Any]) -> None:
        """Take the signals back from chaoslib, whose handlers turn a SIGTERM into one failed action."""
        del journal
        self._left = list(experiment["method"])
        handle_signals(self._stop, self._interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def start_method(self, experiment: dict[str, Any]) -> None:
        """Begin with the first pause."""
        del experiment
        self._pause()

    def start_activity(self, activity: dict[str, Any]) -> None:
        """Name the fault whose action is called next; an action that was not named refuses."""
        self._pausing = False
        self._context.plan = self._plans[activity["name"]]

    def activity_completed(self, activity: dict[str, Any], run: dict[str, Any]) -> None:
        """Begin the next pause; after a failed fault none follows, since the cluster is not as it was planned."""
        self._context.plan = None
        self._left.pop(0)
        if self._left and run.get("status") != "succeeded":
            self._context.note(activity["name"], "the fault failed; no further fault is started")
            raise SystemExit(_NO_ROLLBACKS)
        self._pause()

    def _pause(self) -> None:
        """Set the next pause to what is left until its fault is due, so that no fault's own time adds up."""
        if not self._left:
            return
        due_s = self._context.started_s + self._plans[self._left[0]["name"]].at_s
        self._left[0]["pauses"] = {"before": max(0.0, due_s - self._context.clock.now_s())}
        self._pausing = True
        if self._stop.reason:
            self._interrupt()

    def _interrupt(self) -> None:
        """Cut a pause short, once; an action in flight sees the stop request by itself."""
        if self._pausing:
            self._pausing = False
            raise SystemExit(_NO_ROLLBACKS)


def run_method(job: ChaosJob, context: FaultContext, stop: StopRequest) -> dict[str, Any]:
    """Run the method of a job.

    Returns:
        Chaos Toolkit's journal.
    """
    experiment: dict[str, Any] = yaml.safe_load(job.text)
    experiment["rollbacks"] = []
    runner = Runner(Strategy.SKIP)
    runner.register_event_handler(MethodWatch(context, {plan.name: plan for plan in job.plans}, stop))
    settings = {"runtime": {"rollbacks": {"strategy": "never"}}}  # never the user's own settings file: it has controls
    with bound(context), runner:
        journal: dict[str, Any] = runner.run(experiment, settings)
    return journal


def connect_cluster(job: ChaosJob) -> tuple[ClusterActor, UndoLedger, TerminatePods]:
    """Connect to the job's target: its one kubeconfig, its one context (CASES A16).

    Raises:
        GameDayError: It cannot be connected to.
    """
    from experiments.faults.termination import terminator  # noqa: PLC0415 - brings chaosk8s
    from harness.drivers.kubernetes.actor import KubernetesActor  # noqa: PLC0415 - brings the client
    from harness.drivers.kubernetes.connection import connect, manager_of  # noqa: PLC0415
    from harness.drivers.kubernetes.ledger import KubernetesLedger  # noqa: PLC0415

    target = job.target
    if os.environ.get("KUBECONFIG") != target.kubeconfig or not Path(target.kubeconfig).is_file():
        problem = "KUBECONFIG is not the target's one file, and chaosk8s would fall to another cluster"
        raise SpecError(target.kubeconfig, "", problem, "start the child by the chaos driver")
    ledger = KubernetesLedger(connect(target), target.system_namespace, target.commands)
    actor = KubernetesActor(connect(target), target.commands, manager_of(job.run_id))
    return actor, ledger, terminator(target.context)


def connect_metrics(job: ChaosJob, clock: Clock) -> MetricsSource | None:
    """Return the job's metrics store; None where it has none or asks for a token, which this process is not given."""
    if not job.target.prometheus_url:
        return None
    try:
        return PrometheusSource(job.target, clock)
    except PortError as error:  # faults that are not proven by it go on; one that is has no proof, and says so
        _logger.warning("no metrics source: %s", error)
        return None


def run_child(control_fd: int, events_fd: int, connect: Connect = connect_cluster) -> int:
    """Do one job.

    Args:
        control_fd: Read end: the job, answers to permits, stop requests.
        events_fd: Write end: observations and requests for permits.
        connect: Makes what faults act with.

    Returns:
        Exit status: 0 where a journal was written, whatever it says.
    """
    # Blocked until our handlers are in: chaoslib's own would end its run without a journal. Threads inherit it, so that
    # signals later reach the main thread, whose pause they cut short.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    stop = StopRequest()
    handle_signals(stop)
    channel = Channel(control_fd, events_fd, stop)
    try:
        job = channel.job()
        actor, ledger, terminate_pods = connect(job)
    except (GameDayError, ValueError) as error:
        _logger.error("%s", error)
        return USAGE
    clock = RealClock(job.origin_unix_s, job.origin_monotonic_s)
    context = FaultContext(
        run_id=job.run_id,
        seed=job.seed,
        actor=actor,
        ledger=ledger,
        clock=clock,
        permit=channel.permit,
        emit=channel.emit,
        terminate_pods=terminate_pods,
        stopping=lambda: stop.reason,
        started_s=job.started_s,
        target=job.target,
        metrics=connect_metrics(job, clock),
    )
    write_journal(Path(job.journal), run_method(job, context, stop))
    return 0


def write_journal(path: Path, journal: Mapping[str, Any]) -> None:
    """Write the journal as a whole or not at all."""
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(journal, indent=1, default=str), "utf-8")
    scratch.replace(path)


def main(connect: Connect = connect_cluster) -> int:
    """Run as a program; the two pipes are named by number."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    control_fd, events_fd = (int(text) for text in sys.argv[1:3])
    return run_child(control_fd, events_fd, connect)


if __name__ == "__main__":
    sys.exit(main())
