"""Users that hold conversations, for the load driver's tests: imported by Locust's process only."""

from typing import Any

from locust import between, constant, task

from loadprofiles.conversations import ConversationUser
from loadprofiles.sse import Event


class Talker(ConversationUser):
    """Three short turns with little thought between them."""

    wait_time = between(0.05, 0.15)
    turns = (3, 3)
    patience_s = 0.3
    affinity_cookie = "pod"

    @task
    def ask(self) -> None:
        self.client.get("/talk", name="/talk")


class ComesBack(Talker):
    """Hangs up, and always tries again a little later."""

    comes_back_ratio = 1.0
    comes_back_after_s = (0.2, 0.3)


class Listener(ConversationUser):
    """Reads event streams to their end."""

    wait_time = constant(0.1)
    turns = (2, 2)

    @task
    def listen(self) -> None:
        heard: list[Event] = []
        response = self.client.stream("/events", on_event=heard.append)
        if response.ok:
            assert [event.data for event in heard] == ["0", "1", "2", "3", "4"], heard
            assert response.tap is not None and response.tap.reader.last_id == "4"


class Mute(ConversationUser):
    """Thinks, and says nothing."""

    wait_time = constant(0.0)

    @task
    def say(self) -> None:
        pass


class Hasty(ConversationUser):
    """Does not think at all."""

    wait_time = constant(0.0)
    turns = (50, 50)

    @task
    def ask(self) -> None:
        self.client.get("/talk")


class NoTalker:
    """Is no user class."""

    def __init__(self, environment: Any) -> None: ...
