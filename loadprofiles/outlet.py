"""Where a worker's messages go: the one thing that engine and front ask of it. No gevent, no Locust."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Outlet(Protocol):
    """Where a worker's messages go."""

    def send(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        """Hand over one message; waits for nothing."""
        ...
