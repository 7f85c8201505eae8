"""A user class of somebody else's, for the load driver's tests: imported by Locust's process only."""

import os
from itertools import count

from locust import FastHttpUser, HttpUser, task

from loadprofiles.fast_user import FastUser


class GetUser(FastHttpUser):
    """Reads a page, checks it, and knows nothing of Gameday."""

    @task
    def read(self) -> None:
        with self.client.get("/page", catch_response=True) as response:
            if response.text and "ok" not in response.text:
                response.failure("not the page")


class AwayUser(FastHttpUser):
    """Asks a host that is not the target's."""

    @task
    def stray(self) -> None:
        self.client.get("http://127.0.0.9:1/elsewhere")


class TellingUser(FastHttpUser):
    """Fails with a secret in its words."""

    @task
    def tell(self) -> None:
        raise RuntimeError(f"401 for {os.environ['GAMEDAY_HEADER_AUTHORIZATION']}")


class PlainUser(HttpUser):
    """Reads a page, by way of ``requests``."""

    @task
    def read(self) -> None:
        self.client.get("/page")


class LocustUser(FastHttpUser):
    """Reads a page, on Locust's own fast session."""

    @task
    def read(self) -> None:
        self.client.get("/page")


class QuickUser(FastUser):
    """Reads a page, on the fast path."""

    @task
    def read(self) -> None:
        self.client.get("/page")


class AwayPlainUser(HttpUser):
    """Asks a host that is not the target's, and tries to look like the target's."""

    @task
    def stray(self) -> None:
        self.client.get("@127.0.0.9:1/elsewhere", verify=False)


class AwayQuickUser(FastUser):
    """Asks a host that is not the target's."""

    @task
    def stray(self) -> None:
        self.client.get("http://127.0.0.9:1/elsewhere")


class SilentUser(FastUser):
    """Has tasks, and sends nothing."""

    @task
    def think(self) -> None:
        pass


_TURNS = count()


def _stumble() -> None:
    if next(_TURNS) % 20 == 7:
        raise KeyError("user code with a mistake")


class StumblingUser(FastHttpUser):
    """Raises now and then, in the middle of looking at an answer."""

    @task
    def read(self) -> None:
        with self.client.get("/page", catch_response=True):
            _stumble()


class StumblingPlainUser(HttpUser):
    """Raises now and then, in the middle of looking at an answer."""

    @task
    def read(self) -> None:
        with self.client.get("/page", catch_response=True):
            _stumble()


class StumblingQuickUser(FastUser):
    """Raises now and then, in the middle of looking at an answer."""

    @task
    def read(self) -> None:
        with self.client.get("/page", catch_response=True):
            _stumble()
