"""What a watch knows: state by uid, and which change is news. Pure: no request, no clock, no thread.

Facts come from state, never from counts of watch events: a replayed ADDED is no news (CASES B03), and an object that
vanished while nobody looked is reported when the next list lacks it (CASES B02).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from harness.model.facts import Fact

Json = Mapping[str, Any]

DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class News:
    """A change worth an event.

    Attributes:
        kind: Event kind.
        subject: Object concerned.
        detail: Plain JSON.
    """

    kind: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class Sink(Protocol):
    """Takes what a list or a watch says and returns what is new."""

    def replace(self, items: Sequence[Json]) -> list[News]:
        """Take a whole list; what it lacks is gone."""
        ...

    def apply(self, change: str, obj: Json) -> list[News]:
        """Take one watch event (``ADDED``, ``MODIFIED``, ``DELETED``)."""
        ...


class FactInventory:
    """Present facts of one resource, keyed by uid."""

    def __init__(self, parse: Callable[[Json], Fact]) -> None:
        self._parse = parse
        self._facts: dict[str, Fact] = {}

    def facts(self) -> list[Fact]:
        """Return the present facts."""
        return list(self._facts.values())

    def replace(self, items: Sequence[Json]) -> list[News]:
        """Take a whole list; deletions that fell into a gap come first: they happened before what took their place."""
        listed = [self._parse(item) for item in items]
        vanished = self._facts.keys() - {fact.uid for fact in listed}
        news = [self._gone(uid) for uid in sorted(vanished)]
        return news + [found for fact in listed for found in self._take(fact)]

    def apply(self, change: str, obj: Json) -> list[News]:
        """Take one watch event; a deletion of what is not known is no news."""
        fact = self._parse(obj)
        if change == DELETED:
            if fact.uid not in self._facts:
                return []
            self._facts[fact.uid] = fact
            return [self._gone(fact.uid)]
        return self._take(fact)

    def _take(self, fact: Fact) -> list[News]:
        known = self._facts.get(fact.uid)
        self._facts[fact.uid] = fact
        if known is not None and replace(known, resource_version=fact.resource_version) == fact:
            return []
        return [News(fact.kind, fact.subject, fact.detail())]

    def _gone(self, uid: str) -> News:
        fact = replace(self._facts.pop(uid), deleted=True)
        return News(fact.kind, fact.subject, fact.detail())


class SomeOnly:
    """Takes the facts of some objects of a resource alone."""

    def __init__(self, inventory: FactInventory, wanted: Callable[[Json], bool]) -> None:
        self._inventory, self._wanted = inventory, wanted

    def facts(self) -> list[Fact]:
        """Return the present facts."""
        return self._inventory.facts()

    def replace(self, items: Sequence[Json]) -> list[News]:
        """Take a whole list."""
        return self._inventory.replace([item for item in items if self._wanted(item)])

    def apply(self, change: str, obj: Json) -> list[News]:
        """Take one watch event; an object that is none of them any more is gone."""
        return self._inventory.apply(change if self._wanted(obj) else DELETED, obj)


class EventLog:
    """Kubernetes Events: only those that come after the first list are news, each state of one once."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._primed = False

    def replace(self, items: Sequence[Json]) -> list[News]:
        """Take a whole list; Events that expired are no news."""
        news = [found for item in items for found in self.apply("ADDED", item)]
        primed, self._primed = self._primed, True
        return news if primed else []

    def apply(self, change: str, obj: Json) -> list[News]:
        """Take one watch event."""
        meta = obj["metadata"]
        version = str(meta.get("resourceVersion", ""))
        if change == DELETED or self._seen.get(meta["uid"]) == version:
            return []
        self._seen[meta["uid"]] = version
        return [_event_news(obj)]


def _event_news(obj: Json) -> News:
    involved = obj.get("involvedObject") or {}
    namespace, name = involved.get("namespace") or "", involved.get("name") or ""
    detail = {
        "reason": obj.get("reason") or "",
        "message": obj.get("message") or "",
        "type": obj.get("type") or "",
        "involved": {"kind": involved.get("kind") or "", "namespace": namespace, "name": name},
    }
    return News("k8s-event", f"{namespace}/{name}" if namespace else name, detail)
