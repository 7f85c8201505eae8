"""The API's routes: each reads its body, asks the desk, and says what was taken.

Who calls was settled before (`harness.drill.web.server`). Must not decide anything about the drill: the desk does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from flask import Flask, Response, g, jsonify, request
from pydantic import AfterValidator, Field

from harness.drill.desk import Desk, Role
from harness.drill.web.access import Caller
from harness.drill.web.answers import Body, Line, Refused, Words, body_as, entry_json
from harness.drill.web.step_text import with_html
from harness.model.drill import Entry, Mark

RESERVED = frozenset({"facilitator", "participants", "alertmanager", "pagerduty", "opsgenie", "cluster", "drill"})
"""Whom the journal takes for somebody else than a person who typed a name."""

COMMAND_KEYS = ("step", "command", "changes", "exit_status", "duration_s", "refused")


def filled(text: str) -> str:
    """Refuse an empty text."""
    if not text:
        raise ValueError("is empty")
    return text


Filled = Annotated[Words, AfterValidator(filled)]


class ByBody(Body):
    """What anybody may say with anything: their name."""

    by: Line = ""


class MarkBody(ByBody):
    """A mark."""

    mark: Mark


class NoteBody(ByBody):
    """A note."""

    text: Filled


class StepBody(ByBody):
    """A step, ticked or skipped."""

    step: Filled
    done: bool


class CommandBody(ByBody):
    """A command of a step."""

    step: Filled
    number: int = Field(ge=1, le=1000)


class StopBody(ByBody):
    """The safety stop."""

    reason: Words = ""


def caller() -> Caller:
    """Return who sent the request at hand."""
    found: Caller = g.caller
    return found


def name_of(body: ByBody) -> str:
    """Return what the journal calls whoever sent a body.

    Raises:
        Refused: Somebody gave the name of a part of the drill.
    """
    if not body.by:
        return caller().name
    if body.by.casefold() in RESERVED and body.by != caller().name:
        raise Refused(400, f"by: {body.by} is a name of the drill's own", "give your own name, or none")
    return body.by


def page_view(desk: Desk, role: Role) -> dict[str, Any]:
    """Return a role's view, when it ended, and which commands were run; their outputs are asked for one by one."""
    view, ended = desk.view(role), desk.drill().end
    end = {**view["end"], "at_unix_s": ended.at_unix_s} if view["end"] and ended else view["end"]
    runbook = with_html(view["runbook"])
    return {**view, "end": end, "runbook": runbook, "role": role, "commands": _commands(desk)}


def _commands(desk: Desk) -> list[dict[str, Any]]:
    """Return the last time that each command was run."""
    last = {(entry.detail.get("step"), entry.detail.get("command")): entry for entry in desk.drill().of("command")}
    return [_short(entry) for entry in last.values()]


def _short(entry: Entry) -> dict[str, Any]:
    detail = {key: entry.detail.get(key) for key in COMMAND_KEYS}
    return entry_json(entry.seq, entry.at_unix_s, entry.by, detail)


class Api:
    """The routes, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def register(self, app: Flask) -> None:
        """Add the routes."""
        app.add_url_rule("/api/view", "view", self.view, methods=["GET"])
        app.add_url_rule("/api/command", "command_output", self.command_output, methods=["GET"])
        for name in ("mark", "hint", "note", "step", "command", "stop"):
            app.add_url_rule(f"/api/{name}", name, getattr(self, name), methods=["POST"])

    def view(self) -> Response:
        """Return what the caller's page shows."""
        return jsonify(page_view(self._desk, caller().role))

    def mark(self) -> Response:
        """Mark."""
        body = body_as(MarkBody)
        self._desk.mark(body.mark, name_of(body))
        return jsonify(mark=body.mark)

    def hint(self) -> Response:
        """Give a hint away."""
        return jsonify(hint=self._desk.hint(name_of(body_as(ByBody))))

    def note(self) -> Response:
        """Write a note."""
        body = body_as(NoteBody)
        self._desk.note(body.text, name_of(body))
        return jsonify(text=body.text)

    def step(self) -> Response:
        """Tick or skip a step."""
        body = body_as(StepBody)
        self._desk.step(body.step, body.done, name_of(body))
        return jsonify(step=body.step, done=body.done)

    def command(self) -> Response:
        """Run a command of the runbook and return what it said."""
        body = body_as(CommandBody)
        detail: Mapping[str, Any] = self._desk.run_command(body.step, body.number, name_of(body))
        return jsonify(dict(detail))

    def command_output(self) -> Response:
        """Return a command's entry."""
        wanted = request.args.get("seq", "")
        entry = next((one for one in self._desk.drill().of("command") if str(one.seq) == wanted), None)
        if entry is None:
            raise Refused(404, "no command has that number", "take seq from commands in /api/view")
        return jsonify(entry_json(entry.seq, entry.at_unix_s, entry.by, entry.detail))

    def stop(self) -> Response:
        """Pull the safety stop."""
        body = body_as(StopBody)
        by = name_of(body)
        self._desk.stop(body.reason or f"pulled on the page by {by}", by)
        return jsonify(stopped=True)
