"""Doubles of the APIs that a run is announced to, held to the shapes that their documentation gives.

Alertmanager's API v2 (POST and GET /api/v2/silences, DELETE /api/v2/silence/{id}), Grafana's annotations (POST and
PATCH /api/annotations), and a webhook. Each refuses what the real one would refuse.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

MATCHER = {"name": str, "value": str, "isRegex": bool, "isEqual": bool}


@dataclass
class Peers:
    """All three behind one address; ``status`` other than 200 answers everything with it."""

    token: str = "pl4nted-peer-token"
    status: int = 200
    webhook: list[dict[str, Any]] = field(default_factory=list)
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    silences: dict[str, dict[str, Any]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.order.append(f"{request.method} {request.path}")
        if self.status != 200:
            return web.Response(status=self.status, text="no")
        if request.path.startswith("/hooks/"):
            self.webhook.append(await request.json())
            return web.Response(text="ok")
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        if request.path.startswith("/api/annotations"):
            return await self._annotate(request)
        return await self._silence(request)

    async def _annotate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if request.method == "POST":
            if not (isinstance(body["time"], int) and isinstance(body["tags"], list) and body["text"]):
                return web.json_response({"message": "bad request data"}, status=400)
            number = next(self._ids)
            self.annotations[number] = body
            return web.json_response({"message": "Annotation added", "id": number})
        number = int(request.path.rpartition("/")[2])
        if number not in self.annotations:
            return web.json_response({"message": "Could not find annotation"}, status=404)
        self.annotations[number] |= body
        return web.json_response({"message": "Annotation patched"})

    async def _silence(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response(list(self.silences.values()))
        if request.method == "DELETE":
            found = self.silences.get(request.path.rpartition("/")[2])
            if found is None or found["status"]["state"] == "expired":
                return web.Response(status=500, text='"silence not found"')
            found["status"] = {"state": "expired"}
            return web.Response()
        body = await request.json()
        wrong = [m for m in body["matchers"] if {k: type(v) for k, v in m.items()} != MATCHER]
        starts, ends = (datetime.fromisoformat(body[key]) for key in ("startsAt", "endsAt"))
        if wrong or not body["matchers"] or not body["createdBy"] or not body["comment"] or starts >= ends:
            return web.json_response("bad silence", status=400)
        silence = f"00000000-0000-0000-0000-{next(self._ids):012d}"
        self.silences[silence] = {**body, "id": silence, "status": {"state": "active"}}
        return web.json_response({"silenceID": silence})
