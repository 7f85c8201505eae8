"""What people do to a cluster during a drill, seen by watches. Never writes, never waits without a limit.

Whatever carries no name is looked up among the undo records, which are in the cluster before each change of ours: so
the change of a fault is known as ours, also where it deletes something. A resource that cannot be watched, and a watch
with a hole in it, are told as troubles: silence must not look like nobody having done anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from harness.drivers.kubernetes.connection import FIELD_MANAGER, Connection
from harness.drivers.kubernetes.inventory import DELETED, News, Sink
from harness.drivers.kubernetes.ledger import KubernetesLedger
from harness.drivers.kubernetes.people_changes import actions_between
from harness.drivers.kubernetes.people_pods import PodLosses, PodSets, loss_of
from harness.drivers.kubernetes.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HPAS,
    NETWORK_POLICIES,
    NODES,
    PDBS,
    PODS,
    REPLICA_SETS,
    SCALED_OBJECTS,
    STATEFUL_SETS,
    Resource,
    served,
)
from harness.drivers.kubernetes.watch import ResourceWatch
from harness.model.drill import Origin
from harness.model.errors import PortError
from harness.model.fault import Permission

Json = Mapping[str, Any]

HOLD_S = 2.0
"""How long the loss of a pod waits to be explained: its set may be seen to ask for fewer only after it."""

STOP_LIMIT_S = 3.0
WATCHED: tuple[Resource, ...] = (REPLICA_SETS, STATEFUL_SETS, DEPLOYMENTS, HPAS, PDBS, NETWORK_POLICIES, PODS)
"""Sets first: what they tell explains what the others see."""


def watched_places(namespaces: Sequence[str], keda: bool) -> list[tuple[Resource, str]]:
    """Return every resource that is watched and in which namespace; the one list for watches and rights."""
    kinds = (*WATCHED, SCALED_OBJECTS) if keda else WATCHED
    return [(NODES, ""), *((kind, namespace) for kind in kinds for namespace in namespaces)]


def people_permissions(namespaces: Sequence[str], system_namespace: str) -> tuple[Permission, ...]:
    """Return what seeing people's changes needs to be allowed, KEDA's objects among it, and reading undo records."""
    places, verbs = watched_places(namespaces, keda=True), ("list", "watch")
    reads = [Permission(verb, kind.plural, kind.group, "", place) for kind, place in places for verb in verbs]
    return (*reads, Permission("list", CONFIG_MAPS.plural, CONFIG_MAPS.group, "", system_namespace))


class ObjectStates:
    """Present objects of one resource, keyed by uid; hands each pair of states to whoever tells what differs."""

    def __init__(self, tell: Callable[[Json | None, Json | None], list[News]]) -> None:
        self._tell = tell
        self._known: dict[str, Json] = {}
        self._primed = False

    def replace(self, items: Sequence[Json]) -> list[News]:
        """Take a whole list; the first one is what is there already."""
        listed = {item["metadata"]["uid"]: item for item in items}
        before, self._known = self._known, listed
        if not self._primed:
            self._primed = True
            return self._prime(items)
        gone = [self._tell(before[uid], None) for uid in sorted(before.keys() - listed.keys())]
        news = [*gone, *(self._tell(before.get(uid), obj) for uid, obj in listed.items())]
        return [found for some in news for found in some]

    def _prime(self, items: Sequence[Json]) -> list[News]:
        """Tell each object as one that does not differ from itself: no news, but sets get to be known."""
        return [found for item in items for found in self._tell(item, item)]

    def apply(self, change: str, obj: Json) -> list[News]:
        """Take one watch event."""
        uid = obj["metadata"]["uid"]
        before = self._known.pop(uid, None)
        if change == DELETED:
            return [] if before is None else self._tell(obj, None)
        self._known[uid] = obj
        return self._tell(before, obj)


class PeopleWatch:
    """Watches what people change in some namespaces and on the nodes."""

    def __init__(
        self,
        connection: Connection,
        namespaces: Sequence[str],
        system_namespace: str,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster; of this watch alone (CASES B04).
            namespaces: Where to look.
            system_namespace: Where the undo records are.
            now_s: A clock that only rises.
        """
        self._connection, self._namespaces, self._now_s = connection, tuple(namespaces), now_s
        self._ledger = KubernetesLedger(connection, system_namespace)
        self._sets = PodSets()
        self._seen: SimpleQueue[tuple[float, News]] = SimpleQueue()
        self._waiting: list[tuple[float, News]] = []
        self._ours: set[str] = set()
        self._troubles: list[dict[str, str]] = []
        self._watches: list[ResourceWatch] = []

    def start(self) -> None:
        """Start every watch that can be; what cannot is a trouble.

        Raises:
            PortError: Not one of them could be started.
        """
        places = watched_places(self._namespaces, served(self._connection, SCALED_OBJECTS))
        failures = [error for kind, namespace in places if (error := self._started(kind, namespace)) is not None]
        if failures and not self._watches:
            raise failures[0]

    def _started(self, resource: Resource, namespace: str) -> PortError | None:
        watch = ResourceWatch(self._connection, resource, namespace, self._sink(resource), self._say, self._now_s)
        try:
            watch.start()
        except PortError as error:
            message = f"what people change of {watch.subject} is not seen: {error.problem}"
            self._troubles.append({"message": message, "remedy": error.remedy})
            return error
        self._watches.append(watch)
        return None

    def _sink(self, resource: Resource) -> Sink:
        if resource is PODS:
            return PodLosses()
        if resource is REPLICA_SETS:
            return ObjectStates(self._sets.take)
        return ObjectStates(self._differences)

    def _differences(self, before: Json | None, after: Json | None) -> list[News]:
        obj = after or before
        if obj is None:
            return []
        if obj["kind"] == STATEFUL_SETS.kind:
            self._sets.take(before, after)
        revisions = self._sets.older(before) if before is not None and obj["kind"] == DEPLOYMENTS.kind else ()
        return [News("action", obj["metadata"]["uid"], one) for one in actions_between(before, after, revisions)]

    def _say(self, t_s: float, news: News) -> None:
        self._seen.put((t_s, news))

    def poll(self) -> list[dict[str, str]]:
        """Return what was changed since the last call, as details of ``action`` entries; asks the API server little."""
        self._gather()
        due = [one for t_s, one in self._waiting if one.kind == "action" or t_s <= self._now_s() - HOLD_S]
        self._waiting = [pair for pair in self._waiting if pair[1] not in due]
        told = [(one.subject, dict(one.detail) if one.kind == "action" else loss_of(one.detail, self._sets))
                for one in due]  # fmt: skip
        return self._named([(uid, detail) for uid, detail in told if detail is not None])

    def troubles(self) -> list[dict[str, str]]:
        """Return what could not be seen, since the last call, as details of ``trouble`` entries."""
        self._gather()
        found, self._troubles = self._troubles, []
        return found

    def _gather(self) -> None:
        while True:
            try:
                t_s, news = self._seen.get_nowait()
            except Empty:
                return
            if news.kind == "watch":
                self._note(news)
            else:
                self._waiting.append((t_s, news))

    def _note(self, news: News) -> None:
        if news.detail["state"] not in {"hole", "lost"}:
            return
        message = f"what people changed of {news.subject} may have been missed for {news.detail['gap_s']:.0f} s"
        self._troubles.append({"message": f"{message}: {news.detail['reason']}", "remedy": "see `kubectl get events`"})

    def _named(self, told: list[tuple[str, dict[str, str]]]) -> list[dict[str, str]]:
        """Name ourselves as the author of what has none and is in an undo record."""
        if any(detail["origin"] == Origin.UNKNOWN for _, detail in told):
            self._learn_ours()
        for uid, detail in told:
            if detail["origin"] == Origin.UNKNOWN and uid in self._ours:
                detail.update(manager=FIELD_MANAGER, origin=Origin.GAMEDAY.value)
        return [detail for _, detail in told]

    def _learn_ours(self) -> None:
        """Read the uids that undo records name; records go at a run's end, so none is forgotten."""
        try:
            self._ours |= {record.uid for record in self._ledger.known_records() if record.uid}
        except PortError as error:
            message = f"who made a change cannot be told, the undo records cannot be read: {error.problem}"
            self._troubles.append({"message": message, "remedy": error.remedy})

    def stop(self) -> None:
        """Stop watching, within `STOP_LIMIT_S`. Idempotent, never raises."""
        for watch in self._watches:
            watch.stop()
        deadline_s = time.monotonic() + STOP_LIMIT_S
        for watch in self._watches:
            watch.join(max(0.0, deadline_s - time.monotonic()))
        self._watches = []
