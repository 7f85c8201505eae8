"""What `gameday init` can find out about a target by reading: from the cluster, and from its Prometheus.

Everything here only reads, and only where the rights allow it: what may not be read is not derived, and asked instead.
Decides nothing and asks nobody (`harness.init_target` does).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.model.errors import PortError
from harness.model.signal import Signal
from harness.model.time import Window
from harness.ports import Clock, ClusterActor, MetricsSource
from harness.settings_parts import SignalSetting

Json = Mapping[str, Any]
Packs = Mapping[str, Mapping[str, SignalSetting]]

GATEWAY_SIGNAL = "gateway_requests_total"
SYSTEM_NAMESPACES = frozenset({"kube-system", "gameday-system"})
INTERVALS_FROM_S = 300.0
_GPU = re.compile(r"^[a-z0-9.-]+/(gpu|mig-[0-9a-z.]+)$")
_QUEUES = {"redis-streams": "redis", "redis": "redis", "kafka": "kafka", "apache-kafka": "kafka"}


@dataclass(frozen=True)
class ClusterSurvey:
    """Looks round a cluster.

    Attributes:
        actor: Lists objects.
        opt_in_label: ``key=value`` of namespaces that may be touched.
    """

    actor: ClusterActor
    opt_in_label: str

    def namespaces(self) -> list[str]:
        """Return the namespaces that carry the opt-in label, but for Kubernetes' and our own."""
        found = self._list("v1", "Namespace", selector=self.opt_in_label)
        return sorted(name for name in map(_name, found) if name not in SYSTEM_NAMESPACES)

    def gateway_urls(self, namespaces: Iterable[str]) -> list[str]:
        """Return where the platform may be reached from outside: hosts of Ingresses, addresses of Gateways."""
        every = [one for namespace in namespaces for one in self._list("networking.k8s.io/v1", "Ingress", namespace)]
        found = [url for one in every for url in _hosts(one)]
        gateways = self._list("gateway.networking.k8s.io/v1", "Gateway")
        return list(dict.fromkeys([*found, *(url for one in gateways for url in _addresses(one))]))

    def prometheus_urls(self) -> list[str]:
        """Return where Prometheus may be reached from outside: hosts of Ingresses that lead to it."""
        every = self._list("networking.k8s.io/v1", "Ingress")
        return list(dict.fromkeys(url for one in every if "prometheus" in str(one.get("spec")) for url in _hosts(one)))

    def prometheus_services(self) -> list[str]:
        """Return ``namespace/name:port`` of Services of Prometheus, for a port-forward or a run in the cluster."""
        found = self._list("v1", "Service", selector="app.kubernetes.io/name=prometheus")
        return [f"{one['metadata']['namespace']}/{_name(one)}:{_port(one)}" for one in found]

    def gpu_resource(self) -> str:
        """Return what nodes offer GPUs as; empty where none does, or where it differs from node to node."""
        nodes = self._list("v1", "Node")
        keys = (key for node in nodes for key in (node.get("status") or {}).get("allocatable") or {})
        offered = {key for key in keys if _GPU.match(key)}
        return offered.pop() if len(offered) == 1 else ""

    def queue_kind(self, namespaces: Iterable[str]) -> str:
        """Return what the ScaledObjects scale by (``redis`` or ``kafka``), or nothing where that is not one kind."""
        kinds = set()
        for namespace in namespaces:
            for scaled in self._list("keda.sh/v1alpha1", "ScaledObject", namespace):
                triggers = (scaled.get("spec") or {}).get("triggers") or ()
                kinds |= {_QUEUES[t["type"]] for t in triggers if t.get("type") in _QUEUES}
        return kinds.pop() if len(kinds) == 1 else ""

    def components(self) -> list[str]:
        """Return what experiments may ask of the target: ``keda`` only where its API is served."""
        try:
            keda = self.actor.serves("keda.sh/v1alpha1", "ScaledObject")
        except PortError:
            keda = False
        return ["core", "platform", *(["keda"] if keda else [])]

    def _list(self, api_version: str, kind: str, namespace: str = "", selector: str = "") -> list[Json]:
        """Return the objects of a kind; none where it is not served or may not be read: it is asked for then."""
        try:
            return list(self.actor.find(api_version, kind, namespace, selector))
        except PortError:
            return []


@dataclass(frozen=True)
class MetricsSurvey:
    """Looks round a Prometheus.

    Attributes:
        metrics: The store.
        clock: Its clock.
    """

    metrics: MetricsSource
    clock: Clock

    def packs(self, known: Packs, queue_kind: str) -> list[str]:
        """Return the packs whose signals have series: the first gateway's, and what others add to it.

        Args:
            known: All packs of the file, in its order.
            queue_kind: ``redis``, ``kafka``, ``exporter`` or ``none``; decides between packs of queues.
        """
        gateways = (name for name, pack in known.items() if GATEWAY_SIGNAL in pack)
        chosen = [name for name in gateways if self._lives(known[name], GATEWAY_SIGNAL)][:1]
        for name, pack in known.items():
            other_queue = name.startswith("queue-") and queue_kind and name != f"queue-{queue_kind}"
            adds = set(pack) - {signal for one in chosen for signal in known[one]}
            if GATEWAY_SIGNAL in pack or other_queue:
                continue
            if any(self._lives(pack, signal) for signal in sorted(adds)):
                chosen.append(name)
        return chosen

    def _lives(self, pack: Mapping[str, SignalSetting], signal: str) -> bool:
        return bool(self.metrics.instant(Signal(signal, pack[signal].query)))

    def scrape_interval_s(self) -> float | None:
        """Return how often targets are scraped, by the samples of ``up``; None where too few are there to tell."""
        now_s, up = self.clock.now_s(), Signal("up", "up")
        series = self.metrics.harvest((up,), Window(now_s - INTERVALS_FROM_S, now_s)).series("up")
        gaps = [float(np.median(np.diff(one.t_s))) for one in series if len(one.t_s) > 2]  # noqa: PLR2004 - two gaps
        return round(statistics.median(gaps), 1) if gaps else None


def _hosts(ingress: Json) -> Iterator[str]:
    spec = ingress.get("spec") or {}
    secure = {host for tls in spec.get("tls") or () for host in tls.get("hosts") or ()}
    for rule in spec.get("rules") or ():
        host = rule.get("host") or ""
        if host and "*" not in host:
            yield f"{'https' if host in secure else 'http'}://{host}"


def _addresses(gateway: Json) -> Iterator[str]:
    listeners = (gateway.get("spec") or {}).get("listeners") or ()
    for address in (gateway.get("status") or {}).get("addresses") or ():
        for listener in listeners:
            scheme = {"HTTP": "http", "HTTPS": "https"}.get(str(listener.get("protocol")))
            if scheme:
                yield f"{scheme}://{listener.get('hostname') or address['value']}:{listener['port']}"


def _name(found: Json) -> str:
    return str(found["metadata"]["name"])


def _port(service: Json) -> int:
    ports = (service.get("spec") or {}).get("ports") or ({"port": 9090},)
    return int(ports[0]["port"])
