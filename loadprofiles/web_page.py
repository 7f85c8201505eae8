"""Locust's own web page, on demand: to look at, on loopback, and without a handle on the load.

Option ``web_ui`` names its port. Nothing there may start, stop or change anything, nor show what user code raised.
Imported by the load child only.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, cast

import gevent
from flask import Flask, abort, request
from locust.env import Environment
from locust.stats import stats_history

from loadprofiles.job import PlanRefused

OPTION = "web_ui"
HOST = "127.0.0.1"
PORT_MAX = 65535
SHOWN = frozenset({
    "/", "/stats/requests", "/stats/requests/csv", "/stats/failures/csv", "/stats/report", "/tasks", "/worker-count",
})  # fmt: skip


def page_port(options: Mapping[str, str | int | float]) -> int:
    """Return the port of the page, or 0 where none is wanted.

    Raises:
        PlanRefused: The option is no port.
    """
    written = options.get(OPTION, 0)
    try:
        port = int(written)
    except ValueError:
        port = -1
    if not 0 <= port <= PORT_MAX:
        raise PlanRefused(f"option {OPTION}: {written!r} is no port", "write it like 8089")
    return port


def show_page(environment: Environment, options: Mapping[str, str | int | float]) -> None:
    """Show the statistics of the environment's runner, where the options ask for it.

    Raises:
        PlanRefused: The port is taken.
    """
    port = page_port(options)
    if not port:
        return
    _refuse_taken(port)
    page = environment.create_web_ui(HOST, port, delayed_start=True)
    app = cast(Flask, page.app)
    app.debug = False
    app.before_request(lambda: _only_look(port))
    page.start()  # type: ignore[no-untyped-call]
    gevent.spawn(stats_history, environment.runner)


def _refuse_taken(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise PlanRefused(f"option {OPTION}: port {port} is taken", "name another one") from error


def _only_look(port: int) -> Any:
    """Refuse everything but looking, and every other site's pages in the same browser."""
    here = {f"{name}:{port}" for name in (HOST, "localhost")}
    origin = request.headers.get("Origin", "")
    asked = request.path in SHOWN or request.path.startswith("/assets/")
    ours = request.host in here and origin.removeprefix("http://") in {"", *here}
    if request.method not in {"GET", "HEAD"} or not asked or not ours:
        abort(403)


__all__ = ["page_port", "show_page"]
