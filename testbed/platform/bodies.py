"""Reads and checks JSON request bodies. Knows the shape of requests and nothing of what is done with them."""

import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

TEXT_MAX = 200


class BadBody(ValueError):
    """The body is not what the endpoint takes; the text says which field and why."""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation: ``POST /v1/plan``."""

    conversation_id: str
    turn: int
    tool_calls: int
    payload: str


@dataclass(frozen=True)
class Inference:
    """One completion asked of a model: ``POST /v1/infer``."""

    prompt: str
    max_tokens: int


async def json_object(request: web.Request) -> dict[str, Any]:
    """Return the body as a JSON object; raises BadBody otherwise."""
    try:
        body = json.loads(await request.read())
    except (ValueError, UnicodeDecodeError):
        raise BadBody("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadBody("the body is not a JSON object")
    return body


def turn_of(body: dict[str, Any], tool_calls_max: int) -> Turn:
    """Return the turn in ``body``; raises BadBody with the field at fault."""
    conversation_id = body.get("conversation_id")
    if not isinstance(conversation_id, str) or not 0 < len(conversation_id) <= TEXT_MAX:
        raise BadBody(f"conversation_id must be a text of 1 to {TEXT_MAX} characters")
    payload = body.get("payload", "")
    return Turn(
        conversation_id,
        _whole(body, "turn", 0, 0, 1_000_000),
        _whole(body, "tool_calls", 0, 0, tool_calls_max),
        payload if isinstance(payload, str) else json.dumps(payload),
    )


def inference_of(body: dict[str, Any]) -> Inference:
    """Return the completion asked for in ``body``; raises BadBody with the field at fault."""
    prompt = body.get("prompt", "")
    if not isinstance(prompt, str):
        raise BadBody("prompt must be a text")
    return Inference(prompt, _whole(body, "max_tokens", 64, 1, 4096))


def tool_call_of(body: dict[str, Any]) -> str:
    """Return the task id of the tool call in ``body``: ``POST /v1/tool``; raises BadBody."""
    task_id = body.get("task_id")
    if not isinstance(task_id, str) or not 0 < len(task_id) <= 2 * TEXT_MAX:
        raise BadBody(f"task_id must be a text of 1 to {2 * TEXT_MAX} characters")
    return task_id


def _whole(body: dict[str, Any], key: str, default: int, minimum: int, maximum: int) -> int:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise BadBody(f"{key} must be a whole number from {minimum} to {maximum}")
    return value


def tokens_of(text: str) -> int:
    """Estimate the tokens of ``text``: one for every four characters, at least one."""
    return max(1, len(text) // 4)
