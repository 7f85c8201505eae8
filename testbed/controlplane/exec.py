"""Running a command beside a container, through the node agent's control port.

The API's own exec needs SPDY, which the agent does not speak. Dials the instance's own control port and nothing else.
The protocol is described in testbed/nodeagent/control.py.
"""

import base64
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO

import requests

from testbed.controlplane.errors import OperatorError
from testbed.layout import Layout

_CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class ExecRequest:
    """What is to be run, and where.

    Attributes:
        namespace: namespace of the pod.
        pod: name of the pod.
        container: name of the container; None for the first one.
        command: program and arguments.
        timeout_s: when the agent kills the command.
    """

    namespace: str
    pod: str
    container: str | None
    command: tuple[str, ...]
    timeout_s: float

    def body(self) -> dict[str, object]:
        """Return the request as the agent wants it."""
        body = {"namespace": self.namespace, "pod": self.pod, "command": list(self.command)}
        return {**body, "timeout_s": self.timeout_s, **({"container": self.container} if self.container else {})}


def exec_in_pod(layout: Layout, request: ExecRequest) -> int:
    """Run the command with the container's environment; pass its output on and return its exit status.

    Raises:
        OperatorError: the agent is not there, refuses, or killed the command.
    """
    url = f"http://127.0.0.1:{layout.ports.nodeagent_control}/exec"
    try:
        token = layout.nodeagent_token.read_text(encoding="ascii").strip()
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                url, json=request.body(), headers={"Authorization": f"Bearer {token}"}, stream=True,
                timeout=(_CONNECT_TIMEOUT_S, request.timeout_s + _CONNECT_TIMEOUT_S),
            )  # fmt: skip
            if answer.status_code != HTTPStatus.OK:
                raise OperatorError(f"exec in {request.namespace}/{request.pod}: {answer.json()['error']}")
            return relay(answer.iter_lines(chunk_size=None), sys.stdout.buffer)
    except (OSError, ValueError) as error:
        raise OperatorError(f"the node agent of testbed {layout.name} does not answer at {url}: {error}") from error


def relay(lines: Iterable[bytes], output: BinaryIO) -> int:
    """Write the output that `lines` carry to `output`; return the exit status that ends them.

    Raises:
        OperatorError: the agent says why there is none, or the lines end without one.
    """
    for line in lines:
        message = json.loads(line)
        if "error" in message:
            raise OperatorError(f"the command was not run to its end: {message['error']}")
        if "exit_code" in message:
            return int(message["exit_code"])
        output.write(base64.b64decode(message["output"]))
        output.flush()
    raise OperatorError("the command was not run to its end: the node agent has hung up")
