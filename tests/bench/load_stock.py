"""Stock Locust, as anybody would write it, for `make bench-load`: ``locust -f tests/bench/load_stock.py Get``.

``RATE_RPS`` in the environment: the users keep that rate together, as a closed loop can; without it they do not wait.
"""

from __future__ import annotations

import os

from locust import FastHttpUser, constant, constant_throughput, task

from tests.bench.load_requests import BODY, PATH

USERS, RATE_RPS = int(os.environ["USERS"]), float(os.environ.get("RATE_RPS", "0"))
WAIT = constant_throughput(RATE_RPS / USERS) if RATE_RPS else constant(0)


class Get(FastHttpUser):
    """Asks for a page."""

    wait_time = WAIT

    @task
    def get(self) -> None:
        self.client.get(PATH)


class Post(FastHttpUser):
    """Asks for a plan."""

    wait_time = WAIT

    @task
    def post(self) -> None:
        self.client.post(PATH, json=BODY)
