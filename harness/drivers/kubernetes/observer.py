"""`ClusterObserver` on a real API server: identity, permissions, watches, fingerprint. It never writes an object.

(Access reviews are POSTs, but they store nothing.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from harness.drivers.kubernetes import node_autoscaler
from harness.drivers.kubernetes.connection import Call, Connection, Json
from harness.drivers.kubernetes.facts import PARSERS, quantity, unix_s
from harness.drivers.kubernetes.failures import SYSTEM, ApiError, bad_answer
from harness.drivers.kubernetes.fingerprint import HELPER_KINDS, SPEC_KINDS, read_fingerprint
from harness.drivers.kubernetes.inventory import EventLog, FactInventory, News, Sink, SomeOnly
from harness.drivers.kubernetes.resources import (
    DEPLOYMENTS,
    EVENTS,
    HPAS,
    JOBS,
    NAMESPACES,
    NODES,
    NOT_FOUND,
    PDBS,
    POD_METRICS,
    PODS,
    SCALED_OBJECTS,
    STATEFUL_SETS,
    Resource,
    read,
    served,
)
from harness.drivers.kubernetes.watch import ResourceWatch
from harness.model.errors import PortError
from harness.model.experiment import Scope
from harness.model.facts import Fact
from harness.model.fault import Permission
from harness.model.target import ClusterIdentity
from harness.ports import Clock, Observation

METRICS_FRESH_S = 90.0
"""metrics-server scrapes every 60 s unless told otherwise; an older sample is of a pod or a kubelet that went away."""

STOP_LIMIT_S = 3.0
UNAVAILABLE = 503
ANONYMOUS = "system:anonymous"
NAMESPACED: tuple[Resource, ...] = (PODS, DEPLOYMENTS, STATEFUL_SETS, HPAS, PDBS, JOBS)


class KubernetesObserver:
    """Watches one cluster for one run."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster; never shared with something that streams by other means (CASES B04).
            clock: The run's clock, which dates every observation.
        """
        self._connection = connection
        self._clock = clock
        self._observed: SimpleQueue[Observation] = SimpleQueue()
        self._inventories: list[FactInventory | SomeOnly] = []
        self._watches: list[ResourceWatch] = []

    def identify(self) -> ClusterIdentity:
        """Read what the cluster says it is.

        Raises:
            PortError: No answer, or our credentials did not reach it (CASES B07).
        """
        user = self._user()
        kube_system = read(self._connection, NAMESPACES, "", "kube-system")
        if kube_system is None:
            raise bad_answer("identify the cluster", "there is no namespace kube-system")
        meta = kube_system["metadata"]
        return ClusterIdentity(
            context=self._connection.context,
            api_server=self._connection.server,
            kube_system_uid=str(meta["uid"]),
            kube_system_labels=dict(meta.get("labels") or {}),
            user=user,
            server_version=str(self._connection.get("read the version", "/version").get("gitVersion", "")),
            proxy=self._connection.proxy,
        )

    def _user(self) -> str:
        review = self._review("authentication.k8s.io/v1", "SelfSubjectReview", {})
        user = str(((review.get("status") or {}).get("userInfo") or {}).get("username", ""))
        if user in {"", ANONYMOUS}:
            remedy = f"the credentials of context {self._connection.context} did not reach the API server: renew them"
            raise PortError(SYSTEM, "ask who we are", f"the API server sees {user or 'nobody'}", remedy)
        return user

    def allowed(self, permissions: Sequence[Permission]) -> Sequence[Permission]:
        """Return those of the permissions that we do not have."""
        return [permission for permission in permissions if not self._may(permission)]

    def _may(self, permission: Permission) -> bool:
        attributes = {
            "verb": permission.verb,
            "group": permission.group,
            "resource": permission.resource,
            "subresource": permission.subresource,
            "namespace": permission.namespace,
            "name": permission.name,
        }
        spec = {"resourceAttributes": {key: value for key, value in attributes.items() if value}}
        review = self._review("authorization.k8s.io/v1", "SelfSubjectAccessReview", {"spec": spec})
        return (review.get("status") or {}).get("allowed") is True

    def _review(self, api_version: str, kind: str, body: Json) -> Json:
        path = f"/apis/{api_version}/{kind.lower()}s"
        return self._connection.send(
            Call(f"create {kind}", "POST", path, body={"apiVersion": api_version, "kind": kind, **body})
        )

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of a namespace, or None where there is none."""
        found = read(self._connection, NAMESPACES, "", name)
        return None if found is None else dict(found["metadata"].get("labels") or {})

    def skew_s(self) -> float:
        """Return the API server's clock minus ours (±1 s)."""
        return self._connection.skew_s()

    def start(self, scope: Scope) -> None:
        """Start to watch nodes and the scope's namespaces; the present state becomes the first observations.

        Raises:
            PortError: A resource could not be listed; the watches that had started are stopped.
        """
        kinds = (*NAMESPACED, SCALED_OBJECTS) if served(self._connection, SCALED_OBJECTS) else NAMESPACED
        self._add_watch(NODES, "")
        for namespace in scope.namespaces:
            for kind in kinds:
                self._add_watch(kind, namespace)
            self._watches.append(self._watch(EVENTS, namespace, EventLog()))
        for status in scope.node_autoscalers:
            self._add_node_autoscaler(status, scope.namespaces)
        try:
            for watch in self._watches:
                watch.start()
        except PortError:
            self.stop()
            raise

    def _add_watch(self, resource: Resource, namespace: str) -> None:
        inventory = FactInventory(PARSERS[resource.kind])
        self._inventories.append(inventory)
        self._watches.append(self._watch(resource, namespace, inventory))

    def _add_node_autoscaler(self, status: str, namespaces: Sequence[str]) -> None:
        for more in node_autoscaler.more_watches(status, namespaces):
            if not isinstance(more.sink, EventLog):
                self._inventories.append(more.sink)
            self._watches.append(self._watch(more.resource, more.namespace, more.sink, more.query))

    def _watch(
        self, resource: Resource, namespace: str, sink: Sink, query: Mapping[str, str] | None = None
    ) -> ResourceWatch:
        return ResourceWatch(self._connection, resource, namespace, sink, self._say, self._clock.now_s, query=query)

    def _say(self, t_s: float, news: News) -> None:
        self._observed.put(Observation(t_s, "cluster", news.kind, news.subject, news.detail))

    def poll(self) -> Sequence[Observation]:
        """Return what was seen since the last call, by time; at once."""
        found: list[Observation] = []
        while True:
            try:
                found.append(self._observed.get_nowait())
            except Empty:
                return sorted(found, key=lambda observation: observation.t_s)

    def stop(self) -> None:
        """Stop watching, within `STOP_LIMIT_S`. Idempotent, never raises."""
        for watch in self._watches:
            watch.stop()
        deadline_s = time.monotonic() + STOP_LIMIT_S
        for watch in self._watches:
            if not watch.join(max(0.0, deadline_s - time.monotonic())):
                reason = f"the watch did not end within {STOP_LIMIT_S:g} s"
                self._say(self._clock.now_s(), News("note", watch.subject, {"message": reason}))
        self._watches = []

    def current(self, kind: str) -> Sequence[Fact]:
        """Return the present state of every watched object of a fact kind."""
        facts = (fact for inventory in self._inventories for fact in inventory.facts())
        return [fact for fact in facts if fact.kind == kind]

    def pod_metrics(self, namespace: str) -> Mapping[str, float]:
        """Return CPU in cores by pod, for fresh samples; empty where metrics.k8s.io is down (CASES F20)."""
        call = Call(f"read pod metrics in {namespace}", "GET", POD_METRICS.path(namespace))
        try:
            found, server_unix_s = self._connection.send_dated(call)
        except ApiError as error:
            if error.status in {NOT_FOUND, UNAVAILABLE}:
                return {}
            raise
        now_unix_s = server_unix_s if server_unix_s is not None else time.time()
        return {
            item["metadata"]["name"]: sum(quantity(c["usage"]["cpu"]) for c in item.get("containers") or ())
            for item in found.get("items") or ()
            if now_unix_s - (unix_s(item.get("timestamp")) or 0.0) <= METRICS_FRESH_S
        }

    def fingerprint(self, scope: Scope) -> Mapping[str, Any]:
        """Read what faults can touch (DESIGN U6)."""
        keda = served(self._connection, SCALED_OBJECTS)
        return read_fingerprint(self._connection, scope.namespaces, keda)


def observer_permissions(
    namespaces: Sequence[str], keda: bool, node_autoscalers: Sequence[str] = ()
) -> tuple[Permission, ...]:
    """Return what the observer needs to be allowed, for the preflight and for printed RBAC."""
    kinds = dict.fromkeys((*NAMESPACED, EVENTS, *SPEC_KINDS, *HELPER_KINDS, *((SCALED_OBJECTS,) if keda else ())))
    watched = {*NAMESPACED, EVENTS, SCALED_OBJECTS}
    found = [Permission(verb, NODES.plural) for verb in ("list", "watch")]
    for namespace in namespaces:
        for kind in kinds:
            verbs = ("list", "watch") if kind in watched else ("list",)
            found += [Permission(verb, kind.plural, kind.group, "", namespace) for verb in verbs]
        found.append(Permission("list", POD_METRICS.plural, POD_METRICS.group, "", namespace))
    found += [p for status in node_autoscalers for p in node_autoscaler.permissions(status, namespaces)]
    return tuple(found)


def identity_permissions(namespaces: Sequence[str]) -> tuple[Permission, ...]:
    """Return what identity and opt-in labels need: to read kube-system and each namespace itself."""
    every = dict.fromkeys(("kube-system", *namespaces))
    return tuple(Permission("get", NAMESPACES.plural, "", "", namespace) for namespace in every)
