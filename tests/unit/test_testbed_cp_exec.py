import base64
import io
import json
from pathlib import Path

import pytest

from testbed.controlplane.errors import OperatorError
from testbed.controlplane.exec import ExecRequest, exec_in_pod, relay
from testbed.layout import Layout

REQUEST = ExecRequest("agents", "planner-1", None, ("true",), 5.0)


def line(**message: object) -> bytes:
    return json.dumps(message).encode()


def output(data: bytes) -> bytes:
    return line(output=base64.b64encode(data).decode())


def test_output_is_passed_on_byte_for_byte_and_the_status_is_the_commands() -> None:
    written = io.BytesIO()
    assert relay([output(b"one\xff\n"), output(b"two"), line(exit_code=3)], written) == 3
    assert written.getvalue() == b"one\xff\ntwo"


@pytest.mark.parametrize("lines", [[], [output(b"x")], [line(error="took longer than 5 s and was killed")]])
def test_a_command_without_an_exit_status_is_an_error(lines: list[bytes]) -> None:
    with pytest.raises(OperatorError, match="not run to its end"):
        relay(lines, io.BytesIO())


def test_the_container_is_named_only_if_it_was_asked_for() -> None:
    assert "container" not in REQUEST.body()
    assert ExecRequest("a", "p", "c", ("true",), 1.0).body()["container"] == "c"


def test_an_agent_that_is_not_there_is_told(tmp_path: Path) -> None:
    layout = Layout("default", 15, 31900, tmp_path)
    with pytest.raises(OperatorError, match="does not answer"):
        exec_in_pod(layout, REQUEST)
    layout.nodeagent_token.write_text("t")
    with pytest.raises(OperatorError, match=r"127\.0\.0\.1:31910"):
        exec_in_pod(layout, REQUEST)
