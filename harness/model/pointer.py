"""JSON pointers into Kubernetes objects, and the JSON patch operations that set them. Pure; sends nothing.

A part of a pointer that leads into a list may name an item by its fields instead of by its place
(``/spec/taints/key=spot,effect=NoSchedule``): others add and remove items meanwhile, and places move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Operation = dict[str, Any]
"""One operation of RFC 6902."""


def escape(part: str) -> str:
    """Return a key as one part of a JSON pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")


def resolve(obj: Any, pointer: str) -> Any:
    """Return the value at a pointer, or None where there is none."""
    found = obj
    for raw in pointer.split("/")[1:]:
        part = _plain(raw)
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list):
            place = _place(found, part)
            found = None if place is None else found[place]
        else:
            return None
    return found


def set_operations(obj: Any, planned: Sequence[Operation], pointer: str, value: Any) -> list[Operation]:
    """Return the operations that set a pointer, with the parents that it lacks.

    Args:
        obj: The object as it is now.
        planned: Operations of the same patch that go before these.
        pointer: What to set.
        value: Its value; None removes it (the API stores no null).
    """
    current, place = resolve(obj, pointer), written_pointer(obj, pointer)
    if current is None and value is None:
        return []
    test = [] if current is None else [{"op": "test", "path": place, "value": current}]
    if value is None:
        return [*test, {"op": "remove", "path": place}]
    if current is not None:
        return [*test, {"op": "replace", "path": place, "value": value}]
    made = {operation["path"] for operation in planned}
    parents = [(p, made_of) for p, made_of in _parents(pointer) if resolve(obj, p) is None and p not in made]
    return [
        *({"op": "add", "path": p, "value": made_of} for p, made_of in parents),
        {"op": "add", "path": place, "value": value},
    ]


def written_pointer(obj: Any, pointer: str) -> str:
    """Return a pointer as a JSON patch needs it: an item that is named by its fields becomes its place, or ``-``."""
    found, parts = obj, [""]
    for raw in pointer.split("/")[1:]:
        part = _plain(raw)
        if isinstance(found, list) or (found is None and _by_fields(part)):
            items = found or []
            place = _place(items, part)
            parts.append("-" if place is None else str(place))
            found = None if place is None else items[place]
        else:
            parts.append(raw)
            found = found.get(part) if isinstance(found, Mapping) else None
    return "/".join(parts)


def _plain(raw: str) -> str:
    return raw.replace("~1", "/").replace("~0", "~")


def _by_fields(part: str) -> bool:
    return "=" in part


def _place(items: Sequence[Any], part: str) -> int | None:
    """Return where a list has the item that a part names."""
    if part.isdecimal():
        return int(part) if int(part) < len(items) else None
    wanted = dict(pair.split("=", 1) for pair in part.split(",") if "=" in pair)
    same = (n for n, item in enumerate(items) if isinstance(item, Mapping) and _has(item, wanted))
    return next(same, None) if wanted else None


def _has(item: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(str(item.get(key, "")) == value for key, value in wanted.items())


def _parents(pointer: str) -> list[tuple[str, Any]]:
    """Return each parent of a pointer with what it is made of: a list where its child is named by fields."""
    parts = pointer.split("/")[1:]
    return [
        ("/" + "/".join(parts[: n + 1]), [] if _by_fields(_plain(parts[n + 1])) else {}) for n in range(len(parts) - 1)
    ]
