"""Addresses of the pods of one node. Pure: given back last, given out last, so that none is reused for a while."""

from collections import deque
from collections.abc import Callable

from testbed.addresses import POD_NUMBER_MAX
from testbed.layout import Node


class NoAddressError(Exception):
    """Every address of the node is in use."""


class AddressPool:
    """The 250 pod addresses of a node."""

    def __init__(self, node: Node) -> None:
        self._node = node.name
        self._free = deque(node.pod_address(number) for number in range(1, POD_NUMBER_MAX + 1))

    def claim(self, address: str) -> bool:
        """Take this very address if it is free and of this node."""
        if address not in self._free:
            return False
        self._free.remove(address)
        return True

    def take(self) -> str:
        """Take the address that has been free for the longest time.

        Raises:
            NoAddressError: none is free.
        """
        if not self._free:
            raise NoAddressError(f"node {self._node}: all {POD_NUMBER_MAX} pod addresses are in use")
        return self._free.popleft()

    def lease(self, address: str) -> Callable[[], None]:
        """Return what gives a taken address back; only the first call does, since it may be taken again afterwards."""
        pending = [address]

        def release() -> None:
            if pending:
                self._free.append(pending.pop())

        return release
