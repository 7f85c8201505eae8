"""Spends a stated amount of this thread's CPU time without holding up the event loop.

CPU time, not wall time, is what a turn costs: under a CPU limit the same turn takes longer but costs the same, which
is what a CPU autoscaler measures. No sleeping and no threads here.
"""

import asyncio
import hashlib
import time

SLICE_S = 0.002
BLOCK = b"\0" * 4096


def spend_slice(cpu_s: float) -> float:
    """Hash until ``cpu_s`` seconds of thread CPU time are spent; returns what was really spent."""
    start = time.thread_time()
    spent = 0.0
    while spent < cpu_s:
        hashlib.sha256(BLOCK).digest()
        spent = time.thread_time() - start
    return spent


async def spend(cpu_s: float) -> None:
    """Spend ``cpu_s`` seconds of CPU time in short slices, with other requests served in between."""
    left = cpu_s
    while left > 0:
        left -= spend_slice(min(left, SLICE_S))
        await asyncio.sleep(0)
