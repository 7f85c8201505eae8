"""A load worker: ``python -m loadprofiles.worker HOST PORT``, here or in a pod. Locust's worker, and an engine.

It gets its job from the load child, and makes load only while it hears it. The token comes from the environment.
"""

from __future__ import annotations

import ctypes
import hmac
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import gevent
import gevent.event
from locust.env import Environment

from loadprofiles import line
from loadprofiles.baggage import unpacked
from loadprofiles.engine import Engine, freeze_memory
from loadprofiles.job import LoadJob, PlanRefused, job_from_plain
from loadprofiles.line import ClockReading, Sender, clock_reading, shares_from_plain
from loadprofiles.squad import TOKEN_VARIABLE, boot_id

PR_SET_PDEATHSIG = 1
PINGS = 8
HANDSHAKE_LIMIT_S = 60.0
HELLO_EVERY_S = 2.0
FAREWELL_LIMIT_S = 5.0
LOOK_EVERY_S = 0.25

log = logging.getLogger("gameday.load")


class Worker:
    """One worker process."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._token = token
        self._heard_s = time.monotonic()
        self._readings: list[ClockReading] = []
        self._welcome: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._went: gevent.event.AsyncResult = gevent.event.AsyncResult()
        self._engine: Engine | None = None
        self._shares: list[list[Any]] = []
        self._ready = False
        self._clock: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
        self._environment = Environment(user_classes=[])
        self._runner = self._environment.create_worker_runner(host, port)
        self._sender = Sender(lambda whole: self._tell(line.SAY, whole), time.monotonic)
        listeners = {line.WELCOME: self._on_welcome, line.PONG: self._on_pong, line.GO: self._on_go,
                     line.BEAT: self._on_beat, line.ACK: self._on_ack, line.STOP: self._on_stop}  # fmt: skip
        for word, listener in listeners.items():
            self._runner.register_message(word, self._guarded(listener))

    def _guarded(self, listener: Any) -> Any:
        def on_message(msg: Any, **_: Any) -> None:
            data = msg.data or {}
            if hmac.compare_digest(str(data.get("token", "")), self._token):
                self._heard_s = time.monotonic()
                listener(data)

        return on_message

    def _tell(self, word: str, data: Mapping[str, Any]) -> None:
        self._runner.send_message(word, {**data, "token": self._token})

    def run(self) -> int:
        """Join, make the load, tell everything, leave; return the exit status."""
        welcome = self._join()
        if "job" not in welcome:
            return 1
        with TemporaryDirectory(prefix="gameday-load-") as folder:
            return self._make_load(self._job_of(welcome, Path(folder)))

    def _make_load(self, job: LoadJob) -> int:
        try:
            self._engine = Engine(job, self._sender, os.environ, self._environment, line.PAUSE_AFTER_S)
        except PlanRefused as refused:
            self._tell(line.HELLO, {**self._clock, "refused": str(refused)})
            gevent.sleep(1.0)
            return 1
        freeze_memory()
        self._ready = True
        self._tell(line.HELLO, {**self._clock, "ready": True})
        guard = gevent.spawn(self._watch, self._engine)
        began_s = self._await_go(self._engine)
        if began_s is not None:
            self._engine.run(began_s)
            self._farewell()
        guard.kill()
        return 0

    def _join(self) -> Mapping[str, Any]:
        """Ask to join until there is an answer: a place may become free.

        Raises:
            gevent.Timeout: There was none.
        """
        with gevent.Timeout(HANDSHAKE_LIMIT_S):
            while True:
                self._tell(line.HELLO, self._clock)
                if self._welcome.wait(timeout=HELLO_EVERY_S) is not None:
                    return dict(self._welcome.get())

    def _job_of(self, welcome: Mapping[str, Any], folder: Path) -> LoadJob:
        """Return the job on this machine's clock, with what came along in the folder."""
        job = job_from_plain(welcome["job"])
        job = replace(job, plan=unpacked(job.plan, bytes(welcome["trace"]), folder))
        for _ in range(PINGS):
            self._tell(line.PING, {"asked_s": time.monotonic()})
            gevent.sleep(0.02)
        deadline_s = time.monotonic() + FAREWELL_LIMIT_S
        while len(self._readings) < PINGS and time.monotonic() < deadline_s:
            gevent.sleep(0.02)
        best = min(self._readings, key=lambda reading: reading.uncertainty_s)
        shared = welcome["boot_id"] == boot_id()
        origin_s = job.origin_monotonic_s if shared else -best.offset_s
        self._clock |= {"offset_s": round(best.offset_s + origin_s, 6), "uncertainty_s": round(best.uncertainty_s, 6)}
        return replace(job, origin_monotonic_s=origin_s)

    def _await_go(self, engine: Engine) -> float | None:
        """Wait for the start; return its time on the run's clock, or None where it was called off."""
        went = self._went.get(timeout=HANDSHAKE_LIMIT_S)
        engine.assign(shares_from_plain(self._shares))
        return float(went["began_s"]) if "began_s" in went else None

    def _farewell(self) -> None:
        deadline_s = time.monotonic() + FAREWELL_LIMIT_S
        while self._sender.waiting and time.monotonic() < deadline_s:
            gevent.sleep(0.02)
        if self._sender.waiting:
            log.error("%d messages were never acknowledged", self._sender.waiting)

    def _watch(self, engine: Engine) -> None:
        """Pause while nobody is heard, and end after as long as the run's Lease lasts."""
        while True:
            gevent.sleep(LOOK_EVERY_S)
            silent_s = time.monotonic() - self._heard_s
            if silent_s > line.END_AFTER_S:
                engine.stop(f"no sign of life of the load child for {line.END_AFTER_S:g} s")
                self._went.set({})
            elif silent_s > line.PAUSE_AFTER_S and not engine.held_up:
                engine.hold()
            self._sender.repeat()

    # what the load child says ----------------------------------------------------------------------------------------

    def _on_welcome(self, data: Mapping[str, Any]) -> None:
        if not self._welcome.ready():
            self._welcome.set(data)

    def _on_pong(self, data: Mapping[str, Any]) -> None:
        self._readings.append(clock_reading(float(data["asked_s"]), float(data["now_s"]), time.monotonic()))

    def _on_go(self, data: Mapping[str, Any]) -> None:
        self._shares = data["shares"]
        self._went.set(data)

    def _on_beat(self, data: Mapping[str, Any]) -> None:
        if self._ready and not self._went.ready():
            self._tell(line.HELLO, {**self._clock, "ready": True})  # still here, while others are waited for
        told_s = float(data["now_s"])
        if self._engine is None or self._engine.now_s() - told_s > line.FRESH_S:
            return
        shares = shares_from_plain(data["shares"])
        if self._engine.held_up:
            self._engine.rejoin(shares, told_s + line.LEAD_S)
        elif data["shares"] != self._shares:
            self._engine.assign(shares)
        self._shares = data["shares"]

    def _on_ack(self, data: Mapping[str, Any]) -> None:
        self._sender.acknowledged(int(data["until"]))

    def _on_stop(self, data: Mapping[str, Any]) -> None:
        if self._engine is not None:
            self._engine.stop(str(data["reason"]))
        elif not self._welcome.ready():
            log.info("not used: %s", data["reason"])
            self._welcome.set({})
        self._went.set({})


@click.command()
@click.argument("host")
@click.argument("port", type=int)
@click.option("--stay", is_flag=True, help="Wait for the next load after each one, as a pod does.")
@click.option("--ready-file", type=Path, help="Is there while this worker can take a load.")
def main(host: str, port: int, stay: bool, ready_file: Path | None) -> None:
    """Make load when the load child at HOST:PORT has some."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise click.UsageError(f"{TOKEN_VARIABLE} is not set: the load child would not listen")
    if not stay:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(Worker(host, port, token).run())
    _await_master(host, port, ready_file)
    with suppress(gevent.Timeout):  # it went away again before it had a load for us
        Worker(host, port, token).run()
    again = [sys.executable, "-m", "loadprofiles.worker", *sys.argv[1:]]
    os.execv(sys.executable, again)  # noqa: S606 - a clean process for each load


def _await_master(host: str, port: int, ready_file: Path | None) -> None:
    """Wait until somebody listens there: between two loads nobody does."""
    if ready_file is not None:
        ready_file.touch()
    while True:
        try:
            socket.create_connection((host, port), timeout=LOOK_EVERY_S * 8).close()
        except OSError:
            gevent.sleep(LOOK_EVERY_S)
        else:
            return


if __name__ == "__main__":
    main()
