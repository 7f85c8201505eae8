"""A simulated accelerator: one request at a time, a stated device time each, and the busy share that a GPU reports.

It sleeps instead of computing: device time must not cost this machine's CPU.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

BUSY_WINDOW_S = 10.0


class BusyWindow:
    """The share of the last ``window_s`` seconds that a device was busy."""

    def __init__(self, window_s: float = BUSY_WINDOW_S) -> None:
        self._window_s = window_s
        self._spans: deque[tuple[float, float]] = deque()
        self._began_at_s: float | None = None

    def begin(self, now_s: float) -> None:
        """The device starts to work."""
        self._began_at_s = now_s

    def end(self, now_s: float) -> None:
        """The device stops working."""
        if self._began_at_s is not None:
            self._spans.append((self._began_at_s, now_s))
        self._began_at_s = None
        while self._spans and self._spans[0][1] < now_s - self._window_s:
            self._spans.popleft()

    def busy_ratio(self, now_s: float) -> float:
        """Return the busy share from 0 to 1 over the window that ends now."""
        start_s = now_s - self._window_s
        spans = list(self._spans)
        if self._began_at_s is not None:
            spans.append((self._began_at_s, now_s))
        busy_s = sum(max(0.0, end - max(begin, start_s)) for begin, end in spans)
        return min(1.0, busy_s / self._window_s)


class Device:
    """Runs one piece of work at a time, first come first served."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._busy = BusyWindow()

    async def run(self, device_s: float) -> None:
        """Occupy the device for ``device_s`` seconds, after all who came before."""
        async with self._lock:
            self._busy.begin(self._clock())
            try:
                await asyncio.sleep(device_s)
            finally:
                self._busy.end(self._clock())

    def utilisation_percent(self) -> float:
        """Return the busy share of the last seconds, 0 to 100."""
        return round(100 * self._busy.busy_ratio(self._clock()), 1)
