import json
from itertools import combinations
from pathlib import Path

import pytest

from testbed.layout import PORT_OFFSETS, Layout, LayoutError, Ports, default_port_base, read_layout


def layout(slot: int = 0, port_base: int | None = None) -> Layout:
    base = default_port_base(slot) if port_base is None else port_base
    return Layout("default", slot, base, Path("/nowhere"))


def test_the_default_ports_are_those_of_the_contract() -> None:
    ports = layout().ports
    assert (ports.apiserver, ports.nodeagent_control, ports.gateway, ports.prometheus, ports.redis) == (
        21000,
        21010,
        21020,
        21022,
        21023,
    )


def test_no_two_programs_share_a_port() -> None:
    assert len(set(PORT_OFFSETS.values())) == len(PORT_OFFSETS)
    assert set(Ports.at(21000).by_name()) == set(PORT_OFFSETS)


def test_instances_in_different_slots_share_neither_port_nor_address() -> None:
    for one, other in combinations([layout(slot) for slot in range(16)], 2):
        assert not set(one.ports.by_name().values()) & set(other.ports.by_name().values())
        assert not {node.pod_cidr for node in one.nodes} & {node.pod_cidr for node in other.nodes}
        assert not {node.internal_ip for node in one.nodes} & {node.internal_ip for node in other.nodes}


def test_a_node_knows_its_addresses() -> None:
    gpu = layout(2).nodes[2]
    assert (gpu.name, gpu.internal_ip, gpu.pod_cidr) == ("gpu-1", "127.45.2.3", "198.18.35.0/24")
    assert gpu.pod_address(7) == "198.18.35.7"


@pytest.mark.parametrize(("slot", "port_base"), [(16, 21000), (-1, 21000), (0, 80), (0, 65530)])
def test_a_slot_or_port_base_that_cannot_be_served_is_refused(slot: int, port_base: int) -> None:
    with pytest.raises(LayoutError, match=r"slot|port base"):
        layout(slot, port_base)


def test_a_layout_is_read_from_the_instance_folder(tmp_path: Path) -> None:
    (tmp_path / "testbed.json").write_text(json.dumps({"name": "two", "slot": 1, "port_base": 30000}))
    assert read_layout(tmp_path) == Layout("two", 1, 30000, tmp_path.resolve())


@pytest.mark.parametrize("content", [None, "{", "[]", '{"name": "x"}', '{"name": "x", "slot": "y", "port_base": 1}'])
def test_a_folder_without_a_readable_state_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "testbed.json").write_text(content)
    with pytest.raises(LayoutError, match=r"testbed\.json"):
        read_layout(tmp_path)
