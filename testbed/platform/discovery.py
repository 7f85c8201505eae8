"""Finds the platform's pods for Prometheus and writes them as a target file (file_sd).

Debian's Prometheus is built without its own Kubernetes discovery; this sidecar stands in for it and uses the same label
names, so the scrape configuration reads as usual. It only asks the API server. It never dials a pod, and a target file
that cannot be renewed is left as it is: targets that are gone show as down, they are not forgotten.
Run: ``python -m testbed.platform.discovery``.
"""

import asyncio
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout
from prometheus_client import CollectorRegistry
from redis.backoff import ExponentialWithJitterBackoff

from testbed.platform import jsonlog, kube_access, serving
from testbed.platform.settings import Environment

META = "__meta_kubernetes_"
WATCH_S = 120
REQUEST_TIMEOUT_S = 10.0
SETTLE_S = 0.3  # changes come in bursts (a rollout): one list for all of them
BACKOFF = ExponentialWithJitterBackoff(cap=5.0, base=0.2)

Pod = Mapping[str, Any]
Target = dict[str, Any]


@dataclass(frozen=True)
class DiscoverySettings:
    """Configuration of the sidecar."""

    bind_ip: str
    port: int
    namespaces: tuple[str, ...]
    target_file: Path
    api: kube_access.KubeAccess

    @classmethod
    def from_env(cls, env: Environment) -> "DiscoverySettings":
        """Read the settings; raises SettingsError."""
        return cls(
            bind_ip=env.bind_ip(),
            port=env.port("PORT", 9091),
            namespaces=tuple(env.text("SCRAPE_NAMESPACES", "agents,platform-infra").split(",")),
            target_file=env.pod_path(env.text("TARGET_FILE", "/targets/pods.json")),
            api=kube_access.from_env(env),
        )


def targets_of(pods: list[Pod]) -> list[Target]:
    """Return one target for every named container port of every pod that has an address, in a stable order."""
    found = [target for pod in pods for target in _targets_of_pod(pod)]
    return sorted(found, key=lambda target: str(target["targets"]))


def _targets_of_pod(pod: Pod) -> Iterator[Target]:
    address = pod.get("status", {}).get("podIP")
    if not address:
        return
    labels = pod_labels(pod)
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", []):
            port_labels = {
                f"{META}pod_container_name": container["name"],
                f"{META}pod_container_port_name": port.get("name", ""),
            }
            yield {"targets": [f"{address}:{port['containerPort']}"], "labels": labels | port_labels}


def pod_labels(pod: Pod) -> dict[str, str]:
    """Return the pod's labels under the names that Prometheus' own discovery gives them."""
    metadata = pod["metadata"]
    labels = {
        f"{META}namespace": metadata["namespace"],
        f"{META}pod_name": metadata["name"],
        f"{META}pod_uid": metadata["uid"],
        f"{META}pod_node_name": pod["spec"].get("nodeName", ""),
        f"{META}pod_phase": pod.get("status", {}).get("phase", ""),
    }
    for kind in ("label", "annotation"):
        for key, value in metadata.get(f"{kind}s", {}).items():
            name = "".join(c if c.isalnum() else "_" for c in key)
            labels[f"{META}pod_{kind}_{name}"] = value
    return labels


class TargetFile:
    """The target file: replaced as a whole, and only when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = ""

    def write(self, targets: list[Target]) -> bool:
        """Write ``targets`` and return whether that changed the file."""
        text = json.dumps(targets, sort_keys=True)
        if text == self._written:
            return False
        part = self._path.with_suffix(".part")
        part.write_text(text)
        os.replace(part, self._path)
        self._written = text
        return True


class Discovery:
    """Keeps the target file equal to what the API server says."""

    def __init__(self, settings: DiscoverySettings, session: ClientSession, lifecycle: serving.Lifecycle) -> None:
        self._settings = settings
        self._session = session
        self._lifecycle = lifecycle
        self._file = TargetFile(settings.target_file)
        self._pods: dict[str, list[Pod]] = {}

    async def follow(self, namespace: str) -> None:
        """Follow one namespace until told to stop: list, wait for any change, list again."""
        failures = 0
        while not self._lifecycle.stopping.is_set():
            try:
                version = await self._list(namespace)
                failures = 0
                await self._wait_for_change(namespace, version)
                await self._lifecycle.pause(SETTLE_S)
            except (ClientError, TimeoutError) as error:
                failures += 1
                jsonlog.log(logging.WARNING, "api server not reached", namespace=namespace, why=jsonlog.why(error))
                await self._lifecycle.pause(BACKOFF.compute(failures))

    async def _list(self, namespace: str) -> str:
        async with self._get(namespace, REQUEST_TIMEOUT_S) as response:
            found = await response.json()
        self._pods[namespace] = found["items"]
        if set(self._pods) == set(self._settings.namespaces):
            targets = targets_of([pod for pods in self._pods.values() for pod in pods])
            if self._file.write(targets):
                jsonlog.log(logging.INFO, "targets", count=len(targets))
            self._lifecycle.unready_reason = None
        return str(found["metadata"]["resourceVersion"])

    async def _wait_for_change(self, namespace: str, version: str) -> None:
        """Return at the first event after ``version``, or when the watch ends; what changed is not looked at."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_S)}
        async with self._get(namespace, WATCH_S + REQUEST_TIMEOUT_S, query) as response:
            await response.content.readany()

    def _get(self, namespace: str, timeout_s: float, query: dict[str, str] | None = None) -> Any:
        api = self._settings.api
        return self._session.get(
            f"{api.url}/api/v1/namespaces/{namespace}/pods",
            params=query,
            headers={"Authorization": f"Bearer {api.token()}"},
            timeout=ClientTimeout(total=timeout_s, connect=REQUEST_TIMEOUT_S),
            raise_for_status=True,
        )


async def main(env: Environment) -> int:
    """Follow the namespaces until told to stop."""
    settings = DiscoverySettings.from_env(env)
    lifecycle = serving.Lifecycle()
    lifecycle.unready_reason = "pods not listed yet"
    app = serving.application(lifecycle, serving.metrics_page(CollectorRegistry()))
    runner = await serving.start(app, settings.bind_ip, settings.port)
    lifecycle.watch_signals()
    async with ClientSession(connector=kube_access.connector(settings.api)) as session:
        discovery = Discovery(settings, session, lifecycle)
        followers = [asyncio.create_task(discovery.follow(name)) for name in settings.namespaces]
        stopped = asyncio.create_task(lifecycle.stopping.wait())
        done, _ = await asyncio.wait([stopped, *followers], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopped, *followers):
            task.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        for task in done:
            task.result()  # a follower that broke takes the process down, loudly
    await runner.cleanup()
    return serving.EXIT_OK


if __name__ == "__main__":
    serving.run("discovery", main)
