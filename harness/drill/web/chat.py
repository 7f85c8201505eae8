"""Marks from chat: slash commands in Slack's documented shape, proven by the signature of the app's secret.

https://docs.slack.dev/interactivity/implementing-slash-commands (a form),
https://docs.slack.dev/authentication/verifying-requests-from-slack (``v0``, with the time at which it was sent).
Everything is proven before anything is parsed, and each signed request is taken once. What the drill itself refuses is
told to whoever typed it, with status 200: a chat tool shows no other. Must not show more than a participant may see.
"""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qsl

from flask import Flask, Response, jsonify, request
from pydantic import AfterValidator, BaseModel, ConfigDict

from harness.drill.desk import Desk
from harness.drill.web.access import WebSecrets
from harness.drill.web.answers import API_BODY_MAX_BYTES, Line, Refused, Words, raw_body
from harness.drill.web.api import RESERVED, filled
from harness.model.drill import MARKS, DrillError, Mark

REPLAY_S = 300.0
"""How old a request may be, and how far in the future, since clocks differ; within it none is taken twice."""

FIELDS_MAX = 50
USAGE = f"say one of: {', '.join(MARKS)}; hint; note TEXT; stop REASON"


class SlashCommand(BaseModel):
    """A slash command: what of its form a drill needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    user_id: Annotated[Line, AfterValidator(filled)]
    user_name: Line = ""
    text: Words = ""

    @property
    def by(self) -> str:
        """Who typed it; somebody who is called as a part of the drill goes by their id."""
        return self.user_id if self.user_name.casefold() in {"", *RESERVED} else self.user_name


class Chat:
    """The route, over one desk."""

    def __init__(self, desk: Desk, secrets: WebSecrets, now_unix_s: Callable[[], float] = time.time) -> None:
        self._desk, self._secrets, self._now_unix_s = desk, secrets, now_unix_s
        self._taken: dict[str, float] = {}
        self._lock = threading.Lock()

    def register(self, app: Flask) -> None:
        """Add it."""
        app.add_url_rule("/hooks/slack", "slack", self.slack, methods=["POST"])

    def slack(self) -> Response:
        """Take a slash command and answer it in the channel; a refusal only to whoever typed it."""
        command = _command(self._proven())
        try:
            said = self._act(command)
        except DrillError as error:
            return _answer("ephemeral", f"{error.problem}: {error.remedy}")
        return _answer("in_channel", said) if said else _answer("ephemeral", USAGE)

    def _proven(self) -> bytes:
        """Return the body of a request that is signed by us, new, and was not taken before."""
        if not self._secrets.slack:
            raise Refused(403, "slack: no secret is known here", "give the drill the app's signing secret")
        sent_at = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        body = raw_body(API_BODY_MAX_BYTES)
        if not self._secrets.signs_slack(body, sent_at, signature):
            remedy = "give the drill the signing secret of the app (Basic Information), and send the body as it came"
            raise Refused(401, "slack: no signature of the body is ours", remedy)
        self._take_once(sent_at, signature)
        return body

    def _take_once(self, sent_at: str, signature: str) -> None:
        now_unix_s = self._now_unix_s()
        sent_unix_s = float(sent_at) if sent_at.isdecimal() and sent_at.isascii() else 0.0
        if abs(now_unix_s - sent_unix_s) > REPLAY_S:
            raise Refused(401, f"slack: the request is not of the last {REPLAY_S:g} s", "see the clock of this machine")
        with self._lock:
            self._taken = {one: until for one, until in self._taken.items() if until >= now_unix_s}
            if signature in self._taken:
                raise Refused(409, "slack: this request was taken before", "nothing: type it again to say it again")
            self._taken[signature] = sent_unix_s + REPLAY_S

    def _act(self, command: SlashCommand) -> str:
        """Do what was typed and return what everybody is told; nothing where it was no word of ours."""
        word, rest = (*command.text.split(maxsplit=1), "", "")[:2]
        word, by = word.casefold(), command.by
        if word in MARKS:
            self._desk.mark(Mark(word), by)
            return f"{word}, by {by}"
        if word == "hint":
            return f"hint: {self._desk.hint(by)}"
        if word == "note":
            self._desk.note(rest, by)
            return f"noted, by {by}"
        if word == "stop":
            self._desk.stop(rest or f"pulled in chat by {by}", by)
            return f"the safety stop is pulled, by {by}"
        return ""


def _command(body: bytes) -> SlashCommand:
    if request.mimetype != "application/x-www-form-urlencoded":
        remedy = "send Content-Type: application/x-www-form-urlencoded"
        raise Refused(415, "slack: the body is not said to be a form", remedy)
    try:
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:  # also what is not UTF-8
        raise Refused(400, "slack: the body is no form", "send it as it came") from None
    return SlashCommand.model_validate(dict(fields))


def _answer(kind: str, text: str) -> Response:
    """Return what the chat tool shows; three characters mean something to it."""
    return jsonify(response_type=kind, text=html.escape(text, quote=False))
