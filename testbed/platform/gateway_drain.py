"""The gateway's preStop step: tell Envoy to refuse new connections gracefully, and give it a moment.

Run: ``python -m testbed.platform.gateway_drain``. It talks to Envoy's own admin port and to nothing else.
"""

import logging
import time
import urllib.error
import urllib.request

from testbed.platform import jsonlog, serving
from testbed.platform.settings import Environment

DRAIN_S = 2.0
PATHS = ("/healthcheck/fail", "/drain_listeners?graceful&skip_exit")


async def main(env: Environment) -> int:
    """Start the drain and wait ``DRAIN_S``; an admin port that does not answer is reported by exit 1."""
    port = env.port("ENVOY_ADMIN_PORT")
    for path in PATHS:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=1.0) as response:  # noqa: S310 - our own, on loopback
                response.read()
        except (urllib.error.URLError, TimeoutError) as error:
            jsonlog.log(logging.ERROR, "envoy's admin port does not answer", path=path, why=jsonlog.why(error))
            return 1
    time.sleep(DRAIN_S)
    return serving.EXIT_OK


if __name__ == "__main__":
    serving.run("gateway-drain", main)
