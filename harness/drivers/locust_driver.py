"""The load driver: runs Locust in a child and takes in what it streams. Never imports Locust (CASES D01, D02).

Judges nothing by exit codes (CASES D03): rows and snapshots tell how the load went, and a child that dies or falls
silent is ``load-edge/lost``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from harness.drivers.locust_child import COMMAND, LoadChild
from harness.drivers.system_clock import RealClock
from harness.model.errors import PortError
from harness.model.load import LoadPlan, LoadSnapshot
from harness.model.record import no_requests
from harness.ports import Observation
from harness.request_log import RequestStream, batch_from
from harness.request_log_files import read_stream

STREAM_FILE = "requests.arrow"
START_LIMIT_S = 60.0
"""Importing Locust takes 2 s on an idle machine; this leaves room for a very busy one."""
SILENCE_LIMIT_S = 10.0
"""A generator that says nothing for so long is not making the load it was asked for (it speaks every second)."""
STOP_MARGIN_S = 8.0
LOOK_EVERY_S = 0.02
COMPLETED = "completed"
"""What the generator says when its plan has come to its end."""


class LocustDriver:
    """A `LoadDriver` over one load child.

    Args:
        clock: The run's clock; the child shares it.
        run_dir: Gets ``requests.arrow`` and ``logs/locust.log``.
        command: What to start, for tests.
    """

    def __init__(self, clock: RealClock, run_dir: Path, command: Sequence[str] = COMMAND) -> None:
        self._clock = clock
        self._run_dir = run_dir
        self._command = command
        self._child: LoadChild | None = None
        self._stream: RequestStream | None = None
        self._drain_s = 0.0
        self._news: deque[Observation] = deque()
        self._latest: LoadSnapshot | None = None
        self._refusal: dict[str, Any] | None = None
        self._started = threading.Event()
        self._ended = False
        self._heard_s = 0.0
        self._stopped = False
        self._told_problem = False

    def start(self, plan: LoadPlan) -> None:
        """Start the load and return once the first stage is on.

        Raises:
            PortError: The generator refused the plan, died, or was not up in time.
        """
        if self._child is not None:
            raise PortError("load", "start", "this driver has made its load already", "one plan a driver")
        self._drain_s = plan.profile.request_timeout_s + STOP_MARGIN_S
        job = {
            "plan": asdict(plan),
            "origin_unix_s": self._clock.origin_unix_s,
            "origin_monotonic_s": self._clock.origin_monotonic_s,
        }
        try:
            self._stream = RequestStream(self._run_dir / STREAM_FILE)
            self._child = LoadChild(self._run_dir, job, self._take, self._command)
        except OSError as error:
            raise PortError("load", "start", f"the generator cannot be started: {error}") from error
        self._await_start(self._child)

    def _await_start(self, child: LoadChild) -> None:
        deadline_s = time.monotonic() + START_LIMIT_S
        while not self._started.wait(LOOK_EVERY_S):
            if self._refusal is not None or child.over or time.monotonic() > deadline_s:
                self.stop()
                raise self._start_error(child)

    def _start_error(self, child: LoadChild) -> PortError:
        if self._refusal is not None:
            return PortError("load", "start", str(self._refusal["problem"]), str(self._refusal["remedy"]))
        return PortError("load", "start", f"the generator did not come up: {child.epitaph()}")

    def poll(self) -> Sequence[Observation]:
        """Return what is new, at once."""
        self._look_for_loss()
        news: list[Observation] = []
        while self._news:
            news.append(self._news.popleft())
        return news

    def _look_for_loss(self) -> None:
        if self._child is None or self._ended or self._refusal is not None:
            return
        if self._child.over and not self._ended:
            self._lose(f"the load generator died: {self._child.epitaph()}")
        elif self._started.is_set() and time.monotonic() - self._heard_s > SILENCE_LIMIT_S and not self._stopped:
            self._lose(f"the load generator has been silent for {SILENCE_LIMIT_S:g} s: {self._child.epitaph()}")

    def _lose(self, reason: str) -> None:
        self._ended = True
        self._say("load-edge", "lost", self._clock.now_s(), {"reason": reason})

    def latest(self) -> LoadSnapshot | None:
        """Return the newest snapshot."""
        return self._latest

    def ask_to_stop(self) -> None:
        """Ask for the end of sending and wait for nothing. Idempotent, never raises."""
        self._stopped = True
        if self._child is not None:
            self._child.ask_to_stop("the run asked for it")

    def stop(self) -> None:
        """Stop sending, wait (bounded) for answers in flight; kill what does not end. Idempotent, never raises."""
        self.ask_to_stop()
        if self._child is not None:
            self._child.end(self._drain_s)
        if self._stream is not None:
            self._stream.close()

    def request_log(self) -> tuple[pd.DataFrame | Path, int]:
        """Return the file that the rows were streamed into, and the number of rows known to be lost. After `stop`."""
        if self._stream is None:
            return no_requests(), 0
        self._stream.close()
        if self._stream.problem and not self._told_problem:
            self._told_problem = True
            self._say("note", "load", self._clock.now_s(), {"message": f"request log: {self._stream.problem}"})
        return self._stream.path, self._stream.lost

    def collect(self) -> tuple[pd.DataFrame, int]:
        """Return the request log and the number of rows known to be lost. After `stop`.

        Raises:
            PortError: The log cannot be read back.
        """
        log, lost = self.request_log()
        if not isinstance(log, Path):
            return log, lost
        try:
            rows: pd.DataFrame = read_stream(log).rows.sort_values(["worker", "seq"], ignore_index=True)
            return rows, lost
        except (OSError, ValueError) as error:
            problem = self._stream.problem if self._stream is not None else ""
            raise PortError("load", "read the request log", str(error), problem) from error

    # what the child says (on the reader's thread) -------------------------------------------------------------------

    def _take(self, message: dict[str, Any], blob: bytes) -> None:
        self._heard_s = time.monotonic()
        if message["m"] == "rows":
            self._take_rows(message, blob)
            return
        takers = {
            "refused": self._take_refused,
            "hello": self._take_hello,
            "edge": self._take_edge,
            "snapshot": self._take_snapshot,
            "started": self._take_total,
            "bye": self._take_total,
        }
        takers[message["m"]](message)

    def _take_refused(self, message: dict[str, Any]) -> None:
        self._refusal = message

    def _take_hello(self, message: dict[str, Any]) -> None:
        self._say("note", "load", self._clock.now_s(), {"message": f"Locust {message['locust']}, pid {message['pid']}"})

    def _take_edge(self, message: dict[str, Any]) -> None:
        subject, detail = str(message["subject"]), dict(message["detail"])
        if subject == "ended" and detail.get("reason") != COMPLETED and not self._stopped:
            subject = "lost"  # it ended in good order, but before its plan did, and not because we asked
        self._say("load-edge", subject, float(message["t_s"]), detail)
        self._ended = self._ended or subject in {"ended", "lost"}
        if subject == "started":
            self._started.set()

    def _take_snapshot(self, message: dict[str, Any]) -> None:
        self._latest = LoadSnapshot(**message["snapshot"])
        self._say("load", self._latest.stage, self._latest.t_s, message["snapshot"])

    def _take_rows(self, message: dict[str, Any], blob: bytes) -> None:
        worker, first = int(message["worker"]), int(message["first"])
        if self._stream is None:
            return
        self._stream.announce(max(int(message["started"]), first + int(message["count"])), worker)
        try:
            self._stream.append(batch_from(blob), worker, first)
        except PortError as error:  # its rows are a gap in the worker's count: they are known to be lost
            self._say("note", "load", self._clock.now_s(), {"message": str(error)})

    def _take_total(self, message: dict[str, Any]) -> None:
        """Note how many rows a worker has sent, or has requests open for."""
        if self._stream is not None:
            self._stream.announce(int(message["total"]), int(message["worker"]))

    def _say(self, kind: str, subject: str, t_s: float, detail: dict[str, Any]) -> None:
        self._news.append(Observation(t_s, "load", kind, subject, detail))
