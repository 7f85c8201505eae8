from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.addresses import (
    AddressRefusedError,
    dialable,
    is_pod_address,
    kubelet_address,
    listen_address,
    pod_address,
    pod_address_of,
)

slots = st.integers(0, 15)
nodes = st.integers(1, 15)
pods = st.integers(1, 250)


@given(slots, nodes, pods)
def test_mapping_a_pod_address_there_and_back_changes_nothing(slot: int, node: int, pod: int) -> None:
    address = pod_address(slot, node, pod)
    assert pod_address_of(listen_address(address)) == address


@given(slots, nodes, pods)
def test_what_may_be_dialled_is_always_loopback(slot: int, node: int, pod: int) -> None:
    assert IPv4Address(dialable(pod_address(slot, node, pod))).is_loopback
    assert IPv4Address(dialable(kubelet_address(slot, node))).is_loopback


@given(st.tuples(slots, nodes, pods), st.tuples(slots, nodes, pods))
def test_two_pods_never_share_an_address(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (pod_address(*one) == pod_address(*other)) == (one == other)


@given(st.ip_addresses(v=4))
def test_an_arbitrary_address_is_dialled_only_if_loopback_or_a_pod(address: IPv4Address) -> None:
    if address.is_loopback or is_pod_address(str(address)):
        assert IPv4Address(dialable(str(address))).is_loopback
    else:
        with pytest.raises(AddressRefusedError, match="refused"):
            dialable(str(address))


@pytest.mark.parametrize(
    "host",
    [
        "10.96.0.1",
        "198.18.0.1",
        "198.18.16.1",
        "198.18.1.0",
        "198.18.1.251",
        "198.19.1.1",
        "example.com",
        "",
        "::1",
        "192.168.0.1",
        "127.1",
    ],
)
def test_cluster_ips_names_and_addresses_outside_the_plan_are_refused(host: str) -> None:
    with pytest.raises(AddressRefusedError) as refused:
        dialable(host)
    assert refused.value.address == host


def test_localhost_is_dialled_as_an_address() -> None:
    assert dialable("localhost") == "127.0.0.1"


@pytest.mark.parametrize(
    ("slot", "node", "pod"), [(-1, 1, 1), (16, 1, 1), (0, 0, 1), (0, 16, 1), (0, 1, 0), (0, 1, 251)]
)
def test_numbers_outside_the_plan_are_refused(slot: int, node: int, pod: int) -> None:
    with pytest.raises(AddressRefusedError):
        pod_address(slot, node, pod)
