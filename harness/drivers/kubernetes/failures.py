"""What an API server's refusal means, as a `PortError` with a remedy. Nothing here sends a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.model.errors import PortError

SYSTEM = "kubernetes"

_REMEDIES: Mapping[int, str] = {
    401: "the credentials of this context are not accepted: renew them",
    403: "grant this verb to the user of this context, or choose another context",
    404: "check that the object exists and that its API is installed",
    409: "the object was changed meanwhile: read it again",
    429: "the API server asks us to slow down: try again later",
    503: "the API behind this path is not available: `kubectl get apiservices`",
}

_ALREADY_THERE = "delete the object first if it is left over"


@dataclass(eq=False)
class ApiError(PortError):
    """The API server answered, and the answer is an error.

    Attributes:
        status: HTTP status, or the code of a Status object inside a watch.
        reason: ``reason`` of the Status object, such as ``Conflict``.
        causes: ``reason: message`` of every cause in ``details``.
        retry_after_s: When it wants to be asked again (429, 503), or 0 where it does not say.
    """

    status: int = 0
    reason: str = ""
    causes: tuple[tuple[str, str], ...] = ()
    retry_after_s: float = 0.0


@dataclass(eq=False)
class SilenceError(PortError):
    """Nothing came within the time-out (CASES B01): the peer may have been gone for a while."""


def refusal(operation: str, status: int, body: bytes | str, retry_after: str | None = None) -> ApiError:
    """Build the error of an HTTP answer that is not 2xx.

    Args:
        operation: What was asked, such as ``list pods in agents``.
        status: HTTP status.
        body: Body of the answer; a Status object where the API server made it.
        retry_after: Header of that name; a date in it counts as nothing said.
    """
    error = status_error(operation, _status_object(status, body), status)
    error.retry_after_s = float(retry_after) if retry_after and retry_after.strip().isdecimal() else 0.0
    return error


def status_error(operation: str, found: Mapping[str, Any], status: int = 0) -> ApiError:
    """Build the error of a Status object (an HTTP body, or an ERROR event of a watch)."""
    code = status or int(found.get("code") or 0)
    causes = tuple(
        (str(cause.get("reason", "")), str(cause.get("message", "")))
        for cause in (found.get("details") or {}).get("causes") or ()
    )
    said = "; ".join([str(found.get("message") or found.get("reason") or "no message"), *(text for _, text in causes)])
    reason = str(found.get("reason") or "")
    remedy = _ALREADY_THERE if reason == "AlreadyExists" else _REMEDIES.get(code, "")
    return ApiError(SYSTEM, operation, f"{code}: {said}", remedy, code, reason, causes)


def _status_object(status: int, body: bytes | str) -> Mapping[str, Any]:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, Mapping) and found.get("kind") == "Status":
        return found
    return {"code": status, "message": text.strip()[:300] or "an empty answer"}


def bad_answer(operation: str, problem: str) -> PortError:
    """Build the error of an answer that is no answer to the question (CASES B06)."""
    return PortError(SYSTEM, operation, f"bad answer: {problem}", "is this address a Kubernetes API server?")
