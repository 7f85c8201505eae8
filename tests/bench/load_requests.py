"""What every generator of `make bench-load` sends: the same two requests. Data only."""

from __future__ import annotations

PATH = "/v1/plan"
BODY = {
    "conversation_id": "19acb2e4f10-0-17-3",
    "turn": 4,
    "tool_calls": 2,
    "payload": "Plan the next step of the incident review, please, now.",
}
METHODS = ("GET", "POST")
CONNECTIONS = 50
