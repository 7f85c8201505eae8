"""Readings of CPU and memory for a scrape. Nothing is read between scrapes.

A node's CPU counter must never decrease, also when its pods go: what a vanished container had used is remembered.
"""

import os
import time
from collections.abc import Iterable, Mapping

import psutil

from testbed.nodeagent.container import Container
from testbed.nodeagent.pod import Pod
from testbed.nodeagent.resource_metrics import ContainerReading, PodReading, Reading


class MonotonicSum:
    """A sum over counters that come and go, which never decreases. Pure."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._gone = 0.0

    def update(self, counters: Mapping[str, float]) -> float:
        """Return the sum over these counters and over the last values of those that are gone."""
        for key, value in self._last.items():
            if counters.get(key, 0.0) < value:
                self._gone += value  # it ended, or began anew
        self._last = dict(counters)
        return self._gone + sum(counters.values())


class NodeAccount:
    """Readings of one node."""

    def __init__(self) -> None:
        self._sum = MonotonicSum()
        self._agent = psutil.Process(os.getpid())

    def read(self, pods: Iterable[Pod]) -> tuple[Reading, list[PodReading]]:
        """Return the node's reading and those of its pods with running containers."""
        found = [reading for pod in pods if (reading := _pod_reading(pod)).containers]
        counters = {f"{pod.uid}/{c.name}/{c.started_s}": c.reading.cpu_s for pod in found for c in pod.containers}
        # The agent is the node's kubelet. All nodes share it, so their sum counts it more than once.
        own = self._agent.cpu_times()
        cpu_s = self._sum.update(counters) + own.user + own.system
        memory = self._agent.memory_info().rss + sum(pod.total.memory_bytes for pod in found)
        return Reading(cpu_s, int(memory), time.time()), found


def _pod_reading(pod: Pod) -> PodReading:
    readings = [reading for container in pod.containers if (reading := _container_reading(container)) is not None]
    return PodReading(pod.place.namespace, pod.place.name, pod.place.uid, readings)


def _container_reading(container: Container) -> ContainerReading | None:
    attempt = container.attempt
    if attempt is None:
        return None
    try:
        usage = attempt.usage()
    except FileNotFoundError:
        return None  # it ended while we looked
    reading = Reading(usage.cpu_s, usage.memory_bytes, time.time())
    return ContainerReading(container.spec.name, reading, container.started_unix_s)
