"""Serves a drill's pages: the application, its threaded server, its address. The only module that opens a port.

Fails closed: a route that is not named open needs a role, a host that is not named is refused (DNS rebinding). Must not
log a request (an address may be all that somebody has to keep secret), and must not keep state.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

from flask import Flask, g, request
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from harness.drill.desk import Desk, Role
from harness.drill.web.access import PROOF, PROOF_HEADER, Caller, WebSecrets
from harness.drill.web.answers import API_BODY_MAX_BYTES, Refused, install
from harness.drill.web.api import Api
from harness.drill.web.chat import Chat
from harness.drill.web.events import Events
from harness.drill.web.pages import PATHS, Pages
from harness.drill.web.webhooks import Webhooks
from harness.model.drill import DrillError

_logger = logging.getLogger("gameday.drill.web")

OPEN = frozenset(
    {"static", "start", "facilitator", "participants", "enter", "alertmanager", "pagerduty", "opsgenie", "slack"}
)
"""Endpoints that ask for no role: the sign-in, what it is drawn with, and those that prove their senders themselves."""

SAFE_METHODS = frozenset({"GET", "HEAD"})
SOCKET_TIMEOUT_S = 30
CLOSE_TIMEOUT_S = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - named to be refused without a host


def make_app(
    desk: Desk,
    secrets: WebSecrets,
    *,
    hosts: Collection[str] = LOOPBACK,
    folder: Path | None = None,
    closing: threading.Event | None = None,
) -> Flask:
    """Return the application over a desk.

    Args:
        desk: The drill.
        secrets: Its tokens.
        hosts: Names by which it may be asked.
        folder: The drill's, where its debrief will be.
        closing: Set when the server closes.
    """
    app = Flask(__name__)
    app.config.update(
        TRUSTED_HOSTS=list(hosts),
        MAX_CONTENT_LENGTH=API_BODY_MAX_BYTES,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        SEND_FILE_MAX_AGE_DEFAULT=0,
    )
    install(app)
    app.before_request(lambda: _admit(secrets))
    Pages(desk, secrets, folder).register(app)
    Api(desk).register(app)
    Events(desk, closing or threading.Event()).register(app)
    Webhooks(desk, secrets).register(app)
    Chat(desk, secrets).register(app)
    return app


def _admit(secrets: WebSecrets) -> None:
    """Settle who calls, for every route that is not open.

    Raises:
        Refused: Nobody we know, or more than they may.
    """
    if request.method not in SAFE_METHODS and request.endpoint == "enter":
        _check_proof()
    if request.endpoint in OPEN or request.routing_exception is not None:
        return  # open, or refused by Flask at once: no such route, or not one of our hosts
    g.caller = _caller(secrets)
    if g.caller.by_cookie and request.method not in SAFE_METHODS:
        _check_proof()


def _caller(secrets: WebSecrets) -> Caller:
    given = request.authorization
    by_cookie = given is None
    mine = secrets.role_of_token(given.token or "") if given else secrets.role_of_cookies(request.cookies)
    if mine is None:
        raise Refused(401, "no valid token", "open the link that the drill printed, or send Authorization: Bearer")
    asked = request.args.get("as", mine)
    if asked not in tuple(Role):
        raise Refused(400, "as: there is no such role", f"ask as {Role.FACILITATOR} or {Role.PARTICIPANT}")
    if asked == Role.FACILITATOR and mine is not Role.FACILITATOR:
        raise Refused(403, "this is for the facilitator", "use the facilitator's link")
    return Caller(Role(asked), by_cookie)


def _check_proof() -> None:
    if request.headers.get(PROOF_HEADER) != PROOF:
        raise Refused(403, "this does not come from a page of the drill", f"send the header {PROOF_HEADER}: {PROOF}")


class _Handler(WSGIRequestHandler):
    """Answers under our name, logs no request, and gives up on clients that hang."""

    timeout = SOCKET_TIMEOUT_S

    def version_string(self) -> str:
        """Say no more than what this is."""
        return "gameday"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Keep silent: see the module's docstring."""


class _Server(ThreadedWSGIServer):
    """Knows its open connections, so that closing ends the streams at once."""

    def __init__(self, listening: socket.socket, app: Flask) -> None:
        self.connections: set[Any] = set()
        host, port = listening.getsockname()[:2]
        super().__init__(host, port, app, handler=_Handler, fd=listening.fileno())
        listening.close()  # the server has a copy

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a connection."""
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End one."""
        self.connections.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """End all."""
        for connection in list(self.connections):
            with contextlib.suppress(OSError):  # it ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def log(self, type: str, message: str, *args: Any) -> None:
        """Log a mistake of our own."""
        _logger.error(message, *args)


class Serving:
    """A running server.

    Attributes:
        port: Where it listens.
        url: Without any token; webhooks are below it.
        url_facilitator: With the facilitator's token: for one person's eyes.
        url_participants: With the participants' token.
    """

    def __init__(self, server: _Server, closing: threading.Event, host: str, secrets: WebSecrets) -> None:
        self.port = server.port
        self.url = f"http://{host}:{self.port}"
        self.url_facilitator = f"{self.url}{PATHS[Role.FACILITATOR]}#{secrets.facilitator}"
        self.url_participants = f"{self.url}{PATHS[Role.PARTICIPANT]}#{secrets.participants}"
        self._server, self._closing = server, closing
        self._thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="drill-pages", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End it, and every open stream; again is no mistake."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._server.shutdown()
        self._server.drop_connections()
        self._thread.join(CLOSE_TIMEOUT_S)


def serve(
    desk: Desk,
    *,
    secrets: WebSecrets,
    bind: str = "127.0.0.1",
    port: int = 0,
    hosts: Collection[str] = (),
    folder: Path | None = None,
) -> Serving:
    """Serve a drill's pages, until closed.

    Args:
        desk: The drill.
        secrets: Its tokens; the same ones again keep the browsers' cookies valid over a restart.
        bind: Address to listen on. Beyond loopback everything travels unencrypted: for a trusted network only.
        port: 0 takes any free one.
        hosts: Further names by which browsers and webhooks reach it; the first is the one in the links.
        folder: The drill's, where its debrief will be.

    Raises:
        DrillError: The port is taken, or nothing says by which name it is reached.
    """
    if bind in ANYWHERE and not hosts:
        raise DrillError(f"the pages are to listen on {bind or 'every address'}", "say by which name they are reached")
    shown = f"[{bind}]" if ":" in bind else bind
    names = (*hosts, *(LOOPBACK if bind in ANYWHERE or shown in LOOPBACK else (shown,)))
    closing = threading.Event()
    app = make_app(desk, secrets, hosts=names, folder=folder, closing=closing)
    return Serving(_Server(_listening(bind, port), app), closing, names[0] if hosts else shown, secrets)


def _listening(bind: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        return socket.create_server((bind, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DrillError(f"the pages cannot listen on {bind}, port {port} ({reason})", "take another --port") from None
