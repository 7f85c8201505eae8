"""The generator's accounts: a row for every request, started or finished, and what it says of itself each second.

Pure bookkeeping over times that are handed in: no clock, no Locust, no I/O. Nothing that was started may be missing
from the rows, whatever became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from harness.model.load import RequestOutcome

ON_TIME_S = 0.05
"""A start that is late by less counts in the second it was meant for (a timer's own jitter is no lack of load)."""

Row = tuple[float, float, float, int, str, str, int, int, str]
"""One request in the order of `REQUEST_COLUMNS`."""


@dataclass(eq=False, slots=True)
class Open:
    """A request that was started; ``answered_s`` is when its answer was read, where that is known before its end."""

    seq: int
    intended_s: float
    start_s: float
    endpoint: str
    answered_s: float | None = None


@dataclass
class RequestLog:
    """Rows of one worker, numbered from 0; finished rows wait here until they are taken in batches.

    Attributes:
        worker: Number of the worker.
        started: Requests started so far.
        finished: Requests that ended so far, well or badly.
        failures: Of these, not good.
        first_start_s: When the first one went out, or None.
        last_answer_s: When the last one ended, or None.
    """

    worker: int = 0
    started: int = 0
    finished: int = 0
    failures: int = 0
    first_start_s: float | None = None
    last_answer_s: float | None = None
    _open: dict[int, Open] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    @property
    def inflight(self) -> int:
        """Started and not ended."""
        return len(self._open)

    def is_open(self, request: Open) -> bool:
        """Tell whether a request has not ended yet."""
        return request.seq in self._open

    def start(self, intended_s: float, start_s: float, endpoint: str) -> Open:
        """Note that a request goes out now."""
        request = Open(next(self._numbers), intended_s, start_s, endpoint)
        self._open[request.seq] = request
        self.started += 1
        self.first_start_s = start_s if self.first_start_s is None else self.first_start_s
        return request

    def end(
        self, request: Open, end_s: float, status: int, outcome: RequestOutcome, *, endpoint: str = "", pod: str = ""
    ) -> None:
        """Note how a request ended; the second end of one request changes nothing."""
        if self._open.pop(request.seq, None) is None:
            return
        self._rows.append(self._row(request, end_s, status, outcome, endpoint, pod))
        self.finished += 1
        self.failures += outcome is not RequestOutcome.OK
        self.last_answer_s = end_s

    def close(self, now_s: float) -> None:
        """Turn what is still open into rows with outcome ``unfinished`` (CASES D08)."""
        for request in tuple(self._open.values()):
            self._open.pop(request.seq)
            self._rows.append(self._row(request, now_s, 0, RequestOutcome.UNFINISHED, "", ""))
            self.finished += 1
            self.failures += 1

    def take(self) -> list[Row]:
        """Return the rows that nobody has taken yet."""
        rows, self._rows = self._rows, []
        return rows

    def _row(self, request: Open, end_s: float, status: int, outcome: RequestOutcome, endpoint: str, pod: str) -> Row:
        latency_s = end_s - request.start_s
        return (request.intended_s, request.start_s, latency_s, status, outcome.value,
                endpoint or request.endpoint, self.worker, request.seq, pod)  # fmt: skip


@dataclass
class ArrivalBook:
    """What became of the arrivals that the profile asked for.

    Attributes:
        due: Handed out so far.
        taken: Of these, taken up by a user.
        dropped: Of these, given up, because no user was free within the request time-out.
    """

    due: int = 0
    taken: int = 0
    dropped: int = 0
    _offered: list[float] = field(default_factory=list)
    _started: list[float] = field(default_factory=list)
    _lag_s: float = 0.0

    def offer(self, intended_s: float) -> None:
        """Note an arrival that is due."""
        self.due += 1
        self._offered.append(intended_s)

    def start(self, intended_s: float, now_s: float) -> None:
        """Note that a user took an arrival up."""
        lag_s = now_s - intended_s
        self.taken += 1
        self._started.append(intended_s if lag_s < ON_TIME_S else now_s)
        self._lag_s = max(self._lag_s, lag_s)

    def drop(self, lag_s: float) -> None:
        """Note an arrival that nobody took up in time."""
        self.dropped += 1
        self._lag_s = max(self._lag_s, lag_s)

    def until(self, edge_s: float, waiting_since_s: float | None) -> tuple[int, int, float]:
        """Close a second.

        Args:
            edge_s: Its end; what lies behind it counts in the next.
            waiting_since_s: Due time of the oldest arrival that still waits, or None.

        Returns:
            Offered, started, and the worst lateness in seconds.
        """
        offered, self._offered = _split(self._offered, edge_s)
        started, self._started = _split(self._started, edge_s)
        lag_s = max(self._lag_s, edge_s - waiting_since_s if waiting_since_s is not None else 0.0)
        self._lag_s = 0.0
        return offered, started, lag_s


def _split(times_s: Sequence[float], edge_s: float) -> tuple[int, list[float]]:
    later = [t for t in times_s if t >= edge_s]
    return len(times_s) - len(later), later


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker says of one second of its load.

    Attributes:
        worker: Number of the worker.
        second: Which second of the load it is, from 0.
        start_s: Where it begins, on the run's clock.
        edge_s: Where it ends; the last one of a worker may be shorter or longer.
        offered: Arrivals of its own that were due.
        achieved: Of these, started by now.
        dropped: Given up so far.
        started: Requests started so far, also those of conversations.
        finished: Requests ended so far.
        failures: Of these, not good.
        users: Users alive.
        cpu_ratio: Share of one core that it used.
        lag_s: Worst lateness of a start.
        loop_lag_s: Worst lateness of its own timers: the generator was busy or held up.
        last: Whether this worker has nothing more to say.
        turns: Requests of conversations that were started in it; no arrivals.
        taken: Arrivals that a user took up so far.
    """

    worker: int
    second: int
    start_s: float
    edge_s: float
    offered: int = 0
    achieved: int = 0
    dropped: int = 0
    started: int = 0
    finished: int = 0
    failures: int = 0
    users: int = 0
    cpu_ratio: float = 0.0
    lag_s: float = 0.0
    loop_lag_s: float = 0.0
    last: bool = False
    turns: int = 0
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a worker's part needs besides the books: the second that was closed, and the state of the process."""

    second: int
    start_s: float
    edge_s: float
    waiting_since_s: float | None
    users: int
    cpu_ratio: float
    loop_lag_s: float = 0.0
    last: bool = False
    turns: int = 0


def part_of(log: RequestLog, book: ArrivalBook, pulse: Pulse) -> Part:
    """Close a second of one worker."""
    offered, achieved, lag_s = book.until(pulse.edge_s, pulse.waiting_since_s)
    return Part(
        log.worker, pulse.second, round(pulse.start_s, 6), round(pulse.edge_s, 6), offered, achieved, book.dropped,
        log.started, log.finished, log.failures, pulse.users, round(pulse.cpu_ratio, 4), round(max(lag_s, 0.0), 4),
        round(pulse.loop_lag_s, 4), pulse.last, pulse.turns, book.taken,
    )  # fmt: skip
