"""A user class whose module listens to Locust's requests, for the load driver's tests. Imported by its process only."""

from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from locust import events, task

from loadprofiles.users import GamedayUser

_HEARD = count()


class HeardUser(GamedayUser):
    """Reads a page on the fast path."""

    heard: ClassVar[Path]

    @task
    def read(self) -> None:
        HeardUser.heard = Path(str(self.load.options["heard"]))
        self.client.get("/page")


def hear(request_type: str, name: str, exception: BaseException | None, **_: Any) -> None:
    """Write each request down, and stumble over one."""
    with HeardUser.heard.open("a") as out:
        out.write(f"{request_type} {name} {exception is not None}\n")
    if next(_HEARD) == 3:
        raise ZeroDivisionError


events.request.add_listener(hear)  # type: ignore[no-untyped-call]
