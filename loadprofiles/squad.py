"""The workers of a load that has more than one: Locust's master in the load child, and what Gameday adds to it.

Locust connects workers and spreads users over them; this file waits for all of them, shares out the arrivals, hears who
is gone and shares out anew. Imported by the load child only. Nothing that does not know the token is listened to.
"""

from __future__ import annotations

import hmac
import logging
import math
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import gevent
from locust import argument_parser
from locust.runners import STATE_MISSING, MasterRunner

from loadprofiles import line
from loadprofiles.baggage import packed
from loadprofiles.engine import Engine
from loadprofiles.front import Front
from loadprofiles.job import LoadJob, PlanRefused
from loadprofiles.line import Receiver, shares_as_plain
from loadprofiles.mix import users_by_class
from loadprofiles.shares import Share
from loadprofiles.web_page import show_page

TOKEN_VARIABLE = "GAMEDAY_LOAD_TOKEN"  # noqa: S105 - the name of a variable
JOIN_LIMIT_VARIABLE = "GAMEDAY_LOAD_JOIN_LIMIT_S"
WORKER_COMMAND = (sys.executable, "-m", "loadprofiles.worker")
JOIN_LIMIT_S = 50.0
"""How long workers are waited for; importing Locust takes 2 s on an idle machine."""
LOOK_EVERY_S = 0.05
LEAVE_LIMIT_S = 3.0

log = logging.getLogger("gameday.load")


@dataclass(eq=False)
class Member:
    """One worker, as the load child knows it."""

    number: int
    client_id: str
    receiver: Receiver = field(default_factory=Receiver)
    heard_s: float = 0.0
    ready: bool = False
    clock: Mapping[str, Any] = field(default_factory=dict)
    lost: bool = False


class LeadRunner(MasterRunner):
    """Locust's master that takes no newcomer once the load is on.

    Locust would spread the users anew over a worker that joins, and stop some in the middle of their requests.

    Attributes:
        closed: Whether newcomers are left waiting, for the next load.
    """

    closed = False

    def handle_message(self, client_id: str, msg: Any) -> None:
        """Handle what a worker says; see Locust."""
        if not (self.closed and msg.type == "client_ready" and client_id not in self.clients):
            super().handle_message(client_id, msg)


class Squad:
    """Runs one load with several workers."""

    def __init__(self, job: LoadJob, front: Front, environ: Mapping[str, str]) -> None:
        self._job, self._front = job, front
        self._token = environ.get(TOKEN_VARIABLE) or secrets.token_hex(16)
        self._join_limit_s = float(environ.get(JOIN_LIMIT_VARIABLE) or JOIN_LIMIT_S)
        self._members: dict[str, Member] = {}
        self._shares: tuple[Share, ...] = ()
        self._began_s = 0.0
        self._complete_s = math.inf
        self._stopping = ""
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._refusals: list[str] = []
        self._trace = packed(job.plan)
        self._engine = Engine(job, front, environ)  # for its classes and its checks: it never runs here
        self._runner = self._open(job)

    def _open(self, job: LoadJob) -> LeadRunner:
        environment = self._engine.environment
        environment.parsed_options = _options()
        try:
            runner = LeadRunner(environment, job.plan.workers.listen_host, job.plan.workers.listen_port)
        except SystemExit as error:  # so Locust says that the port is taken
            where = f"{job.plan.workers.listen_host}:{job.plan.workers.listen_port}"
            raise PlanRefused(f"the load's port {where} is taken", "name another one, or 0 for any") from error
        environment.runner = runner
        show_page(environment, job.plan.options)
        listeners = {line.HELLO: self._on_hello, line.PING: self._on_ping, line.SAY: self._on_say}
        for word, listener in listeners.items():
            runner.register_message(word, self._guarded(listener))
        return runner

    def _guarded(self, listener: Callable[[str, Mapping[str, Any]], None]) -> Callable[..., None]:
        def on_message(msg: Any, **_: Any) -> None:
            data = msg.data or {}
            if hmac.compare_digest(str(data.get("token", "")), self._token):
                listener(msg.node_id, data)
            else:
                log.warning("a message of %s without the load's token was ignored", msg.node_id)

        return on_message

    @property
    def port(self) -> int:
        """Where workers connect to."""
        return int(self._runner.server.port)

    def stop(self, reason: str) -> None:
        """Start no further request, anywhere; the first reason stays."""
        if not self._stopping:
            self._stopping = reason
            self._tell_all(line.STOP, {"reason": reason})

    def run(self) -> int:
        """Make the load and return the exit status: 0, also when every request failed (rows tell that).

        Raises:
            PlanRefused: Fewer workers came than the plan has.
        """
        try:
            self._start_processes()
            gevent.spawn(self._beat)  # from now on: a worker that waits for slower ones must not think itself alone
            self._await_members()
            self._spawn_users()
            self._go()
            while not self._front.over:
                gevent.sleep(LOOK_EVERY_S)
                self._look()
            return 0 if self._front.end() else 1
        finally:
            self._leave()

    def _start_processes(self) -> None:
        if self._job.plan.workers.placement != "local":
            log.info("waiting for %d workers on port %d", self._job.plan.workers.count, self.port)
            return
        environ = {**os.environ, TOKEN_VARIABLE: self._token}
        for number in range(self._job.plan.workers.count):
            command = [*WORKER_COMMAND, self._job.plan.workers.listen_host, str(self.port)]
            self._processes[number] = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL)

    def _await_members(self) -> None:
        deadline_s = time.monotonic() + self._join_limit_s
        wanted = self._job.plan.workers.count
        while not self._all_answer(wanted):
            gevent.sleep(LOOK_EVERY_S)
            if self._refusals:
                raise PlanRefused(f"a worker refused: {self._refusals[0]}", "")
            died = [process.pid for process in self._processes.values() if process.poll() is not None]
            if died or time.monotonic() > deadline_s or self._stopping:
                why = f"; {len(died)} died" if died else f"; stopped: {self._stopping}" if self._stopping else ""
                raise PlanRefused(f"{self._ready_count()} of {wanted} load workers came{why}", "see logs/locust.log")

    def _all_answer(self, wanted: int) -> bool:
        """Tell whether all are ready and each has answered since the last of them was: nobody died meanwhile."""
        if self._ready_count() < wanted:
            self._complete_s = math.inf
            return False
        if self._complete_s == math.inf:
            self._complete_s = time.monotonic()
            self._tell_all(line.BEAT, {})
        return all(member.heard_s > self._complete_s for member in self._members.values())

    def _ready_count(self) -> int:
        gone = self._gone()
        return sum(member.ready and client_id not in gone for client_id, member in self._members.items())

    def _gone(self) -> set[str]:
        """Return the members that Locust misses, such as a pod that was replaced before the load began."""
        held = {node.id for node in self._runner.clients.all if node.state != STATE_MISSING}
        return self._members.keys() - held

    def _spawn_users(self) -> None:
        self._runner.closed = True
        users = sum(users_by_class(self._job.plan).values())
        self._runner.start(users, spawn_rate=users)

    def _go(self) -> None:
        self._began_s = self._engine.now_s() + line.LEAD_S
        self._shares = (Share(0.0, self._present()),)
        clocks = [dict(m.clock, worker=m.number) for m in self._members.values()]
        users = sum(users_by_class(self._job.plan).values())
        self._front.begin(self._began_s, self._present(), {"users": users, "clocks": clocks})
        self._tell_all(line.GO, {"began_s": self._began_s})

    def _present(self) -> tuple[int, ...]:
        return tuple(sorted(member.number for member in self._members.values() if member.ready and not member.lost))

    def _beat(self) -> None:
        while True:
            self._tell_all(line.BEAT, {})
            gevent.sleep(LOOK_EVERY_S * 10)

    def _look(self) -> None:
        """Find who is gone or back, and share out anew."""
        now_s = time.monotonic()
        gone = {process.pid for process in self._processes.values() if process.poll() is not None}
        before = self._present()
        for member in self._members.values():
            dead = member.clock.get("pid") in gone if self._processes else False
            silent_s = now_s - member.heard_s
            if not member.lost and (dead or silent_s > line.LOST_AFTER_S):
                member.lost = True
                self._front.lose(member.number, "its process ended" if dead else f"silent for {silent_s:.0f} s")
            elif member.lost and not dead and silent_s < 1.0:
                member.lost = False
                self._front.regain(member.number)
        if self._present() != before:
            from_s = self._engine.now_s() - self._began_s + line.LEAD_S
            self._shares = (*self._shares, Share(from_s, self._present()))
            self._tell_all(line.BEAT, {})
        self._front.tick()

    def _leave(self) -> None:
        self._runner.quit()
        for process in self._processes.values():
            try:
                process.wait(LEAVE_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()

    # what workers say ------------------------------------------------------------------------------------------------

    def _on_hello(self, client_id: str, data: Mapping[str, Any]) -> None:
        if data.get("refused"):
            self._refusals.append(str(data["refused"]))
            return
        member = self._members.get(client_id) or self._newcomer(client_id)
        if member is None:
            return
        member.heard_s = time.monotonic()
        member.clock = {key: data.get(key) for key in ("host", "pid", "offset_s", "uncertainty_s")}
        if member.ready:
            return  # it answers a beat
        member.ready = bool(data.get("ready"))
        job = {**asdict(self._job), "worker": member.number}
        baggage = b"" if member.ready else self._trace  # once is enough: it may be large
        self._tell(client_id, line.WELCOME, {"job": job, "boot_id": boot_id(), "trace": baggage})

    def _newcomer(self, client_id: str) -> Member | None:
        """Return the place of a newcomer; none where the load is on, or while no place is free (it asks again)."""
        if self._began_s:
            log.warning("worker %s came late: not used", client_id)
            self._tell(client_id, line.STOP, {"reason": "not expected"})
            return None
        if len(self._members) >= self._job.plan.workers.count:
            for gone in self._gone():
                log.warning("worker %s is gone before the load began: its place is given away", gone)
                del self._members[gone]
        taken = {member.number for member in self._members.values()}
        free = sorted(set(range(self._job.plan.workers.count)) - taken)
        if not free:
            log.warning("worker %s is one too many for now", client_id)
            return None
        self._members[client_id] = Member(free[0], client_id)
        return self._members[client_id]

    def _on_ping(self, client_id: str, data: Mapping[str, Any]) -> None:
        self._tell(client_id, line.PONG, {"asked_s": data["asked_s"]})

    def _on_say(self, client_id: str, data: Mapping[str, Any]) -> None:
        member = self._members.get(client_id)
        if member is None:
            return
        member.heard_s = time.monotonic()
        for message, blob in member.receiver.take(data):
            self._front.send(message, blob)
        self._tell(client_id, line.ACK, {"until": member.receiver.acknowledge})

    def _tell(self, client_id: str, word: str, data: Mapping[str, Any]) -> None:
        now = {"now_s": self._engine.now_s(), "shares": shares_as_plain(self._shares)}
        whole = {**data, **now, "token": self._token}
        self._runner.send_message(word, whole, client_id=client_id)

    def _tell_all(self, word: str, data: Mapping[str, Any]) -> None:
        for client_id in tuple(self._members):
            self._tell(client_id, word, data)


def _options() -> Any:
    """Return Locust's own options, with re-balancing: users of a lost worker go to the others."""
    parser = argument_parser.get_empty_argument_parser()
    argument_parser.setup_parser_arguments(parser)  # type: ignore[no-untyped-call]
    return parser.parse_args(["--enable-rebalancing"])


def boot_id() -> str:
    """Return what names this boot of this kernel: processes with the same one share CLOCK_MONOTONIC."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


__all__ = ["TOKEN_VARIABLE", "Squad", "boot_id"]
