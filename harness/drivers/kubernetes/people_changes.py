"""What differs between two states of an object that people care about, in words. Pure: no request, no clock.

Told are changes of what somebody asks for, never of a status. Values of environment variables, arguments and the like
are never told, since they may be secrets: only which of them changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.drivers.kubernetes.facts import PAUSED_ANNOTATIONS, controller_of, taint_text
from harness.drivers.kubernetes.people_origin import Author, FieldPath, author_of, ours_by_label, remover_of
from harness.model.drill import Origin

Json = Mapping[str, Any]
Revisions = Sequence[tuple[str, Json]]
"""Older templates of a workload, by the number of their revision."""

RESTART_ANNOTATION = "kubectl.kubernetes.io/restartedAt"
HASH_LABEL = "pod-template-hash"
CORDON_TAINT = "node.kubernetes.io/unschedulable"
"""Follows a cordon by itself; the cordon is told."""

WATCHED_ANNOTATIONS = (
    *PAUSED_ANNOTATIONS,
    "kustomize.toolkit.fluxcd.io/reconcile",
    "cluster-autoscaler.kubernetes.io/scale-down-disabled",
    "karpenter.sh/do-not-disrupt",
)
_WORDS: Mapping[str, str] = {
    "minReplicas": "min replicas",
    "maxReplicas": "max replicas",
    "minReplicaCount": "min replicas",
    "maxReplicaCount": "max replicas",
    "scaleTargetRef": "target",
}
_FLAGS: Mapping[str, tuple[str, str]] = {
    "paused": ("rollout resumed", "rollout paused"),
    "unschedulable": ("uncordoned", "cordoned"),
}
_NODE_KEYS = ("unschedulable", "taints")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs, in words, and the field by which its author is known."""

    what: str
    path: FieldPath


def actions_between(before: Json | None, after: Json | None, revisions: Revisions = ()) -> list[dict[str, str]]:
    """Return what somebody changed between two states of an object, as details of ``action`` entries.

    Args:
        before: The object as it was, with its ``kind``; None where it is new.
        after: The object as it is; None where it is gone.
        revisions: Older templates of a workload, to tell a rollback.
    """
    if after is None:
        return [] if before is None else [action(before, "deleted", _remover(before))]
    if before is None:
        return [action(after, "created", author_of(None, after, ()))]
    found = [(change, author_of(before, after, change.path)) for change in _changes(before, after, revisions)]
    return [action(after, change.what, author) for change, author in found]


def action(obj: Json, what: str, author: Author) -> dict[str, str]:
    """Return the detail of an ``action`` entry (`harness.model.drill`)."""
    meta = obj["metadata"]
    where = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])
    told = {"object": f"{obj['kind']} {where}", "what": what, "manager": author.manager}
    return {**told, "origin": author.origin.value}


def _remover(obj: Json) -> Author:
    """Return who deleted an object: where it belongs to another, that one's controller."""
    owner = "" if ours_by_label(obj) else controller_of(obj)
    return Author(owner, Origin.CONTROLLER) if owner else remover_of(obj)


def _changes(before: Json, after: Json, revisions: Revisions) -> Iterator[Change]:
    old, new = before.get("spec") or {}, after.get("spec") or {}
    node = after["kind"] == "Node"
    for key in sorted({*old, *new}):
        if old.get(key) == new.get(key) or (node and key not in _NODE_KEYS):
            continue
        teller = _TELLERS.get(key, _told_plainly)
        yield from teller(key, old.get(key), new.get(key), revisions)
    yield from _annotations(before, after)
    if node:
        yield from _labels(before, after)


def _told_plainly(key: str, old: Any, new: Any, revisions: Revisions) -> Iterator[Change]:
    """Tell numbers and texts as they are, and anything larger by its name."""
    del revisions
    word, plain = _WORDS.get(key, key), (str, int, float, type(None))
    values = isinstance(old, plain) and isinstance(new, plain)
    yield Change(f"{word} {_value(old)} → {_value(new)}" if values else f"{word} changed", ("f:spec", f"f:{key}"))


def _flag(key: str, old: Any, new: Any, revisions: Revisions) -> Iterator[Change]:
    del revisions
    if bool(old) != bool(new):
        yield Change(_FLAGS[key][bool(new)], ("f:spec", f"f:{key}"))


def _taints(key: str, old: Any, new: Any, revisions: Revisions) -> Iterator[Change]:
    del revisions
    had, has = ({taint_text(one) for one in taints or () if one["key"] != CORDON_TAINT} for taints in (old, new))
    parts = [f"taint {one} added" for one in sorted(has - had)] + [f"taint {one} removed" for one in sorted(had - has)]
    if parts:
        yield Change(", ".join(parts), ("f:spec", f"f:{key}"))


def _template(key: str, old: Any, new: Any, revisions: Revisions) -> Iterator[Change]:
    """Tell a change of a pod template as one: a restart, a rollback, or what of it differs."""
    del key
    found = list(_template_parts(old or {}, new or {}))
    if not found:
        return
    path = ("f:spec", "f:template", *found[0].path)
    text = ", ".join(part.what for part in found)
    if all(part.path[-1] == f"f:{RESTART_ANNOTATION}" for part in found):
        yield Change("restarted (rollout restart)", path)
        return
    older = next((number for number, template in revisions if same_template(template, new)), "")
    yield Change(f"rolled back to revision {older}: {text}" if older else text, path)


def same_template(one: Json, other: Json) -> bool:
    """Tell whether two pod templates ask for the same, whatever hash the ReplicaSet's carries."""
    return _plain_template(one) == _plain_template(other)


def _plain_template(template: Json) -> tuple[Any, Any, Any]:
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH_LABEL}
    return template.get("spec"), labels, meta.get("annotations") or {}


def _template_parts(old: Json, new: Json) -> Iterator[Change]:
    yield from _containers(old.get("spec") or {}, new.get("spec") or {})
    for key in _differing(old.get("spec") or {}, new.get("spec") or {}):
        if key != "containers":
            yield Change(f"pod {key}", ("f:spec", f"f:{key}"))
    for part in ("annotations", "labels"):
        had, has = ((one.get("metadata") or {}).get(part) or {} for one in (old, new))
        for key in _differing(had, has):
            yield Change(f"pod {part[:-1]} {key}", ("f:metadata", f"f:{part}", f"f:{key}"))


def _containers(old: Json, new: Json) -> Iterator[Change]:
    had, has = ({one["name"]: one for one in spec.get("containers") or ()} for spec in (old, new))
    for name in sorted({*had, *has}):
        path = ("f:spec", "f:containers", f"k:{json.dumps({'name': name}, separators=(',', ':'))}")
        if name not in had or name not in has:
            yield Change(f"container {name} {'added' if name in has else 'removed'}", path)
            continue
        for key in _differing(had[name], has[name]):
            yield Change(_container_part(name, key, had[name], has[name]), (*path, f"f:{key}"))


def _container_part(name: str, key: str, old: Json, new: Json) -> str:
    if key == "image":
        return f"image of {name} {_value(old.get(key))} → {_value(new.get(key))}"
    if key == "env":
        had, has = ({one["name"]: one for one in env or ()} for env in (old.get(key), new.get(key)))
        return f"env {', '.join(_differing(had, has)) or 'order'} of {name}"
    return f"{key} of {name}"


def _annotations(before: Json, after: Json) -> Iterator[Change]:
    old, new = (one["metadata"].get("annotations") or {} for one in (before, after))
    for key in WATCHED_ANNOTATIONS:
        if old.get(key) != new.get(key):
            text = f"{key} {_value(old.get(key))} → {_value(new.get(key))}"
            yield Change(text, ("f:metadata", "f:annotations", f"f:{key}"))


def _labels(before: Json, after: Json) -> Iterator[Change]:
    old, new = (one["metadata"].get("labels") or {} for one in (before, after))
    for key in _differing(old, new):
        text = f"label {key} {_value(old.get(key))} → {_value(new.get(key))}"
        yield Change(text, ("f:metadata", "f:labels", f"f:{key}"))


def _differing(old: Json, new: Json) -> list[str]:
    return [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def _value(value: Any) -> str:
    return "unset" if value is None else str(value)


Teller = Callable[[str, Any, Any, Revisions], Iterator[Change]]
_TELLERS: Mapping[str, Teller] = {
    "template": _template,
    "taints": _taints,
    "paused": _flag,
    "unschedulable": _flag,
}
