"""Who may ask a kubelet API: the API server by its client certificate, others by a token that the API server judges.

As a kubelet with webhook authentication and authorization: TokenReview, then SubjectAccessReview on the node. Answers
are remembered for a minute, refusals too; a token itself is never stored, only its digest.
"""

import hashlib
import time

from aiohttp import web

from testbed.nodeagent.api import ApiClient
from testbed.nodeagent.objects import Obj

REMEMBER_S = 60.0
_SUBRESOURCES = {"metrics": "metrics", "stats": "stats", "containerLogs": "log", "logs": "log", "pods": "pods"}


def needed_right(path: str) -> str:
    """Return the subresource of nodes that a request to `path` needs the right to read."""
    return _SUBRESOURCES.get(path.strip("/").partition("/")[0], "proxy")


class Authenticator:
    """Decides on requests to the kubelet API of a node."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._known: dict[tuple[str, str, str], tuple[float, str]] = {}

    async def refusal(self, request: web.Request, node: str) -> str:
        """Return why a request is refused, empty when it is allowed.

        Raises:
            ApiError: the API server could not be asked.
        """
        if request.transport is not None and request.transport.get_extra_info("peercert"):
            return ""  # the TLS handshake demanded that our own CA signed it
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return "Unauthorized"
        return await self._judged(token, node, needed_right(request.path))

    async def _judged(self, token: str, node: str, right: str) -> str:
        key = (hashlib.sha256(token.encode()).hexdigest(), node, right)
        now_s = time.monotonic()
        self._known = {known: entry for known, entry in self._known.items() if entry[0] > now_s}
        if key not in self._known:
            self._known[key] = (now_s + REMEMBER_S, await self._review(token, node, right))
        return self._known[key][1]

    async def _review(self, token: str, node: str, right: str) -> str:
        review = _review("authentication.k8s.io/v1", "TokenReview", {"token": token})
        who = (await self._api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review))["status"]
        if not who.get("authenticated"):
            return "Unauthorized"
        user = who["user"]
        attributes = {"verb": "get", "version": "v1", "resource": "nodes", "subresource": right, "name": node}
        spec = {"user": user["username"], "groups": user.get("groups", []), "resourceAttributes": attributes}
        access = _review("authorization.k8s.io/v1", "SubjectAccessReview", spec)
        answer = await self._api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", access)
        return "" if answer["status"].get("allowed") else f"Forbidden: {user['username']} may not get nodes/{right}"


def _review(version: str, kind: str, spec: Obj) -> Obj:
    return {"apiVersion": version, "kind": kind, "spec": spec}
