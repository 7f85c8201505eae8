"""The load child: ``python -m loadprofiles.locustfile CONTROL_FD DATA_FD``, started by the load driver.

Importing Locust patches the whole process, so this runs in one of its own. One job line comes on the control pipe,
end-of-file there means stop; messages go out on the data pipe. Standard output and error are a log. Also a plain
locustfile: ``locust -f`` finds our user classes here.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping

import gevent
import gevent.os
from locust import __version__ as locust_version

from loadprofiles.channel import Channel
from loadprofiles.engine import Engine, freeze_memory
from loadprofiles.front import Front
from loadprofiles.job import LoadJob, PlanRefused, parse_job
from loadprofiles.mix import users_by_class
from loadprofiles.shares import Share
from loadprofiles.squad import Squad
from loadprofiles.users import InferenceUser, PlannerUser
from loadprofiles.web_page import show_page

PR_SET_PDEATHSIG = 1
CLOSE_LIMIT_S = 5.0
SILENCE_LIMIT_S = 15.0
"""As long as the run's Lease: a driver that is stopped or cut off must not leave its load on (DESIGN U7)."""

LOGS_OF_USER_ERRORS = ("locust.user.task", "locust.user.users")
"""Locust logs the text of what user code raised, which may hold a header's value; the engine logs type and place."""


def _read_line(fd: int) -> str:
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(fd, 65536)
        if not piece:
            return ""
        data += piece
    return data.decode()


def _heard(fd: int) -> bytes | None:
    """Return what the driver wrote next; nothing where it hung up, None where it has been silent for too long."""
    piece: bytes | None = None
    with gevent.Timeout(SILENCE_LIMIT_S, False):
        piece = gevent.os.nb_read(fd, 4096)
    return piece


def _is_led(job: LoadJob) -> bool:
    """Tell whether workers of their own make the load."""
    return job.plan.workers.count > 1 or job.plan.workers.placement != "local"


class Solo:
    """Runs a load with one worker, in this process."""

    def __init__(self, job: LoadJob, front: Front, environ: Mapping[str, str]) -> None:
        self._job, self._front = job, front
        self._engine = Engine(job, front, environ)
        self.stop = self._engine.stop

    def run(self) -> int:
        """Make the load and return the exit status: 0, also when every request failed (rows tell that)."""
        runner = self._engine.environment.create_local_runner()
        show_page(self._engine.environment, self._job.plan.options)
        users = sum(users_by_class(self._job.plan).values())
        runner.start(users, spawn_rate=users)
        if runner.spawning_greenlet is not None:
            runner.spawning_greenlet.join()
        freeze_memory()
        began_s = self._engine.now_s()
        self._front.begin(began_s, [self._job.worker], {"users": users})
        self._engine.assign((Share(0.0, (self._job.worker,)),))
        self._engine.run(began_s)
        runner.quit()
        return 0 if self._front.end() else 1


def _watch(fd: int, load: Solo | Squad) -> None:
    reason = "the driver is gone"
    try:
        gevent.os.make_nonblocking(fd)
        told = b""
        while piece := _heard(fd):
            told = (told + piece).lstrip()  # empty lines are signs of life
        asked = told.decode().strip()
        silent = piece is None and not asked
        reason = f"no sign of life of the driver for {SILENCE_LIMIT_S:g} s" if silent else reason
        reason = str(json.loads(asked)["stop"]) if asked else reason
    finally:  # also where its last line was torn
        load.stop(reason)


def _bound_this_process(job: LoadJob) -> None:
    """Die with the driver, and after the longest time that the plan can take, whatever the code here does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.alarm(int(job.longest_s) + 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main(control_fd: int, data_fd: int) -> int:
    """Run one job; return the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in LOGS_OF_USER_ERRORS:
        logging.getLogger(name).addFilter(lambda record: record.levelno < logging.ERROR)
    line = _read_line(control_fd)
    if not line:
        return 1
    job = parse_job(line)
    _bound_this_process(job)
    channel = Channel(data_fd)
    front = Front(job.plan.profile, job.plan.seed, channel, lambda: time.monotonic() - job.origin_monotonic_s)
    try:
        load = Squad(job, front, os.environ) if _is_led(job) else Solo(job, front, os.environ)
        channel.send({"m": "hello", "locust": locust_version, "pid": os.getpid()})
        gevent.spawn(_watch, control_fd, load)
        gevent.signal_handler(signal.SIGTERM, load.stop, "SIGTERM to the load generator")
        status = load.run()
    except PlanRefused as refused:
        channel.send({"m": "refused", "problem": refused.problem, "remedy": refused.remedy})
        status = 1
    channel.close(CLOSE_LIMIT_S)
    return status


__all__ = ["InferenceUser", "PlannerUser", "main"]

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
