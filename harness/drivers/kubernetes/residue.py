"""What game days left on a cluster: helper objects, marks of ours, things stopped. Finds, and sweeps orphaned helpers.

A helper object that a dying process creates late has no record any more; it is known by its run label alone. What a
record still names is the ledger's to take back, and what a living run made is the run's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.drivers.kubernetes.connection import Call, Connection, Json
from harness.drivers.kubernetes.failures import ApiError
from harness.drivers.kubernetes.ledger import STATE_LABEL
from harness.drivers.kubernetes.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    FLOW_SCHEMAS,
    HPAS,
    JOBS,
    NETWORK_POLICIES,
    NODES,
    NOT_FOUND,
    PODS,
    PRIORITY_LEVELS,
    STATEFUL_SETS,
    Resource,
    list_all,
    served,
)
from harness.model.fault import OWNER_ANNOTATIONS, RUN_LABEL, Permission

HELPER_KINDS: tuple[Resource, ...] = (PODS, JOBS, CONFIG_MAPS, DEPLOYMENTS)
CLUSTER_HELPER_KINDS: tuple[Resource, ...] = (FLOW_SCHEMAS, PRIORITY_LEVELS)
CHAOS_KINDS: tuple[Resource, ...] = (
    Resource("PodChaos", "podchaos", "chaos-mesh.org", "v1alpha1"),
    Resource("NetworkChaos", "networkchaos", "chaos-mesh.org", "v1alpha1"),
    Resource("StressChaos", "stresschaos", "chaos-mesh.org", "v1alpha1"),
    Resource("ChaosEngine", "chaosengines", "litmuschaos.io", "v1alpha1"),
)
"""Looked at only where their CRDs are installed."""

MARKED_KINDS: tuple[Resource, ...] = (PODS, CONFIG_MAPS, DEPLOYMENTS, STATEFUL_SETS, HPAS, NETWORK_POLICIES)
CLUSTER_MARKED_KINDS: tuple[Resource, ...] = (NODES, API_SERVICES)
OBEYED_ANNOTATIONS = ("testbed.gameday.local/stopped", "testbed.gameday.local/frozen")
"""A local testbed's node agent obeys these; only a fault sets them."""

CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Residue:
    """One thing that is not as it was before.

    Attributes:
        subject: The object, as ``Kind namespace/name``.
        problem: What is left on it.
        command: What to do about it.
    """

    subject: str
    problem: str
    command: str


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper object that some run made.

    Attributes:
        resource: Its kind.
        namespace: Empty for cluster objects.
        name: Its name.
        uid: Its uid.
        run: Its run, as `run_label` writes it.
        record: Whether it is an undo record (of the ledger) that is done.
    """

    resource: Resource
    namespace: str
    name: str
    uid: str
    run: str
    record: bool = False

    @property
    def subject(self) -> str:
        """``Kind namespace/name``."""
        return _subject(self.resource, self.namespace, self.name)


def find_helpers(connection: Connection, namespaces: Sequence[str] = ()) -> list[Helper]:
    """Find objects that runs made, without open undo records.

    Args:
        connection: The cluster.
        namespaces: Where to look for what has a namespace; everywhere, where none is named.

    Raises:
        PortError: Something could not be listed; half a look proves nothing.
    """
    found: list[Helper] = []
    for resource, namespace in _places(connection, namespaces):
        items, _ = list_all(connection, resource, namespace, {"labelSelector": RUN_LABEL})
        found += [_helper(resource, item) for item in items if not _open_record(resource, item)]
    return found


def _places(connection: Connection, namespaces: Sequence[str]) -> Iterator[tuple[Resource, str]]:
    chaos = [resource for resource in CHAOS_KINDS if served(connection, resource)]
    for resource in (*HELPER_KINDS, *chaos):
        yield from ((resource, namespace) for namespace in namespaces or ("",))
    yield from ((resource, "") for resource in CLUSTER_HELPER_KINDS)


def _open_record(resource: Resource, item: Json) -> bool:
    return resource is CONFIG_MAPS and item["metadata"]["labels"].get(STATE_LABEL) == "open"


def _helper(resource: Resource, item: Json) -> Helper:
    meta = item["metadata"]
    record = resource is CONFIG_MAPS and STATE_LABEL in meta["labels"]
    return Helper(resource, meta.get("namespace", ""), meta["name"], meta["uid"], meta["labels"][RUN_LABEL], record)


def sweep(connection: Connection, namespaces: Sequence[str], spared: Collection[str]) -> list[str]:
    """Delete helper objects, and done records, of runs that are dead and have no open record.

    Args:
        connection: The cluster.
        namespaces: As in `find_helpers`.
        spared: Runs (as `run_label` writes them) that are alive or still have an open record.

    Returns:
        What was deleted, done records left out.
    """
    orphans = [helper for helper in find_helpers(connection, namespaces) if helper.run not in spared]
    for helper in orphans:
        _delete(connection, helper)
    return [helper.subject for helper in orphans if not helper.record]


def _delete(connection: Connection, helper: Helper) -> None:
    options = {"preconditions": {"uid": helper.uid}, "propagationPolicy": "Background"}
    path = helper.resource.path(helper.namespace, helper.name)
    try:
        connection.send(Call(f"sweep {helper.subject}", "DELETE", path, body=options))
    except ApiError as error:
        if error.status not in {NOT_FOUND, CONFLICT}:  # gone, or another object by now
            raise


def find_marks(connection: Connection, namespaces: Sequence[str]) -> list[Residue]:
    """Find annotations that only a fault sets, on nodes, API services and in some namespaces.

    Raises:
        PortError: Something could not be listed.
    """
    found: list[Residue] = []
    for resource in CLUSTER_MARKED_KINDS:
        found += _marks(resource, list_all(connection, resource)[0])
    for namespace in namespaces:
        for resource in MARKED_KINDS:
            found += _marks(resource, list_all(connection, resource, namespace)[0])
    return found


def _marks(resource: Resource, items: Iterable[Json]) -> Iterator[Residue]:
    for item in items:
        meta = item["metadata"]
        namespace, subject = meta.get("namespace", ""), _subject(resource, meta.get("namespace", ""), meta["name"])
        where = f"-n {namespace} " if namespace else ""
        for key, value in (meta.get("annotations") or {}).items():
            command = f"kubectl {where}annotate {resource} {meta['name']} {key}-"
            if key.startswith(tuple(f"{name}." for name in OWNER_ANNOTATIONS)):
                problem = f"carries a change of {value}"
                yield Residue(subject, problem, f"`gameday recover`; without a record, by hand, then {command}")
            elif key in OBEYED_ANNOTATIONS and value == "true":
                yield Residue(subject, f"is {key.rpartition('/')[2]}", f"`gameday recover`; without a record {command}")


def _subject(resource: Resource, namespace: str, name: str) -> str:
    return f"{resource.kind} {namespace}/{name}" if namespace else f"{resource.kind} {name}"


def sweep_permissions(namespaces: Sequence[str]) -> tuple[Permission, ...]:
    """Return what sweeping needs to be allowed: in some namespaces, or everywhere where none is named."""
    return tuple(
        Permission(verb, resource.plural, resource.group, "", namespace)
        for resource, spaces in (
            *((resource, tuple(namespaces) or ("",)) for resource in (*HELPER_KINDS, *CHAOS_KINDS)),
            *((resource, ("",)) for resource in CLUSTER_HELPER_KINDS),
        )
        for namespace in spaces
        for verb in ("list", "delete")
    )
