"""Load as values: stages of a profile, the plan that is offered, and what the generator says of itself. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

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


class RequestOutcome(StrEnum):
    """How one request ended."""

    OK = "ok"
    HTTP_ERROR = "http_error"
    TIMEOUT = "timeout"
    CONNECT_ERROR = "connect_error"
    BROKEN = "broken"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of load: the arrival rate goes linearly from ``from_rps`` to ``to_rps`` within ``duration_s``."""

    name: str
    duration_s: float
    from_rps: float
    to_rps: float


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
    """

    name: str
    stages: tuple[Stage, ...]
    user_classes: Mapping[str, float]
    floor_ratio: float = 0.95
    users_max: int = 200
    request_timeout_s: float = 5.0

    @property
    def duration_s(self) -> float:
        """Length of all stages."""
        return sum(stage.duration_s for stage in self.stages)

    @property
    def peak_rps(self) -> float:
        """Highest rate offered."""
        return max((max(s.from_rps, s.to_rps) for s in self.stages), default=0.0)

    def scaled(self, scale: float) -> LoadProfile:
        """Return the profile with every rate multiplied; the number of users grows with it and never shrinks.

        Raises:
            ValueError: The scale is not a positive, finite number.
        """
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale {scale!r} is not a positive number")
        stages = (replace(s, from_rps=s.from_rps * scale, to_rps=s.to_rps * scale) for s in self.stages)
        return replace(self, stages=tuple(stages), users_max=round(self.users_max * max(1.0, scale)))

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
    """

    count: int = 1
    placement: str = "local"
    listen_host: str = "127.0.0.1"
    listen_port: int = 0


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


def whole_share(index: int, per_request: float) -> int:
    """Return what request ``index`` (from 0) contributes of ``per_request``, as a whole number.

    Spread evenly and without chance: 0.2 is one in every fifth request, and the sum over n requests is within one of
    ``n * per_request``.
    """
    return math.floor((index + 1) * per_request) - math.floor(index * per_request)
