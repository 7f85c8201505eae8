"""Whether an instance can listen where its layout says, and who stands in the way."""

import errno
import socket

import psutil

from testbed.controlplane.errors import OperatorError
from testbed.controlplane.processes import describe
from testbed.layout import KUBELET_PORT, Layout


def check_free(layout: Layout) -> None:
    """Refuse a layout of which any port is taken.

    Raises:
        OperatorError: names the first taken port, what it is for, its holder and `--port-base`.
    """
    for name, port in layout.ports.by_name().items():
        if _taken("127.0.0.1", port):
            raise OperatorError(_taken_message("127.0.0.1", port, name.replace("_", " "), "--port-base"))
    for node in layout.nodes:
        if _taken(node.internal_ip, KUBELET_PORT):
            raise OperatorError(_taken_message(node.internal_ip, KUBELET_PORT, f"kubelet of {node.name}", "--slot"))


def _taken(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the programs do: without it a connection in TIME_WAIT would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise OperatorError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    return False


def _taken_message(address: str, port: int, purpose: str, option: str) -> str:
    return (
        f"port {address}:{port} ({purpose}) is taken by {_holder(address, port)}; "
        f"stop it, or move the testbed with {option} (testbeds use 21000 + 100 * slot)"
    )


def _holder(address: str, port: int) -> str:
    addresses = {address, "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    for connection in psutil.net_connections(kind="tcp"):
        local = connection.laddr
        if connection.status == psutil.CONN_LISTEN and local and local.port == port and local.ip in addresses:
            return describe(connection.pid) if connection.pid else "another user's process"
    return "a process that cannot be seen from here"
