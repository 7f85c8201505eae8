import re
from pathlib import Path

import pytest

from testbed.addresses import dialable
from testbed.controlplane.commands import PROGRAMS, SERVICE_RANGE, Program
from testbed.layout import Layout

LAYOUT = Layout("default", 1, 31000, Path("/i"))
COMMANDS = {name: command(LAYOUT, Path("/bin-dir")) for name, (_, command) in PROGRAMS.items()}
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


@pytest.mark.parametrize("program", COMMANDS.values(), ids=COMMANDS.keys())
def test_no_program_is_told_an_address_outside_loopback(program: Program) -> None:
    text = " ".join(program.argv).replace(SERVICE_RANGE, "")
    assert all(dialable(address) for address in ADDRESS.findall(text))


def test_no_two_programs_listen_on_one_port() -> None:
    ports = [
        port
        for program in COMMANDS.values()
        for argument in program.argv
        if re.match(r"--(secure-port|listen-\w+-urls|[\w-]*bind-address=127.0.0.1:|port=)", argument)
        for port in re.findall(r"[:=](\d{5})$", argument)
    ]
    assert len(ports) == len(set(ports))
    assert set(ports) <= {str(port) for port in LAYOUT.ports.by_name().values()}


def test_programs_stop_before_what_they_depend_on() -> None:
    order = {name: program.stop_order for name, program in COMMANDS.items()}
    assert order["etcd"] < order["kube-apiserver"] < order["kube-controller-manager"] < order["nodeagent"]


def test_the_api_server_takes_no_anonymous_request_and_verifies_kubelets() -> None:
    argv = COMMANDS["kube-apiserver"].argv
    assert "--anonymous-auth=false" in argv
    assert "--authorization-mode=RBAC" in argv
    assert "--kubelet-certificate-authority=/i/pki/ca.crt" in argv


def test_metrics_server_verifies_kubelets() -> None:
    assert not any("insecure" in argument for argument in COMMANDS["metrics-server"].argv)


def test_no_token_is_on_a_command_line() -> None:
    assert not any("--token=" in argument for program in COMMANDS.values() for argument in program.argv)
