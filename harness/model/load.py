"""Load as values: stages of a profile, the plan that is offered, and what the generator says of itself. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

REQUEST_COLUMNS = (
    "intended_s",
    "start_s",
    "latency_s",
    "status",
    "outcome",
    "endpoint",
    "worker",
    "seq",
    "pod",
)
"""Columns of the request log. ``intended_s`` and ``start_s`` count from the run's origin; ``status`` is the
HTTP code or 0 where none came; ``outcome`` is a `RequestOutcome`; ``pod`` is who answered, or empty."""


TURN_MARK = "turn: "
"""How the endpoint of a conversation's request begins in the request log: it is no arrival of the profile's rate."""

USERS_FEW = 50
"""Users that a profile keeps however far it is scaled down: they cost little, and hold a few rps through an outage."""


class RequestOutcome(StrEnum):
    """How one request ended."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    TIMEOUT = "timeout"
    CONNECT_ERROR = "connect_error"
    BROKEN = "broken"
    UNFINISHED = "unfinished"


class Arrivals(StrEnum):
    """How the arrivals of a profile are drawn from its rate."""

    EVEN = "even"
    POISSON = "poisson"
    TRACE = "trace"


CHANCE_MAX = 1e-6
"""How likely it may be that a second brings more arrivals than its plan was checked for: one second in eleven days."""

STEP_SHARE = 1e-12
"""Points of a curve that are no further apart are a step: nothing can be asked for in between."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of load: the arrival rate goes linearly from ``from_rps`` to ``to_rps`` within ``duration_s``.

    Attributes:
        name: ``baseline``, ``ramp``, ``burst`` and ``cooldown`` are known to the conductor.
        duration_s: Its length.
        from_rps: Rate at its start.
        to_rps: Rate at its end.
        curve: Where the rate does not go straight: the points in between, as (share of the length, rate), so that a
            stage which is made longer keeps its form. Linear from point to point; a share given twice is a step.

    Raises:
        ValueError: The points do not rise, or lie outside the stage.
    """

    name: str
    duration_s: float
    from_rps: float
    to_rps: float
    curve: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Refuse points that have no place: what they ask for would be lost."""
        shares = [share for share, _ in self.points]
        if not all(one <= other for one, other in pairwise(shares)):
            raise ValueError(f"the points of stage {self.name} do not rise from 0 to 1")

    @classmethod
    def through(cls, name: str, points: Sequence[tuple[float, float]]) -> Stage:
        """Return the stage that goes through points of (seconds, rate); the first is at 0 s, the last is its end."""
        duration_s = points[-1][0]
        curve = tuple((t_s / duration_s, rps) for t_s, rps in points[1:-1])
        return cls(name, duration_s, points[0][1], points[-1][1], curve)

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Where it starts, what it goes through and where it ends, as (share of the length, rate)."""
        return ((0.0, self.from_rps), *self.curve, (1.0, self.to_rps))

    @property
    def rates_rps(self) -> tuple[float, ...]:
        """Rates from the start to the end; in between it is never above nor below its neighbours."""
        return tuple(rps for _, rps in self.points)

    def pieces(self) -> Iterator[Stage]:
        """Yield the straight pieces that it consists of, in order."""
        for (from_share, from_rps), (to_share, to_rps) in pairwise(self.points):
            if to_share - from_share > STEP_SHARE:
                yield Stage(self.name, (to_share - from_share) * self.duration_s, from_rps, to_rps)

    def scaled(self, scale: float) -> Stage:
        """Return it with every rate multiplied."""
        curve = tuple((share, rps * scale) for share, rps in self.curve)
        return replace(self, from_rps=self.from_rps * scale, to_rps=self.to_rps * scale, curve=curve)


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """A named shape with a request mix.

    Attributes:
        name: Key in `PROFILES`.
        stages: What is offered, in order; stage names ``baseline``, ``ramp``, ``burst`` and ``cooldown`` are known to
            the conductor.
        user_classes: Locust user classes by name, with weights.
        floor_ratio: Achieved over offered below which the run proves nothing.
        users_max: Upper limit of concurrent users.
        request_timeout_s: Client time-out of one request.
        arrivals: An `Arrivals`: ``even`` (less than one off the rate's integral at any instant), ``poisson`` (as a
            public that knows nothing of each other), ``trace`` (recorded instants).
        trace_file: Of a trace: its CSV file.
        trace_scale: Of a trace: how many times each recorded arrival is sent.
        trace_peak_rps: Of a trace: arrivals in its densest second, wherever it begins; its stages only know means.
        conversations: Closed-loop user classes by name, with their number of concurrent users. Beside the arrivals,
            from the first stage to the last: they think, ask, read and ask again.
    """

    name: str
    stages: tuple[Stage, ...]
    user_classes: Mapping[str, float]
    floor_ratio: float = 0.95
    users_max: int = 200
    request_timeout_s: float = 5.0
    arrivals: str = Arrivals.EVEN.value
    trace_file: str = ""
    trace_scale: float = 1.0
    trace_peak_rps: float = 0.0
    conversations: Mapping[str, int] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Length of all stages."""
        return sum(stage.duration_s for stage in self.stages)

    @property
    def peak_rps(self) -> float:
        """Highest rate offered."""
        return max([self.trace_peak_rps, *(max(stage.rates_rps) for stage in self.stages)])

    @property
    def densest_second(self) -> float:
        """Most arrivals that a second may bring: by chance they are more than the mean, one second in a million."""
        return most_by_chance(self.peak_rps) if self.arrivals == Arrivals.POISSON else self.peak_rps

    def scaled(self, scale: float) -> LoadProfile:
        """Return the profile with every rate multiplied, and the number of users with it, though not below a few.

        Of each class of conversations one user stays.

        Raises:
            ValueError: The scale is not a positive, finite number.
        """
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale {scale!r} is not a positive number")
        users_max = max(round(self.users_max * scale), min(self.users_max, USERS_FEW))
        stages = tuple(stage.scaled(scale) for stage in self.stages)
        return replace(
            self,
            stages=stages,
            users_max=users_max,
            trace_scale=self.trace_scale * scale,
            trace_peak_rps=self.trace_peak_rps * scale,
            conversations={name: max(round(users * scale), 1) for name, users in self.conversations.items()},
        )

    def with_durations(self, durations_s: Mapping[str, float]) -> LoadProfile:
        """Return the profile with other lengths of the named stages.

        Raises:
            ValueError: It has no stage of that name, or a length is not positive.
        """
        known = {stage.name for stage in self.stages}
        for name, duration_s in durations_s.items():
            if name not in known:
                raise ValueError(f"profile {self.name} has no stage {name!r}; it has {', '.join(sorted(known))}")
            if not 0 < duration_s < float("inf"):
                raise ValueError(f"stage {name} cannot last {duration_s!r} s")
        if self.arrivals == Arrivals.TRACE and durations_s:
            raise ValueError(f"profile {self.name} replays a recording, whose stages last as long as they lasted")
        stages = (replace(s, duration_s=durations_s.get(s.name, s.duration_s)) for s in self.stages)
        return replace(self, stages=tuple(stages))


@dataclass(frozen=True, slots=True)
class LoadWorkers:
    """Who makes a target's load.

    Attributes:
        count: Worker processes. One is a part of the load child; more are led by Locust's master in it.
        placement: ``local``: the load child starts them on this machine; ``cluster``: they are pods that come by
            themselves (docs/load.md), and the load starts once all are there.
        listen_host: Where the load child listens for them.
        listen_port: 0: any free port.
        pool: Of pods: the pool of nodes they are pinned to, where no fault hits them; empty: any node.
    """

    count: int = 1
    placement: str = "local"
    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    pool: str = ""


ONE_HERE = LoadWorkers()


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a load driver is told.

    Attributes:
        profile: The profile, already scaled.
        gateway_url: The only host that may be asked.
        seed: Seed of arrivals and payloads.
        header_names: Names (never values) of the headers to add; values come from the environment or a file.
        payload_file: JSON lines, one payload each, or empty.
        rate_max_rps: The target's limit; a plan above it is refused.
        loopback_only: Refuse every address outside 127/8 (the local testbed).
        options: Options of the user classes, such as ``tool_calls``.
        workers: Who makes it.
    """

    profile: LoadProfile
    gateway_url: str
    seed: int
    rate_max_rps: float
    loopback_only: bool = False
    header_names: tuple[str, ...] = ()
    payload_file: str = ""
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    workers: LoadWorkers = ONE_HERE


@dataclass(frozen=True, slots=True)
class LoadSnapshot:
    """What the generator says of itself, once a second.

    Attributes:
        t_s: Seconds since the run's origin.
        stage: Name of the stage that is on; ``idle`` before and ``ended`` after.
        offered_rps: Arrivals that the profile asked for during the last second.
        achieved_rps: Requests that were started during the last second.
        requests: Requests finished so far.
        failures: Of these, not good.
        inflight: Started and not finished.
        dropped: Arrivals that could not be started (no free user).
        workers: Worker processes alive.
        users: Users alive.
        cpu_ratio: Share of one core the generator used.
        lag_s: Worst lateness of a start against its intended time in the last second.
        loop_lag_s: Worst lateness of the generator's own timers in it: how long it was busy, or held up.
        turns_rps: Requests of conversations that were started during the last second; not in ``achieved_rps``.
    """

    t_s: float
    stage: str
    offered_rps: float
    achieved_rps: float
    requests: int
    failures: int
    inflight: int
    dropped: int
    workers: int
    users: int
    cpu_ratio: float
    lag_s: float
    loop_lag_s: float = 0.0
    turns_rps: float = 0.0


def whole_share(index: int, per_request: float) -> int:
    """Return what request ``index`` (from 0) contributes of ``per_request``, as a whole number.

    Spread evenly and without chance: 0.2 is one in every fifth request, and the sum over n requests is within one of
    ``n * per_request``.
    """
    return math.floor((index + 1) * per_request) - math.floor(index * per_request)


def most_by_chance(mean: float) -> int:
    """Return a count that a Poisson process of this mean reaches with a chance of `CHANCE_MAX` at most.

    By Chernoff's bound, which is a few per cent above the count itself and never below it.
    """
    if mean <= 0:
        return 0
    count = math.floor(mean) + 1
    while count - mean + count * math.log(mean / count) > math.log(CHANCE_MAX):
        count += 1
    return count


def parse_range(written: str | float) -> tuple[float, float]:
    """Read ``2-6``, or one number for both ends.

    Raises:
        ValueError: It is neither, or it does not rise from 0.
    """
    low, _, high = str(written).partition("-")
    try:
        ends = (float(low), float(high or low))
    except ValueError as error:
        raise ValueError(f"{written!r} is no range") from error
    if not 0 <= ends[0] <= ends[1] < math.inf:
        raise ValueError(f"{written!r} does not rise")
    return ends
