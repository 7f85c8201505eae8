"""CPU and memory of a node, its pods and containers in the formats of a kubelet. Pure: readings in, text out.

metrics-server drops a whole pod when one of its containers has no CPU or no memory yet, and a node likewise
(pkg/scraper/client/resource/decode.go), so a reading is never written as 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from testbed.nodeagent.objects import Obj, rfc3339

CPU_S_MIN = 1e-6
MEMORY_BYTES_MIN = 4096
_POD_LABELS = ("namespace", "pod")
_CONTAINER_LABELS = ("container", "namespace", "pod")


@dataclass(frozen=True)
class Reading:
    """What something used until a moment.

    Attributes:
        cpu_s: CPU seconds since its start; never decreases.
        memory_bytes: working set.
        at_s: when it was read, Unix seconds.
    """

    cpu_s: float
    memory_bytes: int
    at_s: float


@dataclass(frozen=True)
class ContainerReading:
    """Reading of one attempt of a container, started at `started_s` (Unix seconds)."""

    name: str
    reading: Reading
    started_s: float


@dataclass(frozen=True)
class PodReading:
    """Readings of a pod's running containers."""

    namespace: str
    name: str
    uid: str
    containers: Sequence[ContainerReading]

    @property
    def total(self) -> Reading:
        """The sum over its containers."""
        return total(container.reading for container in self.containers)


def total(readings: Iterable[Reading]) -> Reading:
    """Return the sum of readings, as of the newest."""
    listed = list(readings)
    return Reading(
        sum(reading.cpu_s for reading in listed),
        sum(reading.memory_bytes for reading in listed),
        max((reading.at_s for reading in listed), default=0.0),
    )


class ResourceCollector(Collector):
    """Metric families of `/metrics/resource` (pkg/kubelet/metrics/collectors/resource_metrics.go)."""

    def __init__(self, node: Reading, pods: Sequence[PodReading]) -> None:
        self._node, self._pods = node, pods

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        yield from _families("node", (), [((), self._node)])
        yield from _families("pod", _POD_LABELS, [((pod.namespace, pod.name), pod.total) for pod in self._pods])
        entries = [(pod, container) for pod in self._pods for container in pod.containers]
        readings = [((c.name, pod.namespace, pod.name), c.reading) for pod, c in entries]
        yield from _families("container", _CONTAINER_LABELS, readings)
        starts = GaugeMetricFamily(
            "container_start_time_seconds", "Start time of the container since the epoch", labels=_CONTAINER_LABELS
        )
        for pod, container in entries:
            starts.add_metric(
                [container.name, pod.namespace, pod.name], container.started_s, timestamp=container.reading.at_s
            )
        yield starts
        yield GaugeMetricFamily("resource_scrape_error", "1 if there was an error while reading, 0 otherwise", value=0)


def _families(
    subject: str, names: Sequence[str], entries: Iterable[tuple[Sequence[str], Reading]]
) -> tuple[Metric, Metric]:
    cpu = CounterMetricFamily(f"{subject}_cpu_usage_seconds", f"CPU time used by the {subject}", labels=names)
    memory = GaugeMetricFamily(f"{subject}_memory_working_set_bytes", f"Working set of the {subject}", labels=names)
    for values, reading in entries:
        cpu.add_metric(values, max(reading.cpu_s, CPU_S_MIN), timestamp=reading.at_s)
        memory.add_metric(values, max(reading.memory_bytes, MEMORY_BYTES_MIN), timestamp=reading.at_s)
    return cpu, memory


def resource_text(node: Reading, pods: Sequence[PodReading]) -> bytes:
    """Return the body of `/metrics/resource`."""
    registry = CollectorRegistry()
    registry.register(ResourceCollector(node, pods))
    return generate_latest(registry)


def summary(name: str, node: Reading, pods: Sequence[PodReading]) -> Obj:
    """Return the body of `/stats/summary`: names, CPU and memory only."""
    return {
        "node": {"nodeName": name, **_stats(node)},
        "pods": [
            {
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "containers": [{"name": c.name, **_stats(c.reading)} for c in pod.containers],
                **_stats(pod.total),
            }
            for pod in pods
        ],
    }


def _stats(reading: Reading) -> Obj:
    from_unix = rfc3339() if not reading.at_s else _time(reading.at_s)
    return {
        "cpu": {"time": from_unix, "usageCoreNanoSeconds": int(reading.cpu_s * 1e9)},
        "memory": {"time": from_unix, "workingSetBytes": reading.memory_bytes},
    }


def _time(unix_s: float) -> str:
    return rfc3339(datetime.fromtimestamp(unix_s, UTC))
