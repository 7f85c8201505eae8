"""A user class of somebody else's, for the load driver's tests: imported by Locust's process only."""

import os

from locust import FastHttpUser, task


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
