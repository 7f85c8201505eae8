"""Envoy listeners that NetworkPolicies open and close: the only place where the local testbed enforces policies.

Pods have no network of their own: they dial Envoy's listeners on loopback. A consumer named here has a listener to
itself, and while the policies let none of its pods reach the Service behind it, the listener is away: new connections
are refused at once, and those that stand end within Envoy's drain time. One file (LDS) holds them all, replaced in one
rename; its content is JSON. Which pod dials cannot be seen: a policy that tells pods of one consumer apart has no
effect until it shuts out all of them, and that is logged.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.layout import Ports
from testbed.nodeagent.network_policy import Peer, allows, peer_of
from testbed.nodeagent.objects import Obj, title, uid_of
from testbed.nodeagent.watching import DELETED

_log = logging.getLogger(__name__)
FILE = "listeners.json"
_LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
_TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


@dataclass(frozen=True)
class Consumer:
    """Pods that reach one Service through a listener to themselves.

    Attributes:
        listener: name of the listener, and of its port in `layout.Ports`.
        namespace: namespace of the pods.
        app: their label `app`.
        cluster: Envoy's cluster behind the listener.
        to_namespace: namespace of the pods behind it.
        to_app: their label `app`.
        to_port: the port that is dialled there.
    """

    listener: str
    namespace: str
    app: str
    cluster: str
    to_namespace: str
    to_app: str
    to_port: int


CONSUMERS = (Consumer("planner_redis", "agents", "planner", "redis", "platform-infra", "redis", 6379),)
"""Whose way is policed. Every other way of the local testbed is open whatever policies say."""


def listener(name: str, port: int, cluster: str) -> Obj:
    """Return Envoy's listener on loopback that hands connections to a cluster."""
    proxy = {"@type": _TCP_PROXY, "stat_prefix": name, "cluster": cluster}
    return {
        "@type": _LISTENER,
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}],
    }


class Police:
    """Keeps the listeners' file as the policies say. Fed by watches; knows every policy, namespace and bound pod."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._ports = folder / FILE, ports.by_name()
        self._known: dict[str, dict[str, Obj]] = {"policies": {}, "namespaces": {}, "pods": {}}
        self._synced: set[str] = set()
        self._mixed: frozenset[Consumer] = frozenset()
        self._written = ""
        self.policies = _Feed(self, "policies")
        self.namespaces = _Feed(self, "namespaces")
        self.pods = _Feed(self, "pods")

    def see_all(self, kind: str, objects: Iterable[Obj]) -> None:
        """These are all objects of a kind there are."""
        self._known[kind] = {uid_of(obj): obj for obj in objects}
        self._synced.add(kind)
        self._write()

    def see(self, kind: str, obj: Obj, *, present: bool) -> None:
        """One object of a kind changed or went."""
        before = self._known[kind].pop(uid_of(obj), None)
        if present:
            self._known[kind][uid_of(obj)] = obj
        same = present and before is not None and kind == "pods" and peer_of(before, {}) == peer_of(obj, {})
        if not same:  # a pod's status changes all the time, what policies see of it hardly ever
            self._write()

    def open_for(self, consumer: Consumer) -> bool:
        """Tell whether any pod of a consumer may reach any pod of its Service; open while either has none."""
        sources = self._peers(consumer.namespace, consumer.app)
        targets = self._peers(consumer.to_namespace, consumer.to_app)
        policies = list(self._known["policies"].values())
        answers = {allows(policies, source, target, consumer.to_port) for source in sources for target in targets}
        self._warn_once(consumer, mixed=len(answers) > 1)
        return not answers or True in answers

    def _warn_once(self, consumer: Consumer, *, mixed: bool) -> None:
        if mixed and consumer not in self._mixed:
            _log.warning("%s: policies tell its pods apart, the testbed cannot: all may pass", consumer.listener)
        self._mixed = self._mixed | {consumer} if mixed else self._mixed - {consumer}

    def _peers(self, namespace: str, app: str) -> list[Peer]:
        labels = self._namespace_labels(namespace)
        return [
            peer_of(pod, labels)
            for pod in self._known["pods"].values()
            if pod["metadata"]["namespace"] == namespace and (pod["metadata"].get("labels") or {}).get("app") == app
        ]

    def _namespace_labels(self, name: str) -> Mapping[str, str]:
        found = (n["metadata"].get("labels") for n in self._known["namespaces"].values() if _name(n) == name)
        return next(found, None) or {}

    def _write(self) -> None:
        """Write the file where it changed; not before everything is known, or a restart would open what is shut."""
        if self._synced != self._known.keys():
            return
        shown = [
            listener(consumer.listener, self._ports[consumer.listener], consumer.cluster)
            for consumer in CONSUMERS
            if self.open_for(consumer)
        ]
        text = json.dumps({"resources": shown}, indent=1)
        if text == self._written:
            return
        _log.info("policed listeners: %s", ", ".join(one["name"] for one in shown) or "all are shut")
        fresh = self._path.with_name(f".{FILE}.tmp")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self._path)
        self._written = text


def _name(obj: Obj) -> str:
    return title(obj).removeprefix("/")


class _Feed:
    """Feeds one watch to the police."""

    def __init__(self, police: Police, kind: str) -> None:
        self._police, self._kind = police, kind

    def synced(self, objects: list[Obj]) -> None:
        self._police.see_all(self._kind, objects)

    def changed(self, kind: str, obj: Obj) -> None:
        self._police.see(self._kind, obj, present=kind != DELETED)
