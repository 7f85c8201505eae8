"""Fetches what a pod's containers and volumes need from the API: ConfigMaps, Secrets, ServiceAccount tokens.

Always asks the API server, so that a container that starts now never sees an older ConfigMap than the one that its
Deployment was rolled out for. Nothing is kept here and nothing is logged but names.
"""

from collections.abc import Iterable

from testbed.nodeagent.api import ApiClient, ApiError
from testbed.nodeagent.environment import SourceRef, contents
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.volumes import TokenRef

_RESOURCES = {"ConfigMap": "configmaps", "Secret": "secrets"}
_NOT_FOUND = 404


class SourceReader:
    """Reads ConfigMaps, Secrets and tokens for pods."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def read(
        self, namespace: str, references: Iterable[SourceRef]
    ) -> dict[tuple[str, str], dict[str, bytes] | None]:
        """Return the contents of each referenced object, None for one that does not exist.

        Raises:
            ApiError: the API server refused or did not answer.
        """
        wanted = {(reference.kind, reference.name) for reference in references}
        return {(kind, name): await self._read_one(namespace, kind, name) for kind, name in sorted(wanted)}

    async def _read_one(self, namespace: str, kind: str, name: str) -> dict[str, bytes] | None:
        try:
            obj = await self._api.request("GET", f"/api/v1/namespaces/{namespace}/{_RESOURCES[kind]}/{name}")
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return contents(kind, obj)

    async def tokens(self, pod: Obj, references: Iterable[TokenRef]) -> dict[TokenRef, str]:
        """Return a fresh token of the pod's ServiceAccount, bound to the pod, for each reference.

        Raises:
            ApiError: the API server refused or did not answer.
        """
        return {reference: await self._token(pod, reference) for reference in set(references)}

    async def _token(self, pod: Obj, reference: TokenRef) -> str:
        meta = pod["metadata"]
        account = pod["spec"].get("serviceAccountName", "default")
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        spec = {
            "audiences": [reference.audience] if reference.audience else [],
            "expirationSeconds": reference.lifetime_s,
            "boundObjectRef": bound,
        }
        path = f"/api/v1/namespaces/{meta['namespace']}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str((await self._api.request("POST", path, request))["status"]["token"])
