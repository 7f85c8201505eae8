"""Bounded concurrency with a short queue: what does not fit is shed at once instead of waiting without end.

Pure asyncio; knows nothing of HTTP or Redis.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Shed(Exception):
    """The server is full: this request was refused before any work was done for it."""


class Admission:
    """Lets ``concurrency_max`` requests run and ``queue_max`` more wait, first come first served."""

    def __init__(self, concurrency_max: int, queue_max: int) -> None:
        self._inside_max = concurrency_max + queue_max
        self._running = asyncio.Semaphore(concurrency_max)
        self.inside = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot; raises Shed when the queue is full."""
        if self.inside >= self._inside_max:
            raise Shed
        self.inside += 1
        try:
            async with self._running:
                yield
        finally:
            self.inside -= 1
