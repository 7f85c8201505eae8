"""A double of an API server as the doctor and init see it: identity, reviews, lists, Leases; it takes no write.

Shapes and statuses are those of the Kubernetes API; what a real server does is tested on the light testbed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

LABELS = {"gameday.local/opt-in": "true"}
UID = "0b6c7f0e-0000-4000-8000-000000000001"
USER = "system:serviceaccount:gameday-system:gameday-runner"
GROUPS = {
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "v1": {"Namespace": "namespaces", "Node": "nodes", "Service": "services", "Pod": "pods"},
    "networking.k8s.io/v1": {"Ingress": "ingresses"},
}


def refused(code: int, reason: str, message: str) -> web.Response:
    """Return a Status object as the API server makes it."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
    return web.json_response(body, status=code)


@dataclass
class PaperApi:
    """Answers; tests change what it says.

    Attributes:
        token: The one that is taken.
        denied: ``verb resource`` of access reviews that are denied.
        objects: Lists by plural.
        asked: Method and path of each request.
        writes: Those that would have changed something.
    """

    token: str = "pl4nted-runner"
    denied: set[str] = field(default_factory=set)
    objects: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return refused(401, "Unauthorized", "Unauthorized")
        if request.method == "POST" and request.path.endswith("reviews"):
            return await self._review(request)
        if request.method != "GET":
            self.writes.append(self.asked[-1])
            return refused(403, "Forbidden", "this double takes no write")
        if request.query.get("watch"):
            await asyncio.sleep(60)
        return self._read(request.path.strip("/").split("/"))

    async def _review(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["kind"] == "SelfSubjectReview":
            return web.json_response({**body, "status": {"userInfo": {"username": USER}}}, status=201)
        asked = body["spec"]["resourceAttributes"]
        allowed = f"{asked['verb']} {asked['resource']}" not in self.denied
        return web.json_response({**body, "status": {"allowed": allowed}}, status=201)

    def _read(self, parts: list[str]) -> web.Response:
        if parts == ["version"]:
            return web.json_response({"gitVersion": "v1.35.4"})
        version, rest = ("v1", parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if not rest:
            return self._discovery(version)
        if len(rest) == 2 and rest[0] == "namespaces":
            meta = {"name": rest[1], "uid": UID if rest[1] == "kube-system" else rest[1], "labels": LABELS}
            return web.json_response({"kind": "Namespace", "metadata": meta})
        if rest[-2:] == ["leases", "gameday-reaper"]:
            return web.json_response(_reaper())
        if rest[-1] in {"gameday-run", "gameday-halt"}:
            return refused(404, "NotFound", f"{rest[-1]} not found")
        metadata = {"resourceVersion": "7"}
        return web.json_response({"kind": "List", "metadata": metadata, "items": self.objects.get(rest[-1], [])})

    def _discovery(self, version: str) -> web.Response:
        kinds = GROUPS.get(version)
        if kinds is None:
            return refused(404, "NotFound", "the server could not find the requested resource")
        found = [{"name": plural, "kind": kind, "namespaced": True} for kind, plural in kinds.items()]
        return web.json_response({"kind": "APIResourceList", "groupVersion": version, "resources": found})


def _reaper() -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "reaper-1", "renewTime": now, "leaseDurationSeconds": 8}
    return {
        "metadata": {"name": "gameday-reaper", "annotations": {"gameday.local/undoes": "create,delete,none,patch"}},
        "spec": spec,
    }


def pod(name: str, namespace: str, app: str) -> dict[str, Any]:
    """Return a Ready pod."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": name, "labels": {"app": app}},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def node(name: str, allocatable: dict[str, str]) -> dict[str, Any]:
    """Return a Ready node."""
    ready = [{"type": "Ready", "status": "True"}]
    meta = {"name": name, "uid": name, "resourceVersion": "7", "labels": {}}
    return {"metadata": meta, "spec": {}, "status": {"allocatable": allocatable, "conditions": ready}}


def budget(name: str, namespace: str) -> dict[str, Any]:
    """Return a disruption budget of two for the pods that are called like it."""
    status = {"currentHealthy": 3, "desiredHealthy": 2, "disruptionsAllowed": 1, "expectedPods": 3}
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"pdb-{name}", "generation": 1},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": name}}},
        "status": {"observedGeneration": 1, **status},
    }
