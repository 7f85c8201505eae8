"""The user classes of `make bench-load` on our engine. Imported by the load child only."""

from __future__ import annotations

from locust import FastHttpUser, task

from loadprofiles.fast_user import FastUser
from tests.bench.load_requests import BODY, PATH


class Get(FastUser):
    """Asks for a page."""

    @task
    def get(self) -> None:
        self.client.get(PATH)


class Post(FastUser):
    """Asks for a plan."""

    @task
    def post(self) -> None:
        self.client.post(PATH, json=BODY)


class StockGet(FastHttpUser):
    """Asks for a page by Locust's own client, when our engine says so."""

    @task
    def get(self) -> None:
        self.client.get(PATH)


class StockPost(FastHttpUser):
    """Asks for a plan by Locust's own client, when our engine says so."""

    @task
    def post(self) -> None:
        self.client.post(PATH, json=BODY)
