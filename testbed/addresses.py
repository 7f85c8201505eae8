"""Pod addresses of the API and the loopback addresses that stand for them.

EndpointSlices refuse 127/8, so the API shows a pod at 198.18.A.M (RFC 2544 benchmarking range) while its process
listens on 127.44.A.M. An unmapped pod address or ClusterIP must never be dialled: it would leave the machine. Whatever
opens a connection asks `dialable` first. Nothing in here opens a socket or resolves a name.
"""

from ipaddress import AddressValueError, IPv4Address, IPv4Network

NODE_NUMBER_MAX = 15
SLOT_MAX = 15
POD_NUMBER_MAX = 250

LOOPBACK = IPv4Network("127.0.0.0/8")
_POD_PREFIX = "198.18"
_LISTEN_PREFIX = "127.44"
_KUBELET_PREFIX = "127.45"


class AddressRefusedError(ValueError):
    """An address that the testbed must not dial or hand out.

    Attributes:
        address: the address as it was given.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"address {address!r} refused: {reason}")
        self.address = address


def network_number(slot: int, node_number: int) -> int:
    """Return A of 198.18.A.M: `16 * slot + node number`.

    Raises:
        AddressRefusedError: slot outside 0-15 or node number outside 1-15.
    """
    if not 0 <= slot <= SLOT_MAX or not 1 <= node_number <= NODE_NUMBER_MAX:
        raise AddressRefusedError(
            f"slot {slot}, node {node_number}", f"slots are 0-{SLOT_MAX}, node numbers 1-{NODE_NUMBER_MAX}"
        )
    return 16 * slot + node_number


def pod_address(slot: int, node_number: int, pod_number: int) -> str:
    """Return the address 198.18.A.M that the API shows for a pod; `pod_number` is M, 1-250.

    Raises:
        AddressRefusedError: a number outside its range.
    """
    if not 1 <= pod_number <= POD_NUMBER_MAX:
        raise AddressRefusedError(f"pod {pod_number}", f"pod numbers are 1-{POD_NUMBER_MAX}")
    return f"{_POD_PREFIX}.{network_number(slot, node_number)}.{pod_number}"


def kubelet_address(slot: int, node_number: int) -> str:
    """Return the InternalIP 127.45.S.N of a node, where its kubelet API listens.

    Raises:
        AddressRefusedError: a number outside its range.
    """
    network_number(slot, node_number)
    return f"{_KUBELET_PREFIX}.{slot}.{node_number}"


def is_pod_address(address: str) -> bool:
    """Tell whether `address` is a pod address of some testbed, 198.18.A.M with A and M in range."""
    parsed = _parsed(address)
    return parsed is not None and _is_mapped(parsed, _POD_PREFIX)


def listen_address(address: str) -> str:
    """Map a pod address 198.18.A.M to the loopback address 127.44.A.M that its process listens on.

    Raises:
        AddressRefusedError: not a pod address.
    """
    if not is_pod_address(address):
        raise AddressRefusedError(address, "not a pod address (198.18.A.M) of a local testbed")
    return _LISTEN_PREFIX + address.removeprefix(_POD_PREFIX)


def pod_address_of(listen: str) -> str:
    """Map 127.44.A.M back to the pod address 198.18.A.M; the inverse of `listen_address`.

    Raises:
        AddressRefusedError: not an address that pods listen on.
    """
    parsed = _parsed(listen)
    if parsed is None or not _is_mapped(parsed, _LISTEN_PREFIX):
        raise AddressRefusedError(listen, "not an address (127.44.A.M) that pods of a local testbed listen on")
    return _POD_PREFIX + listen.removeprefix(_LISTEN_PREFIX)


def dialable(host: str) -> str:
    """Return the loopback address to dial for `host`; whatever would leave the machine is refused.

    A pod address is mapped, an address of 127/8 is returned as it is, `localhost` becomes 127.0.0.1. Other names are
    refused unresolved, because what they resolve to is not known here.

    Raises:
        AddressRefusedError: neither a pod address nor loopback.
    """
    if host == "localhost":
        return "127.0.0.1"
    if is_pod_address(host):
        return listen_address(host)
    parsed = _parsed(host)
    if parsed is None or parsed not in LOOPBACK:
        raise AddressRefusedError(host, "outside 127.0.0.0/8; the local testbed dials loopback addresses only")
    return host


def _parsed(address: str) -> IPv4Address | None:
    try:
        return IPv4Address(address)
    except AddressValueError:
        return None


def _is_mapped(address: IPv4Address, prefix: str) -> bool:
    first, second, network, pod = address.packed
    return f"{first}.{second}" == prefix and network % 16 != 0 and 1 <= pod <= POD_NUMBER_MAX
