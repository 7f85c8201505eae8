"""The conductor's process (composition root): one job line in, a live stream out, end-of-file means stop.

Run as ``python -m harness.conductor_main`` by `harness.client`, in a session of its own so that a terminal's signals
and a dying client never cut an undo short. Writes JSON lines to standard output and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from queue import Full, Queue
from types import FrameType
from typing import Any

from harness import assembly, exits, registries
from harness.announce import Announcer
from harness.client import Job
from harness.conductor import Conductor
from harness.conductor import Outcome as RunOutcome
from harness.control import control_facts, without_faults
from harness.definitions import signals_of_all
from harness.drill.drilled import drill_facts, drilled
from harness.judgement import judge_run, write_reports
from harness.model.errors import GameDayError, Refusal, SpecError
from harness.model.experiment import Experiment
from harness.model.record import Ending, RunHeader
from harness.model.timeline import Event
from harness.pulse import StopFlag
from harness.sabotage.evidence import sabotage_facts
from harness.store import RunStore, StoreError, new_run_id

MESSAGES_MAX = 100_000
"""Messages that wait for a client that does not read, some 30 MB."""

CLIENT_LIMIT_S = 600.0
"""How long a finished run waits for a client that was stopped (Ctrl-Z) to read how it ended; it holds nothing then."""


class _Stream:
    """The live stream, written beside the run: a client that is slow, stopped or gone holds up neither fault nor undo.

    Written to the descriptor itself: a buffered file that a thread still writes to breaks the interpreter's end.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: Queue[bytes | None] = Queue(MESSAGES_MAX)
        self._writer = threading.Thread(target=self._write_all, daemon=True, name="stream")
        self._writer.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message; dropped where the client has not read for long (the record has all of them)."""
        with suppress(Full):
            self._waiting.put_nowait(_line(message))

    def event(self, event: Event) -> None:
        self.send({"m": "event", **asdict(event)})

    def end(self, message: Mapping[str, Any], limit_s: float) -> None:
        """Send the last message and wait, bounded, until the client has taken everything or is gone."""
        deadline_s = time.monotonic() + limit_s
        with suppress(Full):
            for last in (_line(message), None):
                self._waiting.put(last, timeout=max(0.0, deadline_s - time.monotonic()))
        self._writer.join(max(0.0, deadline_s - time.monotonic()))

    def _write_all(self) -> None:
        try:
            for data in iter(self._waiting.get, None):
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            while self._waiting.get() is not None:  # the client is gone: nobody is waited for
                pass


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _listen(stop: StopFlag) -> None:
    try:
        for line in sys.stdin:
            told = json.loads(line)
            if "stop" in told:
                stop.request(str(told["stop"]))
            if "enough" in told:
                stop.suffice(str(told["enough"]))
    finally:  # also where its last line was torn
        stop.request("the client is gone")


def _handle_signals(stop: StopFlag) -> None:
    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        stop.request(f"{signal.Signals(number).name} to the conductor")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)


def _run(job: Job, stream: _Stream, stop: StopFlag) -> tuple[int, Path]:
    experiment = registries.load(Path(job.experiment))
    if job.control:
        experiment = without_faults(experiment)
    drill = drill_facts(job, experiment)
    if job.fault:
        experiment = drilled(experiment, job.fault, job.seed, job.limit_s)
    parts = assembly.rehearsal(experiment, job) if job.rehearse else assembly.real(experiment, job)
    started = datetime.fromtimestamp(parts.clock.origin_unix_s, UTC)
    run_id = new_run_id(experiment.name + "-control" * job.control, started, job.seed)
    header = RunHeader(
        run_id,
        experiment.name,
        parts.target.name,
        job.seed,
        started.isoformat(),
        versions=parts.versions,
        facts=control_facts(job) | drill | sabotage_facts(Path(job.runs_dir)),
    )
    store = _create_store(job, header, experiment, stop)
    told = {"run_dir": str(store.run_dir), "seed": job.seed, "origin_unix_s": parts.clock.origin_unix_s}
    stream.send({"m": "run", "run_id": run_id, **told})
    store.save_target(parts.target)
    try:
        drivers = parts.drivers(store.run_dir, run_id)
        probes = parts.probes(drivers)
    except GameDayError as error:
        outcome = _refused(error, parts.clock.now_s(), store, stream)
    else:
        conductor = Conductor(
            experiment,
            parts.target,
            drivers,
            run_id=run_id,
            seed=job.seed,
            faults=registries.faults(),
            probes=probes,
            signals=signals_of_all(registries.assertions(), experiment.assertions),
            permissions=parts.permissions,
            journal=store,
            stop=stop,
            live=stream.event,
        )
        outcome = conductor.run()
    return _judged(store, header, outcome, parts.announcer), store.run_dir


def _judged(store: RunStore, header: RunHeader, outcome: RunOutcome, announcer: Announcer | None) -> int:
    """Save, judge and report a run; return its exit status."""
    status: int | None = None
    try:
        _save(store, header, outcome)
        judgement = judge_run(store.run_dir)
        status = judgement.exit_status
        write_reports(judgement)
    finally:  # who was told that it began is told that it is over, whatever became of the report
        _announce_end(announcer, outcome, status)
    return status


def _announce_end(announcer: Announcer | None, outcome: RunOutcome, status: int | None) -> None:
    """Tell of the end; what could not be told is said here, for the record is closed by now."""
    if announcer is None:
        return
    announcer.end(outcome.ending, outcome.reason, status)
    for note in announcer.take_notes():
        sys.stderr.write(f"gameday: {note.detail['message']}\n")


def _create_store(job: Job, header: RunHeader, experiment: Experiment, stop: StopFlag) -> RunStore:
    try:
        return RunStore.create(Path(job.runs_dir), header, experiment, on_failure=stop.request)
    except StoreError as error:
        remedy = f"{error.remedy} (in pytest the option is --gameday-runs)"
        raise SpecError("--runs-dir", job.runs_dir, f"{error.operation}: {error.problem}", remedy) from error


def _refused(error: GameDayError, now_s: float, store: RunStore, stream: _Stream) -> RunOutcome:
    """Put on record that the drivers could not be made: nothing was touched, and there is a folder already."""
    code = error.code if isinstance(error, Refusal) else "usage" if isinstance(error, SpecError) else "drivers"
    problem = getattr(error, "problem", str(error))
    event = Event(1, now_s, "harness", "refusal", code, {"message": problem, "remedy": getattr(error, "remedy", "")})
    store.append(event)
    stream.event(event)
    return RunOutcome(Ending.REFUSED, str(error))


def _save(store: RunStore, header: RunHeader, outcome: RunOutcome) -> None:
    """Save each part on its own: a disk that refuses one must not cost the others."""
    parts: tuple[Callable[[], None], ...] = (
        lambda: store.save_undo(outcome.undo),
        lambda: store.save_fingerprint(outcome.fingerprint_before, outcome.fingerprint_after),
        lambda: store.save_requests(outcome.requests, outcome.requests_lost),
        lambda: store.save_harvest(outcome.harvest),
        lambda: store.finish(header, outcome.ending, outcome.reason, outcome.facts),
    )
    failures = []
    for save in parts:
        try:
            save()
        except GameDayError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def main() -> int:
    """Run one job; return the exit status."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)
    stop, stream = StopFlag(), _Stream(sys.stdout.fileno())
    sys.stdout = sys.stderr  # a library's print must not break the stream
    _handle_signals(stop)
    job = Job(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_listen, args=(stop,), daemon=True, name="stop-channel").start()
    run_dir: Path | None = None
    error = ""
    try:
        status, run_dir = _run(job, stream, stop)
    except SpecError as wrong:
        status, error = exits.USAGE, str(wrong)
    except Refusal as refusal:
        status, error = exits.USAGE if refusal.code == "identity" else exits.INCONCLUSIVE, str(refusal)
    except GameDayError as wrong:
        status, error = exits.INCONCLUSIVE, str(wrong)
    end = {"m": "end", "exit_status": status, "run_dir": str(run_dir) if run_dir else "", "error": error}
    stream.end(end, CLIENT_LIMIT_S)
    return status


if __name__ == "__main__":
    sys.exit(main())
