"""Running a command beside a container, through the node agent's control port.

The API's own exec needs SPDY, which the agent does not speak. Dials the instance's own control port only.
"""

from testbed.controlplane.errors import OperatorError
from testbed.layout import Layout


def exec_in_pod(layout: Layout, namespace: str, pod: str, container: str | None, command: list[str]) -> int:
    """Run `command` with the environment of a container; pass its output on and return its exit status.

    Raises:
        OperatorError: the agent is not there or refuses.
    """
    raise OperatorError(f"{layout.name}: exec {namespace}/{pod} {container} {command}: not served by this node agent")
