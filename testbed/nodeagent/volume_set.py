"""The volumes of one pod on disk: made before its containers start, written again when what they show changes."""

import asyncio
import time

from testbed.nodeagent.environment import PodFacts
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.runtime import PodPlace
from testbed.nodeagent.sources import SourceReader
from testbed.nodeagent.volumes import (
    TokenRef,
    refuse_unsupported,
    token_references,
    volume_files,
    volume_references,
    write_files,
)

TOKEN_RENEWAL_RATIO = 0.8
"""Share of a token's life after which the kubelet fetches the next one."""


class VolumeSet:
    """Volumes of one pod."""

    def __init__(self, place: PodPlace, sources: SourceReader) -> None:
        self._place, self._sources = place, sources
        self._lock = asyncio.Lock()
        self._uses: set[tuple[str, str]] = set()
        self._tokens: dict[TokenRef, str] = {}
        self._renew_at_s = float("inf")

    def uses(self, kind: str, name: str) -> bool:
        """Tell whether a volume shows the ConfigMap or Secret `name`."""
        return (kind, name) in self._uses

    def renewal_due(self) -> bool:
        """Tell whether a ServiceAccount token is old enough to be renewed."""
        return time.monotonic() >= self._renew_at_s

    async def set_up(self, pod: Obj, facts: PodFacts) -> None:
        """Write every volume.

        Raises:
            VolumeError: something is missing or not offered here.
            ApiError: the API server refused or did not answer.
        """
        async with self._lock:
            spec = pod["spec"]
            refuse_unsupported(spec)
            references = list(volume_references(spec))
            self._uses = {(reference.kind, reference.name) for reference in references}
            sources = await self._sources.read(self._place.namespace, references)
            await self._fetch_tokens(pod)
            for volume in spec.get("volumes", []):
                folder = self._place.volumes / volume["name"]
                files = volume_files(volume, facts, sources, self._tokens)
                if files is None:
                    folder.mkdir(parents=True, exist_ok=True)
                else:
                    write_files(folder, files)

    async def _fetch_tokens(self, pod: Obj) -> None:
        wanted = set(token_references(pod["spec"]))
        if not wanted or (self._tokens and not self.renewal_due()):
            return
        self._tokens = await self._sources.tokens(pod, wanted)
        shortest_s = min(reference.lifetime_s for reference in wanted)
        self._renew_at_s = time.monotonic() + TOKEN_RENEWAL_RATIO * shortest_s
