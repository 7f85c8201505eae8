"""Envoy endpoint files from Services and EndpointSlices."""

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.nodeagent.endpoints import EndpointWriter, ready_endpoints
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.watching import DELETED


def service(name: str = "web", ports: list[Obj] | None = None, **spec: Any) -> Obj:
    listed = [{"name": "http", "port": 80}] if ports is None else ports
    return {"metadata": {"namespace": "ns", "name": name}, "spec": {"ports": listed, **spec}}


def piece(name: str, *endpoints: tuple[str, dict[str, bool]], port: str | None = "http") -> Obj:
    return {
        "metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": port, "port": 8080}],
        "endpoints": [{"addresses": [address], "conditions": conditions} for address, conditions in endpoints],
    }


def listed(folder: Path, name: str = "ns.web.http") -> list[str]:
    cluster = json.loads((folder / f"{name}.yaml").read_text())["resources"][0]
    assert cluster["cluster_name"] == name
    found = [
        member["endpoint"]["address"]["socket_address"]
        for part in cluster["endpoints"]
        for member in part["lb_endpoints"]
    ]
    return [f"{address['address']}:{address['port_value']}" for address in found]


READY = {"ready": True, "serving": True, "terminating": False}


def test_ready_endpoints_are_listed_by_their_loopback_addresses_in_a_fixed_order() -> None:
    slices = [piece("b", ("198.18.2.9", READY)), piece("a", ("198.18.1.3", READY))]
    assert ready_endpoints(slices, "http") == [("127.44.1.3", 8080), ("127.44.2.9", 8080)]


@pytest.mark.parametrize(
    "conditions",
    [
        {"ready": False},
        {"ready": False, "serving": True, "terminating": True},
        {"ready": True, "serving": True, "terminating": True},
        {},
    ],
)
def test_an_endpoint_that_is_unready_or_terminating_is_left_out(conditions: dict[str, bool]) -> None:
    assert ready_endpoints([piece("a", ("198.18.1.3", conditions))], "http") == []


@pytest.mark.parametrize("address", ["10.244.0.5", "192.0.2.1"])
def test_an_address_that_would_leave_the_machine_is_never_written(address: str) -> None:
    assert ready_endpoints([piece("a", (address, READY))], "http") == []


def test_a_service_has_its_file_as_soon_as_it_is_seen(tmp_path: Path) -> None:
    writer = EndpointWriter(tmp_path / "eds")
    writer.services.changed("ADDED", service())
    assert listed(tmp_path / "eds") == []


def test_slices_seen_before_their_service_are_not_lost(tmp_path: Path) -> None:
    writer = EndpointWriter(tmp_path)
    writer.slices.synced([piece("a", ("198.18.1.3", READY))])
    writer.services.synced([service()])
    assert listed(tmp_path) == ["127.44.1.3:8080"]


def test_changes_and_deletions_of_slices_are_followed(tmp_path: Path) -> None:
    writer = EndpointWriter(tmp_path)
    writer.services.synced([service()])
    writer.slices.changed("ADDED", piece("a", ("198.18.1.3", READY)))
    writer.slices.changed("ADDED", piece("b", ("198.18.1.4", READY)))
    assert listed(tmp_path) == ["127.44.1.3:8080", "127.44.1.4:8080"]
    writer.slices.changed("MODIFIED", piece("a", ("198.18.1.3", {"ready": False})))
    assert listed(tmp_path) == ["127.44.1.4:8080"]
    writer.slices.changed(DELETED, piece("b"))
    assert listed(tmp_path) == []


def test_a_new_list_replaces_everything_that_was_known(tmp_path: Path) -> None:
    writer = EndpointWriter(tmp_path)
    writer.services.synced([service(), service("old")])
    writer.slices.synced([piece("a", ("198.18.1.3", READY))])
    writer.slices.synced([])
    assert listed(tmp_path) == []
    writer.services.synced([service()])
    assert sorted(path.name for path in tmp_path.glob("*")) == ["ns.web.http.yaml"]


def test_the_file_of_a_service_or_port_that_goes_goes_too(tmp_path: Path) -> None:
    writer = EndpointWriter(tmp_path)
    writer.services.changed("ADDED", service(ports=[{"name": "http", "port": 80}, {"port": 9}]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ns.web.9.yaml", "ns.web.http.yaml"]
    writer.services.changed("MODIFIED", service())
    writer.services.changed(DELETED, service())
    assert list(tmp_path.iterdir()) == []


def test_a_port_without_a_name_matches_the_slice_port_without_one(tmp_path: Path) -> None:
    writer = EndpointWriter(tmp_path)
    writer.services.synced([service(ports=[{"port": 9}])])
    writer.slices.synced([piece("a", ("198.18.1.3", READY), port=None)])
    assert listed(tmp_path, "ns.web.9") == ["127.44.1.3:8080"]


def test_an_external_name_has_no_endpoints(tmp_path: Path) -> None:
    writer = EndpointWriter(tmp_path)
    writer.services.synced([service(type="ExternalName", externalName="127.0.0.1")])
    assert list(tmp_path.iterdir()) == []
