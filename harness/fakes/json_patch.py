"""Carries out the JSON patch operations that `harness.model.pointer` plans, on plain objects. A subset of RFC 6902."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from harness.model.pointer import Operation, resolve, set_operations

Json = dict[str, Any]


def applied(obj: Mapping[str, Any], operations: Iterable[Operation]) -> Json:
    """Return a copy of an object with operations carried out: ``test``, ``add``, ``replace`` and ``remove``.

    Raises:
        ValueError: A test failed: the object is not as it was seen.
    """
    changed = copy.deepcopy(dict(obj))
    for operation in operations:
        _apply(changed, operation)
    return changed


def with_values(obj: Mapping[str, Any], values: Mapping[str, Any]) -> Json:
    """Return a copy of an object with values set by pointer; None removes."""
    operations: list[Operation] = []
    for pointer, value in values.items():
        operations += set_operations(obj, operations, pointer, value)
    return applied(obj, operations)


def _apply(obj: Json, operation: Operation) -> None:
    path, verb = operation["path"], operation["op"]
    if verb == "test":
        if resolve(obj, path) != operation["value"]:
            raise ValueError(f"{path} is not {operation['value']!r}")
        return
    above, _, last = path.rpartition("/")
    parent = resolve(obj, above) if above else obj
    if isinstance(parent, list):
        _apply_item(parent, verb, last, operation.get("value"))
    elif verb == "remove":
        del parent[_plain(last)]
    else:
        parent[_plain(last)] = copy.deepcopy(operation["value"])


def _apply_item(items: list[Any], verb: str, place: str, value: Any) -> None:
    if verb == "remove":
        del items[int(place)]
    elif verb == "replace":
        items[int(place)] = copy.deepcopy(value)
    else:
        items.insert(len(items) if place == "-" else int(place), copy.deepcopy(value))


def _plain(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
