"""Answers of the server: refusals as {"error", "remedy"}, bodies read by their shape, headers that every answer has.

Must not show a traceback, a token or a body to anybody; what is a mistake of our own goes to the log.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any, TypeVar

from flask import Flask, Response, jsonify, request
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from werkzeug.exceptions import HTTPException

from harness.model.drill import DrillError

_logger = logging.getLogger("gameday.drill.web")

API_BODY_MAX_BYTES = 16 * 1024
HOOK_BODY_MAX_BYTES = 256 * 1024
"""PagerDuty's own limit, the largest of the three that is documented."""

PROBLEM_MAX_CHARS = 300

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

REMEDIES = {
    400: "see the API's table in harness/drill/web/__init__.py, and use the address that the drill printed",
    404: "the pages are /facilitator and /participants",
    405: "see the API's table in harness/drill/web/__init__.py",
    413: f"send at most {API_BODY_MAX_BYTES} bytes, to a webhook at most {HOOK_BODY_MAX_BYTES}",
}


class Refused(Exception):
    """A request that is refused.

    Attributes:
        status: HTTP's.
        problem: What is wrong.
        remedy: What to do.
    """

    def __init__(self, status: int, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.status, self.problem, self.remedy = status, problem, remedy


def without_controls(text: str) -> str:
    """Drop control characters: a note is also shown by terminals."""
    kept = (c if c in "\n\t" or c.isprintable() else " " if c.isspace() else "" for c in text)
    return "".join(kept)


Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60), AfterValidator(without_controls)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000), AfterValidator(without_controls)]


class Body(BaseModel):
    """A body of the API: knows all its keys, guesses no types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


AnyModel = TypeVar("AnyModel", bound=BaseModel)


def raw_body(max_bytes: int) -> bytes:
    """Return the request's body as it was sent.

    One that comes in chunks is cut at the limit and not refused there, hence the byte more.

    Raises:
        Refused: It is larger, or its chunks are broken.
    """
    request.max_content_length = max_bytes + 1
    try:
        raw = request.get_data(cache=False)
    except OSError:
        raise Refused(400, "the body's chunks are broken", "send Content-Length instead") from None
    if len(raw) > max_bytes:
        raise Refused(413, "request entity too large", REMEDIES[413])
    return raw


def body_as(model: type[AnyModel]) -> AnyModel:
    """Return the request's body; an empty one is an empty object.

    Raises:
        Refused: It is not JSON.
        ValidationError: It has another shape; answered as 400.
    """
    raw = raw_body(API_BODY_MAX_BYTES)
    if raw and request.mimetype != "application/json":
        raise Refused(415, "the body is not said to be JSON", "send Content-Type: application/json")
    return model.model_validate_json(raw or b"{}")


def refusal(status: int, problem: str, remedy: str) -> Response:
    """Return a refusal as every client gets it."""
    answer = jsonify(error=problem[:PROBLEM_MAX_CHARS], remedy=remedy)
    answer.status_code = status
    return answer


def shape_problem(error: ValidationError) -> str:
    """Say the first thing that is wrong with a body, without what it held."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the body"
    return without_controls(f"{place}: {first['msg']}")


def install(app: Flask) -> None:
    """Answer every error as a refusal, and give every answer its headers."""
    app.register_error_handler(Refused, lambda e: refusal(e.status, e.problem, e.remedy))
    app.register_error_handler(DrillError, lambda e: refusal(409, e.problem, e.remedy))
    app.register_error_handler(ValidationError, lambda e: refusal(400, shape_problem(e), REMEDIES[400]))
    app.register_error_handler(HTTPException, _http_refusal)
    app.register_error_handler(Exception, _own_mistake)
    app.after_request(_with_headers)


def _http_refusal(error: HTTPException) -> Response:
    status = error.code or 500
    answer = refusal(status, error.name.lower(), REMEDIES.get(status, "see the drill's terminal"))
    if "Allow" in (headers := dict(error.get_headers())):
        answer.headers["Allow"] = headers["Allow"]
    return answer


def _own_mistake(error: Exception) -> Response:
    _logger.error("%s %s", request.method, request.path, exc_info=error)
    return refusal(500, "the drill's server made a mistake", "see the drill's terminal; the drill goes on")


def _with_headers(answer: Response) -> Response:
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def entry_json(seq: int, at_unix_s: float, by: str, detail: Any) -> dict[str, Any]:
    """Return an entry of the journal as the API shows it."""
    return {"seq": seq, "at_unix_s": at_unix_s, "by": by, **detail}
