"""What the load child is told, and the limits it holds itself to whatever it is told. No Locust, no sockets but DNS.

The driver sends one JSON line; the child checks it here before a single user exists. A plan that would leave the
target's gateway, its rate or the machine is refused with one sentence.
"""

from __future__ import annotations

import ipaddress
import json
import resource
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from harness.load_limit import objection
from harness.load_trace import read_trace
from harness.model.errors import SpecError
from harness.model.load import Arrivals, LoadPlan, LoadProfile, LoadWorkers, Stage
from loadprofiles.arrivals import densest_second

HEADER_PREFIX = "GAMEDAY_HEADER_"
FILES_BESIDE_USERS = 100
"""Files that a process has open besides one connection a user."""
DRAIN_MARGIN_S = 2.0
"""On top of the request time-out: how long answers in flight are waited for after the last start."""

Resolve = Callable[[str], Sequence[str]]


@dataclass(eq=False)
class PlanRefused(Exception):
    """A plan that will not be carried out: what is wrong and what to do."""

    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``problem — remedy``."""
        return self.problem + (f" — {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, slots=True)
class LoadJob:
    """One child's work.

    Attributes:
        plan: What is offered.
        origin_unix_s: Wall clock of the run's second 0.
        origin_monotonic_s: CLOCK_MONOTONIC of the run's second 0.
        worker: Number of this child; rows carry it.
    """

    plan: LoadPlan
    origin_unix_s: float
    origin_monotonic_s: float
    worker: int = 0

    @property
    def longest_s(self) -> float:
        """How long the child may live at most, from its start to its last breath."""
        profile = self.plan.profile
        return 30.0 + profile.duration_s + profile.request_timeout_s + DRAIN_MARGIN_S


def parse_job(line: str) -> LoadJob:
    """Read the driver's line (a `LoadJob` as plain JSON)."""
    return job_from_plain(json.loads(line))


def job_from_plain(data: Mapping[str, Any]) -> LoadJob:
    """Build a job from plain values, as ``asdict`` makes them."""
    plan = dict(data["plan"])
    profile = dict(plan.pop("profile"))
    stages = tuple(
        Stage(**{**stage, "curve": tuple(map(tuple, stage.get("curve", ())))}) for stage in profile.pop("stages")
    )
    headers = tuple(plan.pop("header_names", ()))
    workers = LoadWorkers(**plan.pop("workers", {}))
    whole = LoadPlan(profile=LoadProfile(stages=stages, **profile), header_names=headers, workers=workers, **plan)
    return LoadJob(whole, data["origin_unix_s"], data["origin_monotonic_s"], data.get("worker", 0))


def check_plan(plan: LoadPlan) -> None:
    """Refuse a plan that no target allows.

    Raises:
        PlanRefused: It is empty, peaks above ``rate_max_rps``, or its trace cannot be read.
    """
    profile = plan.profile
    if profile.duration_s <= 0 or (profile.peak_rps <= 0 and not profile.conversations):
        raise PlanRefused(f"profile {profile.name} offers nothing", "give its stages a duration and a rate")
    if any(min(stage.rates_rps) < 0 for stage in profile.stages):
        raise PlanRefused(f"profile {profile.name} has a stage with a negative rate", "rates are requests per second")
    if against := objection(profile, plan.rate_max_rps):
        raise PlanRefused(*against)
    if profile.request_timeout_s <= 0 or profile.users_max < 1 or not profile.user_classes:
        raise PlanRefused(f"profile {profile.name} has no users or no time-out", "see loadprofiles/profiles.py")
    if profile.arrivals == Arrivals.TRACE:
        _check_trace(profile.trace_file)
    if profile.arrivals == Arrivals.POISSON:
        _check_chance(plan)
    if profile.conversations:
        _check_conversations(plan)


def room_rps(plan: LoadPlan) -> float:
    """Return what the target allows beside the profile's arrivals: conversations stay under it."""
    return max(plan.rate_max_rps - plan.profile.densest_second, 0.0)


def _check_conversations(plan: LoadPlan) -> None:
    profile = plan.profile
    if few := [name for name, users in profile.conversations.items() if users < 1]:
        raise PlanRefused(f"profile {profile.name} has {few[0]} without users", "say how many talk at a time")
    if both := sorted(profile.conversations.keys() & profile.user_classes.keys()):
        raise PlanRefused(f"{both[0]} is named for arrivals and for conversations", "derive a class of its own")


def allow_connections(users: int) -> None:
    """Let this process hold one connection a user: out of files, it would look like a platform that refuses.

    Raises:
        PlanRefused: The machine does not allow so many.
    """
    needed = users + FILES_BESIDE_USERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        problem = f"{users} users need {needed} open files, and this process may have {hard}"
        raise PlanRefused(problem, "raise the limit (ulimit -Hn), lower load.scale, or share the load among workers")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _check_chance(plan: LoadPlan) -> None:
    """Count the arrivals that chance has drawn: a limit that protects somebody is a most, not a mean."""
    densest = densest_second(plan.profile, plan.seed)
    if densest > plan.rate_max_rps:
        problem = f"seed {plan.seed} brings {densest} arrivals in one second, the target allows {plan.rate_max_rps:g}"
        raise PlanRefused(problem, "run it again with another seed, or lower load.scale")


def _check_trace(path: str) -> None:
    """Read the recording before the load begins: later nobody could say that it is not there."""
    try:
        found = read_trace(path)
    except SpecError as error:
        raise PlanRefused(f"trace {error.where}: {error.key or 'file'}: {error.problem}", error.remedy) from error
    if not len(found.due_s):
        raise PlanRefused(f"trace {path} holds rates, not instants", "was it changed since the run began?")


def resolve_host(host: str) -> Sequence[str]:
    """Return the addresses of a host, by DNS."""
    return sorted({str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


def base_url(plan: LoadPlan, resolve: Resolve = resolve_host) -> tuple[str, str]:
    """Return the URL to send to and the Host header that goes with it.

    On a loopback-only target a name is resolved once, here, and its address is used from then on, so that no later
    answer of a name server can lead the load off the machine.

    Raises:
        PlanRefused: It is not a plain ``http(s)://host[:port]`` URL, or not loopback where it must be.
    """
    parts = urlsplit(plan.gateway_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise PlanRefused(f"{plan.gateway_url!r} is not a gateway's URL", "write it like http://127.0.0.1:8080")
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    if not plan.loopback_only:
        return plain, parts.netloc
    address = _loopback_address(parts.hostname, resolve)
    if address != parts.hostname and parts.scheme == "https":
        raise PlanRefused(f"{plan.gateway_url!r} names a host on a loopback-only target", "name its 127.x.y.z address")
    netloc = address if parts.port is None else f"{address}:{parts.port}"
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", "")), parts.netloc


def _loopback_address(host: str, resolve: Resolve) -> str:
    try:
        addresses = resolve(host)
    except OSError as error:
        raise PlanRefused(f"the gateway's name {host!r} cannot be resolved: {error}", "use its address") from error
    usable = [a for a in addresses if ipaddress.ip_address(a) in ipaddress.ip_network("127.0.0.0/8")]
    if not usable or any(not ipaddress.ip_address(a).is_loopback for a in addresses):
        remedy = "this target is loopback only: load to any other address would leave the machine"
        raise PlanRefused(f"{host!r} is not in 127.0.0.0/8 (it is {', '.join(addresses) or 'nowhere'})", remedy)
    return usable[0]


def header_values(names: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the headers to add to every request. Their values must never be logged nor recorded.

    Args:
        names: Header names, such as ``Authorization``.
        environ: The value comes from ``GAMEDAY_HEADER_AUTHORIZATION``, or from the file that
            ``GAMEDAY_HEADER_AUTHORIZATION_FILE`` names.

    Raises:
        PlanRefused: A header has no value, or its file cannot be read.
    """
    return {name: _header_value(HEADER_PREFIX + name.upper().replace("-", "_"), environ) for name in names}


def _header_value(variable: str, environ: Mapping[str, str]) -> str:
    if environ.get(variable):
        return environ[variable]
    path = environ.get(f"{variable}_FILE", "")
    if not path:
        raise PlanRefused(f"neither {variable} nor {variable}_FILE is set", "the target's header_names asks for it")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise PlanRefused(f"{variable}_FILE: {path}: {error.strerror}", "name a readable file") from error
    except UnicodeDecodeError as error:
        raise PlanRefused(f"{variable}_FILE: {path}: not UTF-8 text", "name a file with the header's value") from error


def read_payloads(path: str) -> tuple[Any, ...]:
    """Return the payloads of a JSON-lines file; none where no file is named.

    Raises:
        PlanRefused: The file cannot be read, a line is not JSON, or there is none.
    """
    if not path:
        return ()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PlanRefused(f"payload file {path}: {error}", "name a readable JSON-lines file") from error
    payloads = tuple(_payload(path, number, line) for number, line in enumerate(lines, 1) if line.strip())
    if not payloads:
        raise PlanRefused(f"payload file {path} holds no payload", "one JSON value a line")
    return payloads


def _payload(path: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise PlanRefused(f"payload file {path}, line {number}: not JSON ({error})", "one JSON value a line") from error
