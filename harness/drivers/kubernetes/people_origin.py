"""Who changed an object, as far as its managed fields say. Pure: no request, no clock, and nobody is guessed at.

A field that is set has an owner. One that was taken away has none any more, and a deletion leaves no name at all: what
else the same request wrote may tell, else it is unknown. Names of managers are what clients call themselves: they tell
a person's tool from a controller, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.drivers.kubernetes.connection import FIELD_MANAGER, PLAIN_MANAGER
from harness.model.drill import Origin
from harness.model.fault import OWNER_ANNOTATIONS, RUN_LABEL
from harness.model.restoration import TRACE_ANNOTATION

Json = Mapping[str, Any]
FieldPath = tuple[str, ...]
"""Keys as in ``fieldsV1``: ``("f:spec", "f:replicas")``."""

STATUS = "status"
_SEPARATORS = "-_./"
MANAGERS: Mapping[Origin, tuple[str, ...]] = {
    Origin.GAMEDAY: (FIELD_MANAGER, PLAIN_MANAGER),
    Origin.HUMAN: (
        "kubectl", "oc", "k9s", "lens", "freelens", "headlamp", "kubernetes-dashboard", "dashboard", "mozilla",
    ),
    Origin.GITOPS: (
        "argocd", "argo-cd", "flux", "kustomize-controller", "helm-controller", "source-controller", "helm", "fleet",
        "fleetagent", "kapp",
    ),
    Origin.CONTROLLER: (
        "kube-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver", "cloud-controller-manager",
        "horizontal-pod-autoscaler", "horizontalpodautoscaler", "deployment-controller", "replicaset-controller",
        "statefulset-controller", "disruption-controller", "node-controller", "keda", "vpa", "cluster-autoscaler",
        "karpenter", "rollouts-controller", "argo-rollouts", "prometheusoperator", "cert-manager",
    ),
}  # fmt: skip
"""How managers of each origin begin: a whole name, or one followed by ``-``, ``_``, ``.`` or ``/``."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who made a change: a manager's name, empty where none is known, and what kind of somebody that is."""

    manager: str = ""
    origin: Origin = Origin.UNKNOWN


NOBODY = Author()


def origin_of(manager: str) -> Origin:
    """Return what kind of somebody a field manager is."""
    name = manager.lower()
    found = (origin for origin, known in MANAGERS.items() if any(_begins(name, one) for one in known))
    return next(found, Origin.UNKNOWN)


def _begins(name: str, known: str) -> bool:
    return name.startswith(known) and (len(name) == len(known) or name[len(known)] in _SEPARATORS)


def author_of(before: Json | None, after: Json, path: FieldPath) -> Author:
    """Return who wrote a field that differs between two states of an object.

    Args:
        before: The object as it was, or None where it is new.
        after: The object as it is.
        path: The field; empty for the object itself.
    """
    if ours_by_label(before) or ours_by_label(after):
        return Author(FIELD_MANAGER, Origin.GAMEDAY)
    known = {_writing(entry) for entry in _entries(before)} if before else set()
    fresh = [entry for entry in _entries(after) if _writing(entry) not in known]
    owners = [entry for entry in _entries(after) if path and _owns(entry, path)]
    if not owners and _marked(before or {}, after):
        return Author(FIELD_MANAGER, Origin.GAMEDAY)
    entry = _newest([one for one in owners if one in fresh]) or _newest(owners) or _newest(_of_spec(fresh))
    if entry is None:
        return NOBODY
    manager = str(entry.get("manager", ""))
    return Author(manager, origin_of(manager))


def remover_of(obj: Json) -> Author:
    """Return who deleted an object: a run its helpers; of any other a deletion leaves no name."""
    return Author(FIELD_MANAGER, Origin.GAMEDAY) if ours_by_label(obj) else NOBODY


def ours_by_label(obj: Json | None) -> bool:
    """Tell whether an object is a helper of a run: it carries the run's label."""
    return RUN_LABEL in ((obj or {}).get("metadata", {}).get("labels") or {})


def _marked(before: Json, after: Json) -> bool:
    """Tell whether the marks of our changes and undos differ, which travel in the same request (DESIGN U1)."""
    return _marks(before) != _marks(after)


def _marks(obj: Json) -> dict[str, str]:
    annotations = obj.get("metadata", {}).get("annotations") or {}
    return {k: v for k, v in annotations.items() if k == TRACE_ANNOTATION or k.startswith(OWNER_ANNOTATIONS)}


def _entries(obj: Json) -> list[Json]:
    return list(obj["metadata"].get("managedFields") or ())


def _writing(entry: Json) -> tuple[str, ...]:
    """Return what tells one writing from another: an entry also shrinks when somebody else takes a field away."""
    return tuple(str(entry.get(key, "")) for key in ("manager", "operation", "subresource", "time"))


def _of_spec(entries: Iterable[Json]) -> list[Json]:
    return [entry for entry in entries if entry.get("subresource") != STATUS]


def _newest(entries: list[Json]) -> Json | None:
    return max(entries, key=lambda entry: str(entry.get("time", "")), default=None)


def _owns(entry: Json, path: FieldPath) -> bool:
    """Tell whether an entry owns a field: by itself, or as part of something that is owned whole."""
    node: Any = entry.get("fieldsV1") or {}
    for number, key in enumerate(path):
        if number and not node:
            return True
        if not isinstance(node, Mapping) or key not in node:
            return False
        node = node[key]
    return True
