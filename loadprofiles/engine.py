"""The engine of the load child: an open-loop pacer hands arrivals to Locust's users and streams what became of them.

Arrivals follow the profile by the clock, whatever the answers do. Locust owns users and requests; this file owns time,
the books and the way back to the driver. Bounded on every side: users, queue, rate, seconds.
"""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from random import Random
from types import TracebackType
from typing import Any

import gevent
import gevent.event
import gevent.os
import gevent.queue
from locust import User
from locust.env import Environment

from loadprofiles import shapes
from loadprofiles.accounts import ON_TIME_S, ArrivalBook, Pulse, RequestLog, snapshot
from loadprofiles.job import DRAIN_MARGIN_S, LoadJob, PlanRefused, base_url, check_plan, header_values, read_payloads
from loadprofiles.measured import SessionRules, account
from loadprofiles.mix import paced_class, users_by_class
from loadprofiles.users import LoadContext

FLUSH_EVERY_S = 0.25
MESSAGES_MAX = 10_000
"""Messages that wait for a driver that does not read; beyond it rows are lost, and counted."""
USER_ERRORS_MAX = 20
RECONNECT_EVERY = 50

log = logging.getLogger("gameday.load")


class Channel:
    """The way to the driver: JSON lines on a pipe, written beside the load so that a slow reader never holds it up."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: gevent.queue.Queue = gevent.queue.Queue()
        gevent.os.make_nonblocking(fd)
        self._writer = gevent.spawn(self._write_all)

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue one message; dropped where the driver has stopped reading (rows carry totals, so it shows)."""
        if self._waiting.qsize() < MESSAGES_MAX:
            self._waiting.put(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def close(self, limit_s: float) -> None:
        """Write what is queued, at most for ``limit_s``, and close."""
        self._waiting.put(None)
        self._writer.join(limit_s)
        os.close(self._fd)

    def _write_all(self) -> None:
        for line in iter(self._waiting.get, None):
            view = memoryview(line)
            while view:
                try:
                    view = view[gevent.os.nb_write(self._fd, view) :]
                except BrokenPipeError:
                    return


class Office:
    """Hands arrivals to users, one queue a user class."""

    def __init__(self, classes: Mapping[str, float], timeout_s: float, now_s: Callable[[], float]) -> None:
        self.book = ArrivalBook()
        self._queues = {name: gevent.queue.Queue() for name in classes}
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._open = True

    def offer(self, name: str, intended_s: float) -> None:
        """Add an arrival that is due."""
        self.book.offer(intended_s)
        self._queues[name].put(intended_s)

    def taker(self, name: str) -> Callable[[], float]:
        """Return what a user of a class calls: it waits for an arrival and returns when that was due."""
        queue = self._queues[name]

        def take() -> float:
            while self._open:
                intended_s = queue.get()
                if intended_s is None or not self._open:
                    queue.put(None)
                    break
                if self._now_s() - intended_s <= self._timeout_s:
                    self.book.start(intended_s, self._now_s())
                    return float(intended_s)
                self.book.drop(self._now_s() - intended_s)
            raise gevent.GreenletExit

        return take

    def expire(self) -> float | None:
        """Drop arrivals that waited longer than a request may last; return since when the oldest waits, or None."""
        oldest: list[float] = []
        for queue in self._queues.values():
            while queue.qsize() and queue.peek() is not None:
                lag_s = self._now_s() - queue.peek()
                if lag_s <= self._timeout_s:
                    oldest.append(queue.peek())
                    break
                queue.get_nowait()
                self.book.drop(lag_s)
        return min(oldest, default=None)

    def close(self) -> None:
        """Hand out nothing more; waiting users end."""
        self._open = False
        for queue in self._queues.values():
            queue.put(None)


class Engine:
    """One child's load, from its first stage to its last row."""

    def __init__(self, job: LoadJob, channel: Channel, environ: Mapping[str, str]) -> None:
        plan, profile = job.plan, job.plan.profile
        check_plan(plan)
        self._job, self._channel, self._stages = job, channel, profile.stages
        self._log = RequestLog(job.worker)
        self._office = Office(profile.user_classes, profile.request_timeout_s, self._now_s)
        self._stop = gevent.event.Event()
        self._reason = "completed"
        self._failure = ""
        self._user_errors = 0
        self._sent_rows = 0
        self._began_s = self._closed_s = self._cpu_mark_s = self._cpu_wall_s = 0.0
        self._environment = self._make_environment(environ)

    def _now_s(self) -> float:
        return time.monotonic() - self._job.origin_monotonic_s

    def _make_environment(self, environ: Mapping[str, str]) -> Environment:
        plan, profile = self._job.plan, self._job.plan.profile
        url, host = base_url(plan)
        headers = {**header_values(plan.header_names, environ), "Host": host}
        tag = f"{int(self._job.origin_unix_s * 1000):x}"
        payload_file = plan.payload_file or str(plan.options.get("payload_file", ""))
        context = LoadContext(plan.seed, tag, plan.options, read_payloads(payload_file))
        counts = users_by_class(profile)
        classes: list[type[User]] = []
        for name in profile.user_classes:
            rules = SessionRules(
                url, headers, profile.request_timeout_s, self._reconnect_every(), self._now_s,
                self._office.taker(name), self._log,
            )  # fmt: skip
            classes.append(paced_class(name, rules, context, counts[name]))
        environment = Environment(user_classes=classes, host=url, stop_timeout=0)
        environment.events.request.add_listener(account(rules))  # type: ignore[no-untyped-call]
        environment.events.user_error.add_listener(self._on_user_error)  # type: ignore[no-untyped-call]
        return environment

    def _reconnect_every(self) -> int:
        return int(self._job.plan.options.get("reconnect_every", RECONNECT_EVERY))

    def _on_user_error(self, exception: BaseException, tb: TracebackType | None = None, **_: Any) -> None:
        """Tell the type and the place, never the text: user code may put a header's value into it."""
        self._user_errors += 1
        kind, frames = type(exception).__name__, traceback.extract_tb(tb)
        log.error("the user code raised %s at %s", kind, " < ".join(f"{f.filename}:{f.lineno}" for f in frames[::-1]))
        if self._user_errors == USER_ERRORS_MAX:
            self._failure = f"the user code raised {USER_ERRORS_MAX} times, last {kind}; logs/load.log says where"
            self.stop(self._failure)

    def stop(self, reason: str) -> None:
        """Start no further request; the first reason stays."""
        if not self._stop.is_set():
            self._reason = reason
            self._stop.set()

    def run(self) -> int:
        """Make the load and return the exit status: 0, also when every request failed (rows tell that)."""
        runner = self._environment.create_local_runner()
        users = sum(users_by_class(self._job.plan.profile).values())
        runner.start(users, spawn_rate=users)
        if runner.spawning_greenlet is not None:
            runner.spawning_greenlet.join()
        self._began_s = self._closed_s = self._cpu_wall_s = self._now_s()
        self._cpu_mark_s = time.process_time()
        self._edge("started", self._began_s, {"profile": self._job.plan.profile.name, "users": users})
        pacer, meter = gevent.spawn(self._pace), gevent.spawn(self._meter)
        self._stop.wait()
        pacer.kill()
        self._office.close()
        self._drain()
        runner.quit()
        meter.kill()
        self._finish()
        return 1 if self._failure else 0

    def _pace(self) -> None:
        profile = self._job.plan.profile
        names, weights = list(profile.user_classes), list(profile.user_classes.values())
        random = Random(self._job.plan.seed ^ 0x5EED)  # noqa: S311 - load, not secrets
        for due_s in shapes.arrivals(self._stages, self._job.plan.seed):
            intended_s = self._began_s + due_s
            self._sleep_until(intended_s)
            self._office.offer(random.choices(names, weights)[0], intended_s)
        self._sleep_until(self._began_s + profile.duration_s)
        while self._office.expire() is not None:
            gevent.sleep(ON_TIME_S)
        self.stop("completed")

    def _sleep_until(self, t_s: float) -> None:
        while (left_s := t_s - self._now_s()) > 0:
            gevent.sleep(left_s)

    def _meter(self) -> None:
        first = True
        while True:
            gevent.sleep(FLUSH_EVERY_S)
            self._send_rows()
            if first and self._log.first_start_s is not None:
                self._edge("first-request", self._log.first_start_s, {})
                first = False
            while self._now_s() >= self._closed_s + 1.0 + ON_TIME_S:
                self._snapshot(self._closed_s + 1.0)

    def _snapshot(self, edge_s: float, stage: str = "") -> None:
        cpu_s, wall_s = time.process_time() - self._cpu_mark_s, max(self._now_s() - self._cpu_wall_s, 1e-3)
        self._cpu_mark_s, self._cpu_wall_s = time.process_time(), self._now_s()
        pulse = Pulse(self._closed_s, edge_s, self._began_s, self._office.expire(), self._users(), cpu_s / wall_s)
        self._closed_s = edge_s
        seen = snapshot(self._stages, self._log, self._office.book, pulse, stage)
        self._channel.send({"m": "snapshot", "snapshot": asdict(seen), "started": self._log.started})

    def _users(self) -> int:
        runner = self._environment.runner
        return int(runner.user_count) if runner is not None else 0

    def _send_rows(self) -> None:
        rows = self._log.take()
        if rows:
            self._sent_rows += len(rows)
            self._channel.send({"m": "rows", "rows": rows, "total": self._sent_rows})

    def _edge(self, subject: str, t_s: float, detail: Mapping[str, Any]) -> None:
        self._channel.send({"m": "edge", "subject": subject, "t_s": t_s, "detail": dict(detail)})

    def _drain(self) -> None:
        until_s = self._now_s() + self._job.plan.profile.request_timeout_s + DRAIN_MARGIN_S
        while self._log.inflight and self._now_s() < until_s:
            gevent.sleep(0.02)

    def _finish(self) -> None:
        now_s = self._now_s()
        self._log.close(now_s)
        self._send_rows()
        self._snapshot(now_s, shapes.ENDED)
        if self._log.last_answer_s is not None:
            self._edge("last-answer", self._log.last_answer_s, {})
        book = self._office.book
        detail = {"reason": self._reason, "offered": book.due, "dropped": book.dropped,
                  "requests": self._log.finished, "failures": self._log.failures}  # fmt: skip
        self._edge("lost" if self._failure else "ended", now_s, detail)
        self._channel.send({"m": "bye", "total": self._sent_rows})


__all__ = ["Channel", "Engine", "Office", "PlanRefused"]
