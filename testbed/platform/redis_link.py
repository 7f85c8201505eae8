"""How the platform's programs reach Redis: one client, short time-outs, no silent retry.

A command is sent once. The pool already replaces connections that a Redis restart has cut before it hands them out, and
a repeated script could count a task twice; whoever calls sees ``redis.exceptions.RedisError`` and decides.
"""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from testbed.platform.settings import HostPort

CONNECT_TIMEOUT_S = 1.0
COMMAND_TIMEOUT_S = 3.0

__all__ = ["RedisError", "connect"]


def connect(address: HostPort, command_timeout_s: float = COMMAND_TIMEOUT_S) -> Redis:
    """Return a client of the Redis at ``address``; no connection is made before the first command."""
    return Redis(
        host=address.host,
        port=address.port,
        decode_responses=True,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=command_timeout_s,
        retry=Retry(NoBackoff(), 0),
    )
