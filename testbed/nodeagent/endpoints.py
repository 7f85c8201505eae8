"""Envoy endpoint files (file-based EDS) from Services and EndpointSlices.

One file per Service port, `<namespace>.<service>.<port name>.yaml`, replaced in one rename and present, if only with an
empty list, as soon as the Service is seen. Only ready endpoints are listed, each as the loopback address that stands
for the pod: nothing that would leave the machine is ever written. The content is JSON, which is YAML.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed.addresses import AddressRefusedError, listen_address
from testbed.nodeagent.objects import Obj, title
from testbed.nodeagent.watching import DELETED

_log = logging.getLogger(__name__)
SERVICE_LABEL = "kubernetes.io/service-name"
_ASSIGNMENT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
Endpoint = tuple[str, int]


def ready_endpoints(slices: Iterable[Obj], port_name: str) -> list[Endpoint]:
    """Return the loopback address and port of each ready endpoint of a Service port, in a fixed order."""
    found: set[Endpoint] = set()
    for piece in slices:
        for port in piece.get("ports") or []:
            if (port.get("name") or "") == port_name and port.get("port"):
                found.update((address, int(port["port"])) for address in _ready_addresses(piece))
    return sorted(found)


def _ready_addresses(piece: Obj) -> Iterable[str]:
    for endpoint in piece.get("endpoints") or []:
        conditions = endpoint.get("conditions", {})
        if conditions.get("ready") is True and not conditions.get("terminating"):
            for address in endpoint["addresses"]:
                try:
                    yield listen_address(address)
                except AddressRefusedError as error:
                    _log.warning("endpoint of %s left out: %s", title(piece), error)


def cluster_name(service: Obj, port: Mapping[str, object]) -> str:
    """Return `<namespace>.<service>.<port name>`; a port without a name is called by its number."""
    meta = service["metadata"]
    return f"{meta['namespace']}.{meta['name']}.{port.get('name') or port['port']}"


def assignment(name: str, endpoints: Iterable[Endpoint]) -> Obj:
    """Return Envoy's DiscoveryResponse with the endpoints of one cluster."""
    members = [
        {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}
        for address, port in endpoints
    ]
    cluster = {"@type": _ASSIGNMENT, "cluster_name": name, "endpoints": [{"lb_endpoints": members}] if members else []}
    return {"resources": [cluster]}


class EndpointWriter:
    """Keeps the endpoint files of every Service."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._services: dict[str, Obj] = {}
        self._slices: dict[str, dict[str, Obj]] = {}
        self.services = _ServiceHandler(self)
        self.slices = _SliceHandler(self)

    def set_services(self, services: Iterable[Obj]) -> None:
        """These are all Services there are."""
        self._services = {title(service): service for service in services}
        wanted = {f"{name}.yaml" for service in self._services.values() for name in _names(service)}
        for path in self._folder.glob("*.yaml"):
            if path.name not in wanted:
                path.unlink()
        for service in self._services:
            self.write(service)

    def set_service(self, service: Obj, *, present: bool) -> None:
        """One Service changed or went."""
        key = title(service)
        before = set(_names(self._services.pop(key, service)))
        if present:
            self._services[key] = service
            before -= set(_names(service))
        for name in before:
            (self._folder / f"{name}.yaml").unlink(missing_ok=True)
        self.write(key)

    def set_slices(self, slices: Iterable[Obj]) -> None:
        """These are all EndpointSlices there are."""
        touched = set(self._slices)
        self._slices = {}
        for piece in slices:
            self._slices.setdefault(_owner(piece), {})[piece["metadata"]["name"]] = piece
        for key in touched | set(self._slices):
            self.write(key)

    def set_slice(self, piece: Obj, *, present: bool) -> None:
        """One EndpointSlice changed or went."""
        pieces = self._slices.setdefault(_owner(piece), {})
        pieces.pop(piece["metadata"]["name"], None)
        if present:
            pieces[piece["metadata"]["name"]] = piece
        self.write(_owner(piece))

    def write(self, key: str) -> None:
        """Write the files of the Service `namespace/name` where their content changed."""
        service = self._services.get(key)
        if service is None or service["spec"].get("type") == "ExternalName":
            return
        for port in service["spec"].get("ports", []):
            endpoints = ready_endpoints(self._slices.get(key, {}).values(), port.get("name") or "")
            self._replace(cluster_name(service, port), endpoints)

    def _replace(self, name: str, endpoints: list[Endpoint]) -> None:
        text = json.dumps(assignment(name, endpoints), indent=1)
        path = self._folder / f"{name}.yaml"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        fresh = self._folder / f".{name}.tmp"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)


def _names(service: Obj) -> list[str]:
    if service["spec"].get("type") == "ExternalName":
        return []
    return [cluster_name(service, port) for port in service["spec"].get("ports", [])]


def _owner(piece: Obj) -> str:
    meta = piece["metadata"]
    return f"{meta['namespace']}/{meta.get('labels', {}).get(SERVICE_LABEL, '')}"


class _ServiceHandler:
    """Feeds the watch of Services to the writer."""

    def __init__(self, writer: EndpointWriter) -> None:
        self._writer = writer

    def synced(self, objects: list[Obj]) -> None:
        self._writer.set_services(objects)

    def changed(self, kind: str, obj: Obj) -> None:
        self._writer.set_service(obj, present=kind != DELETED)


class _SliceHandler:
    """Feeds the watch of EndpointSlices to the writer."""

    def __init__(self, writer: EndpointWriter) -> None:
        self._writer = writer

    def synced(self, objects: list[Obj]) -> None:
        self._writer.set_slices(objects)

    def changed(self, kind: str, obj: Obj) -> None:
        self._writer.set_slice(obj, present=kind != DELETED)
