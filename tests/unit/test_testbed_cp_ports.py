import os
import socket
from pathlib import Path

import pytest

from testbed.controlplane.errors import OperatorError
from testbed.controlplane.ports import check_free
from testbed.layout import KUBELET_PORT, Layout

BASE = 31900


def layout(port_base: int = BASE) -> Layout:
    return Layout("h1test", 15, port_base, Path("/nowhere"))


def test_free_ports_are_accepted() -> None:
    check_free(layout())


def test_a_taken_port_is_told_with_its_purpose_its_holder_and_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", layout().ports.redis)):
        with pytest.raises(OperatorError) as refused:
            check_free(layout())
    text = str(refused.value)
    assert f"127.0.0.1:{layout().ports.redis} (redis)" in text
    assert f"({os.getpid()})" in text
    assert "--port-base" in text
    assert "\n" not in text


def test_a_listener_on_every_address_takes_the_port_too() -> None:
    with socket.create_server(("", layout().ports.gateway)):
        with pytest.raises(OperatorError, match=r"gateway.*is taken by"):
            check_free(layout())


def test_a_taken_kubelet_address_asks_for_another_slot() -> None:
    node = layout().nodes[0]
    with socket.create_server((node.internal_ip, KUBELET_PORT)):
        with pytest.raises(OperatorError, match=r"kubelet of general-1.*--slot"):
            check_free(layout())
