"""The engine of one worker: an open-loop pacer hands arrivals to Locust's users and tells what became of them.

Arrivals follow the profile by the clock, whatever the answers do. Locust owns users and requests; this file owns time
and the books. Bounded on every side: users, waiting arrivals, rate, seconds.
"""

from __future__ import annotations

import gc
import logging
import math
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any

import gevent
import gevent.event
from locust import User
from locust.env import Environment

from harness.request_log import batch_bytes, batch_of
from loadprofiles.accounts import ON_TIME_S, Pulse, RequestLog, part_of
from loadprofiles.announcing import Announcer, hear_modules
from loadprofiles.job import (
    DRAIN_MARGIN_S,
    LoadJob,
    allow_connections,
    base_url,
    check_plan,
    header_values,
    read_payloads,
    room_rps,
)
from loadprofiles.measured import SessionRules, account
from loadprofiles.mix import paced_class, talking_class, unique_name, users_by_class
from loadprofiles.outlet import Outlet
from loadprofiles.pacing import Office, sleep_until
from loadprofiles.portion import Portion, chunks_of
from loadprofiles.shares import Share
from loadprofiles.talks import Talks
from loadprofiles.users import LoadContext
from loadprofiles.web_page import page_port

FLUSH_EVERY_S = 0.25
"""Rarely: each flush holds up answers for half a millisecond. A worker that dies takes so much along, at most."""
USER_ERRORS_MAX = 20
RECONNECT_EVERY = 50
COMPLETED = "completed"

log = logging.getLogger("gameday.load")


def freeze_memory() -> None:
    """Take what is there out of garbage collection: looking through it again and again would hold up the load.

    Takes a fifth of a second; before the first arrival.
    """
    gc.collect()
    gc.freeze()


class Engine:
    """One worker's load, from its first arrival to its last row.

    Attributes:
        environment: Locust's, with the paced user classes; its runner is made by who owns the engine.
        failure: Why the load cannot go on, or empty.
        held_up: Whether it hands out nothing until it is told the shares of now, by `rejoin`.
    """

    def __init__(
        self,
        job: LoadJob,
        outlet: Outlet,
        environ: Mapping[str, str],
        environment: Environment | None = None,
        held_up_max_s: float = math.inf,
    ) -> None:
        """Check the plan and make the user classes.

        Args:
            job: What to do.
            outlet: Where to tell of it.
            environ: Where header values come from.
            environment: Locust's; None makes one.
            held_up_max_s: A worker that is later than this waits for `rejoin`: others may have taken its share over.

        Raises:
            PlanRefused: The plan cannot be carried out.
        """
        check_plan(job.plan)
        self._job, self._profile, self._outlet = job, job.plan.profile, outlet
        self._log = RequestLog(job.worker)
        self._office = Office(self._profile.user_classes, self._profile.request_timeout_s, self.now_s)
        self._talks = Talks(self.now_s, room_rps(job.plan) / job.plan.workers.count)
        self._stop = gevent.event.Event()
        self._portion = Portion(job.worker, chunks_of(self._profile, job.plan.seed))
        self._pacer: gevent.Greenlet | None = None
        self._reason, self.failure = COMPLETED, ""
        self._held_up_max_s = held_up_max_s
        self.held_up = False
        self._user_errors = 0
        self._errors: Counter[str] = Counter()
        self._second = self._sent_rows = 0
        self._began_s = self._closed_s = self._cpu_mark_s = self._cpu_wall_s = self._loop_lag_s = 0.0
        self.environment = environment or Environment()
        self._furnish(self.environment, environ)

    def now_s(self) -> float:
        """Return the seconds since the run's origin."""
        return time.monotonic() - self._job.origin_monotonic_s

    def _furnish(self, environment: Environment, environ: Mapping[str, str]) -> None:
        plan, profile = self._job.plan, self._profile
        url, host = base_url(plan)
        headers = {**header_values(plan.header_names, environ), "Host": host}
        tag = f"{int(self._job.origin_unix_s * 1000):x}-{self._job.worker}"
        payload_file = plan.payload_file or str(plan.options.get("payload_file", ""))
        context = LoadContext(plan.seed + self._job.worker, tag, plan.options, read_payloads(payload_file))
        counts = users_by_class(plan)
        allow_connections(math.ceil(sum(counts.values()) / plan.workers.count))
        shared = SessionRules(
            url, headers, profile.request_timeout_s, self._reconnect_every(), self.now_s, self.now_s, self._log,
            self._errors, self._job.origin_monotonic_s,
            Announcer(environment.events.request, always=page_port(plan.options) > 0),
        )  # fmt: skip
        classes: list[type[User]] = [
            paced_class(name, replace(shared, take=self._office.taker(name)), context, counts[name])
            for name in profile.user_classes
        ]
        longest_s = profile.duration_s + profile.request_timeout_s
        for name, users in profile.conversations.items():
            classes.append(talking_class(name, shared, context, users, self._talks, longest_s))
        environment.user_classes, environment.host, environment.stop_timeout = classes, url, 0
        environment.events.request.add_listener(account(shared))  # type: ignore[no-untyped-call]
        hear_modules(environment.events.request, self._on_user_error)
        environment.events.user_error.add_listener(self._on_user_error)  # type: ignore[no-untyped-call]

    def _reconnect_every(self) -> int:
        return int(self._job.plan.options.get("reconnect_every", RECONNECT_EVERY))

    def _on_user_error(self, exception: BaseException, tb: TracebackType | None = None, **_: Any) -> None:
        """Tell the type and the place, never the text: user code may put a header's value into it."""
        self._user_errors += 1
        kind, frames = type(exception).__name__, traceback.extract_tb(tb)
        self._errors[f"user code raised {kind}"] += 1
        log.error("the user code raised %s at %s", kind, " < ".join(f"{f.filename}:{f.lineno}" for f in frames[::-1]))
        if self._user_errors == USER_ERRORS_MAX:
            self._fail(f"the user code raised {USER_ERRORS_MAX} times, last {kind}; logs/locust.log says where")

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
        self.stop(why)

    def stop(self, reason: str) -> None:
        """Start no further request; the first reason stays."""
        if not self._stop.is_set():
            self._reason = reason
            self._stop.set()

    def assign(self, shares: Sequence[Share]) -> None:
        """Take over a list of shares: which arrivals are this worker's, from when on."""
        self._talks.allow(bool(shares) and self._job.worker in shares[-1].members)
        if self._pacer is not None:
            self._pacer.kill()
        self._portion.assign(shares)
        if self._pacer is not None and not self._stop.is_set() and not self.held_up:
            self._pacer = gevent.spawn(self._pace)

    def hold(self) -> None:
        """Hand out nothing until `rejoin`: what is due meanwhile may be somebody else's."""
        self.held_up = True
        self.assign(())

    def rejoin(self, shares: Sequence[Share], until_s: float) -> None:
        """Go on. What was due meanwhile and is this worker's by these shares counts as dropped.

        Args:
            shares: As somebody has just told them.
            until_s: What is due until then, on the run's clock, is settled by them: no later list can change it.
        """
        if self._pacer is not None:
            self._portion.assign(shares)
            for due_s in self._portion.pass_over(min(until_s, self.now_s()) - self._began_s):
                self._office.pass_over(self._began_s + due_s)
        self.held_up = False
        self.assign(shares)

    def run(self, began_s: float) -> None:
        """Make the load that begins at ``began_s`` on the run's clock; return when its last row was handed over."""
        self._began_s = self._closed_s = began_s
        self.held_up = False
        self._cpu_wall_s, self._cpu_mark_s = self.now_s(), time.process_time()
        meter = gevent.spawn(self._meter)
        self._pacer = gevent.spawn(self._pace)
        self._talks.begin(began_s)
        self._stop.wait()
        self._pacer.kill()
        self._office.close()
        self._talks.close()
        self._drain()
        meter.kill()
        self._finish()

    # arrivals --------------------------------------------------------------------------------------------------------

    def _pace(self) -> None:
        names = list(self._profile.user_classes)
        for due_s, choice in self._portion.arrivals():
            sleep_until(self._began_s + due_s, self.now_s)
            if self.now_s() - self._began_s - due_s > self._held_up_max_s:
                self.held_up = True
                return
            if choice is not None:
                self._office.offer(names[choice], self._began_s + due_s)
        sleep_until(self._began_s + self._profile.duration_s, self.now_s)
        while self._office.expire() is not None:
            gevent.sleep(ON_TIME_S)
        self.stop(COMPLETED)

    # books -----------------------------------------------------------------------------------------------------------

    def _meter(self) -> None:
        first = True
        while True:
            planned_s = self.now_s() + FLUSH_EVERY_S
            gevent.sleep(FLUSH_EVERY_S)
            self._loop_lag_s = max(self._loop_lag_s, self.now_s() - planned_s)
            self._send_rows()
            if first and self._log.first_start_s is not None:
                self._outlet.send({"m": "first", "worker": self._job.worker, "t_s": self._log.first_start_s})
                first = False
            while self.now_s() >= self._began_s + self._second + 1 + ON_TIME_S:
                self._part(self._began_s + self._second + 1)
            self._look_for_silence()

    def _look_for_silence(self) -> None:
        """Say so where users of a class take no arrival up: what sends nothing must not look like a quiet platform."""
        here = self.environment.runner.user_classes_count if self.environment.runner is not None else {}
        silent = [name for name in self._office.silent() if here.get(unique_name(name))] + self._talks.silent()
        if silent:
            self._fail(f"no user of {', '.join(silent)} sends a request: its tasks ask for nothing through self.client")

    def _part(self, edge_s: float, *, last: bool = False) -> None:
        cpu_s, wall_s = time.process_time() - self._cpu_mark_s, max(self.now_s() - self._cpu_wall_s, 1e-3)
        self._cpu_mark_s, self._cpu_wall_s = time.process_time(), self.now_s()
        pulse = Pulse(
            self._second, self._closed_s, edge_s, self._office.expire(), self._users(), cpu_s / wall_s,
            self._loop_lag_s, last, self._talks.second(),
        )  # fmt: skip
        self._closed_s, self._loop_lag_s, self._second = edge_s, 0.0, self._second + 1
        self._outlet.send({"m": "part", "part": asdict(part_of(self._log, self._office.book, pulse))})

    def _users(self) -> int:
        runner = self.environment.runner
        return int(runner.user_count) if runner is not None else 0

    def _send_rows(self) -> None:
        rows = self._log.take()
        if not rows:
            return
        first, self._sent_rows = self._sent_rows, self._sent_rows + len(rows)
        message = {"m": "rows", "worker": self._job.worker, "first": first, "count": len(rows),
                   "taken": self._office.book.taken}  # fmt: skip
        blob = batch_bytes(batch_of(list(zip(*rows, strict=True))))
        self._outlet.send({**message, "started": self._log.started}, blob)

    def _drain(self) -> None:
        until_s = self.now_s() + self._profile.request_timeout_s + DRAIN_MARGIN_S
        while self._log.inflight and self.now_s() < until_s:
            gevent.sleep(0.02)

    def _finish(self) -> None:
        now_s = self.now_s()
        self._log.close(now_s)
        self._send_rows()
        self._part(now_s, last=True)
        self._outlet.send({
            "m": "done", "worker": self._job.worker, "reason": self._reason, "failure": self.failure,
            "t_s": now_s, "last_answer_s": self._log.last_answer_s, "rows": self._sent_rows,
            "offered": self._office.book.due, "errors": dict(self._errors),
            "talks": self._talks.summary(),
        })  # fmt: skip


__all__ = ["COMPLETED", "Engine", "freeze_memory"]
