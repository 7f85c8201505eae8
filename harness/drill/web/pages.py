"""The pages themselves, the sign-in that turns a link's token into a cookie, and the debrief.

Must not put a token of the facilitator's, or anything that a drill hides, into a page of the participants'.
"""

from __future__ import annotations

from pathlib import Path

from flask import Flask, Response, jsonify, make_response, redirect, render_template, request, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from harness.drill.desk import Desk, Role
from harness.drill.web.access import COOKIES, WebSecrets
from harness.drill.web.answers import Body, Refused, body_as
from harness.drill.web.api import caller
from harness.model.drill import MARKS

PATHS = {Role.FACILITATOR: "/facilitator", Role.PARTICIPANT: "/participants"}

DEBRIEF_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts allow-downloads"
)
"""It is one self-contained file with its scripts inline: in a sandbox it has neither cookies nor the API."""


class EnterBody(Body):
    """A page's sign-in."""

    token: str


class Pages:
    """The routes, over one desk."""

    def __init__(self, desk: Desk, secrets: WebSecrets, folder: Path | None) -> None:
        self._desk, self._secrets, self._folder = desk, secrets, folder

    def register(self, app: Flask) -> None:
        """Add the routes."""
        app.add_url_rule("/", "start", self.start, methods=["GET"])
        app.add_url_rule("/facilitator", "facilitator", lambda: self.page(Role.FACILITATOR), methods=["GET"])
        app.add_url_rule("/participants", "participants", lambda: self.page(Role.PARTICIPANT), methods=["GET"])
        app.add_url_rule("/api/enter", "enter", self.enter, methods=["POST"])
        app.add_url_rule("/debrief", "debrief", self.debrief, methods=["GET"])

    def start(self) -> AnyResponse:
        """Go to the page that the browser may see, or to the sign-in."""
        role = self._secrets.role_of_cookies(request.cookies)
        return redirect(PATHS[role or Role.PARTICIPANT])

    def page(self, role: Role) -> Response:
        """Return a role's page, or the sign-in."""
        mine = self._secrets.role_of_cookies(request.cookies)
        if mine is None or (mine is not role and role is Role.FACILITATOR):
            return make_response(render_template("enter.html", role=role), 401)
        link = f"{PATHS[Role.PARTICIPANT]}#{self._secrets.participants}" if role is Role.FACILITATOR else ""
        return make_response(render_template("page.html", role=role, marks=MARKS, participants_link=link))

    def enter(self) -> Response:
        """Turn a token into a cookie."""
        role = self._secrets.role_of_token(body_as(EnterBody).token)
        if role is None:
            raise Refused(401, "this is no token of the drill", "open the whole link that the drill printed")
        answer = jsonify(page=PATHS[role])
        answer.set_cookie(COOKIES[role], self._secrets.cookie(role), httponly=True, samesite="Strict", path="/")
        return answer

    def debrief(self) -> Response:
        """Return the debrief as a page of its own, once there is one."""
        path = self._desk.view(caller().role).get("debrief")
        if not path or self._folder is None:
            raise Refused(404, "there is no debrief yet", "it is written when the drill has ended")
        answer = send_from_directory(self._folder, str(path))
        answer.headers["Content-Security-Policy"] = DEBRIEF_POLICY
        return answer
