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
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from harness import assembly, exits, registries
from harness.client import Job
from harness.conductor import Conductor
from harness.conductor import Outcome as RunOutcome
from harness.judgement import judge_run, write_reports
from harness.model.errors import GameDayError, Refusal, SpecError
from harness.model.experiment import Experiment
from harness.model.record import RunHeader
from harness.model.timeline import Event
from harness.pulse import StopFlag
from harness.store import RunStore, new_run_id


class _Stream:
    """The live stream to the client; a client that is gone is no reason to stop writing the record."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._open = True

    def send(self, message: Mapping[str, Any]) -> None:
        if not self._open:
            return
        try:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()
        except BrokenPipeError:
            self._open = False

    def event(self, event: Event) -> None:
        self.send({"m": "event", **asdict(event)})


def _listen(stop: StopFlag) -> None:
    for line in sys.stdin:
        told = json.loads(line)
        if "stop" in told:
            stop.request(str(told["stop"]))
    stop.request("the client is gone")


def _handle_signals(stop: StopFlag) -> None:
    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        stop.request(f"{signal.Signals(number).name} to the conductor")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)


def _run(job: Job, stream: _Stream, stop: StopFlag) -> tuple[int, Path]:
    experiment = registries.load(Path(job.experiment))
    parts = assembly.rehearsal(experiment, job) if job.rehearse else assembly.real(experiment, job)
    started = datetime.fromtimestamp(parts.clock.origin_unix_s, UTC)
    run_id = new_run_id(experiment.name, started, job.seed)
    header = RunHeader(
        run_id, experiment.name, parts.target.name, job.seed, started.isoformat(), versions=parts.versions
    )
    store = RunStore.create(Path(job.runs_dir), header, experiment, on_failure=stop.request)
    stream.send({"m": "run", "run_id": run_id, "run_dir": str(store.run_dir), "seed": job.seed})
    store.save_target(parts.target)
    drivers = parts.drivers(store.run_dir, run_id)
    conductor = Conductor(
        experiment,
        parts.target,
        drivers,
        run_id=run_id,
        seed=job.seed,
        faults=registries.faults(),
        probes=parts.probes(drivers),
        signals=_signals(experiment),
        permissions=parts.permissions,
        journal=store,
        stop=stop,
        live=stream.event,
    )
    _save(store, header, conductor.run())
    judgement = judge_run(store.run_dir)
    write_reports(judgement)
    return judgement.exit_status, store.run_dir


def _signals(experiment: Experiment) -> tuple[str, ...]:
    """Return the names of the signals that the experiment's assertions lean on, without repeats."""
    known = registries.assertions()
    return tuple(dict.fromkeys(name for spec in experiment.assertions for name in known[spec.kind].signals))


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
    stop, stream = StopFlag(), _Stream(sys.stdout)
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
    stream.send({"m": "end", "exit_status": status, "run_dir": str(run_dir) if run_dir else "", "error": error})
    return status


if __name__ == "__main__":
    sys.exit(main())
