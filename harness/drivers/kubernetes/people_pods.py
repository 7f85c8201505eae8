"""Why pods went, and which templates a workload had before: what ReplicaSets and the pods themselves tell. No request.

Nobody's name is on a deletion. What controllers take away is known by state (a set that asks for fewer, a condition
that names the cause); a pod that went without such a reason was taken by somebody, and who it was is not known.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.drivers.kubernetes.facts import condition, controller_of, holds
from harness.drivers.kubernetes.inventory import DELETED, News
from harness.drivers.kubernetes.people_changes import Revisions, action
from harness.drivers.kubernetes.people_origin import remover_of

Json = Mapping[str, Any]

REVISION = "deployment.kubernetes.io/revision"
EVICTED = "EvictionByEvictionAPI"
_FINISHED = {"Succeeded", "Failed"}
_SETS = ("ReplicaSet", "StatefulSet")


@dataclass
class _Set:
    """A ReplicaSet or StatefulSet: how many pods it still has to take away, and what it was first seen with."""

    owner: str
    template: Json
    revision: str
    replicas: int
    update: str
    owed: int = 0


class PodSets:
    """ReplicaSets and StatefulSets by uid. Thread-safe: their watches write, the others ask."""

    def __init__(self) -> None:
        self._sets: dict[str, _Set] = {}
        self._lock = threading.Lock()

    def take(self, before: Json | None, after: Json | None) -> list[News]:
        """Take a state of a set; never news by itself."""
        obj = after or before
        if obj is None:
            return []
        with self._lock:
            self._take(obj, gone=after is None)
        return []

    def _take(self, obj: Json, *, gone: bool) -> None:
        meta, spec = obj["metadata"], obj.get("spec") or {}
        replicas = 0 if gone else int(spec.get("replicas") or 0)
        update = str((obj.get("status") or {}).get("updateRevision") or "")
        known = self._sets.get(meta["uid"])
        if known is None:
            owner = next((o["uid"] for o in meta.get("ownerReferences") or () if o.get("controller")), "")
            revision = str((meta.get("annotations") or {}).get(REVISION, ""))
            self._sets[meta["uid"]] = _Set(owner, spec.get("template") or {}, revision, replicas, update)
            return
        known.owed += max(0, known.replicas - replicas) + (replicas if update != known.update else 0)
        known.replicas, known.update = replicas, update

    def older(self, deployment: Json) -> Revisions:
        """Return the templates of a Deployment's revisions before the one that it has."""
        current = str((deployment["metadata"].get("annotations") or {}).get(REVISION, ""))
        with self._lock:
            sets = [one for one in self._sets.values() if one.owner == deployment["metadata"]["uid"]]
        return [
            (one.revision, one.template)
            for one in sets
            if one.revision.isdecimal() and current.isdecimal() and int(one.revision) < int(current)
        ]

    def took(self, pod: Json) -> bool:
        """Tell whether the pod's own set had a pod to take away, and count it as this one."""
        owners = pod["metadata"].get("ownerReferences") or ()
        uid = next((o["uid"] for o in owners if o.get("controller")), "")
        with self._lock:
            known = self._sets.get(uid)
            if known is None or known.owed < 1:
                return False
            known.owed -= 1
            return True


class PodLosses:
    """Pods that began to go, each once; `take_due` hands them on."""

    def __init__(self) -> None:
        self._present: dict[str, Json] = {}
        self._going: set[str] = set()

    def replace(self, items: Sequence[Json]) -> list[News]:
        """Take a whole list; what it lacks has gone meanwhile."""
        listed = {item["metadata"]["uid"]: item for item in items}
        gone = [self._present[uid] for uid in sorted(self._present.keys() - listed.keys())]
        news = [found for pod in gone for found in self._lost(pod)]
        news += [found for pod in items for found in self._seen(pod)]
        self._present, self._going = listed, self._going & listed.keys()
        return news

    def apply(self, change: str, obj: Json) -> list[News]:
        """Take one watch event."""
        uid = obj["metadata"]["uid"]
        if change != DELETED:
            self._present[uid] = obj
            return self._seen(obj)
        known = self._present.pop(uid, None)
        news = [] if known is None else self._lost(obj)
        self._going.discard(uid)
        return news

    def _seen(self, pod: Json) -> list[News]:
        return self._lost(pod) if pod["metadata"].get("deletionTimestamp") else []

    def _lost(self, pod: Json) -> list[News]:
        uid = pod["metadata"]["uid"]
        if uid in self._going:
            return []
        self._going.add(uid)
        return [News("pod-loss", uid, pod)]


def loss_of(pod: Json, sets: PodSets) -> dict[str, str] | None:
    """Return the ``action`` of a pod that goes, or None where nobody did that but its own controller or its end."""
    owner = controller_of(pod)
    if (owner and not owner.startswith(_SETS)) or (pod.get("status") or {}).get("phase") in _FINISHED:
        return None
    cause = condition(pod, "DisruptionTarget")
    if holds(cause):
        if cause.get("reason") == EVICTED:
            return action(pod, f"evicted from {(pod.get('spec') or {}).get('nodeName') or 'its node'}", remover_of(pod))
        return None
    return None if sets.took(pod) else action(pod, "deleted", remover_of(pod))
