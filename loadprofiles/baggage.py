"""What a worker elsewhere needs besides its job: the recording that the load replays, carried to it on the line.

Pods wait between loads and know no experiment, so that nothing which was applied with them could hold it. It must not
become a way for anything else: only the file that the plan names travels, and only to who knows the load's token.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.model.load import Arrivals, LoadPlan
from loadprofiles.job import PlanRefused

CARRIED_MAX_BYTES = 32 * 1024 * 1024
"""More than a million instants with microseconds take; the load child holds it in memory, and each worker reads it."""
TRACE_FILE = "trace.csv"


def packed(plan: LoadPlan) -> bytes:
    """Return the recording that workers elsewhere need; nothing where they are here, or the plan replays none.

    Raises:
        PlanRefused: It cannot be read, or is too large.
    """
    profile = plan.profile
    if plan.workers.placement == "local" or profile.arrivals != Arrivals.TRACE:
        return b""
    try:
        size_bytes = Path(profile.trace_file).stat().st_size
        if size_bytes > CARRIED_MAX_BYTES:
            problem = f"trace {profile.trace_file} has {size_bytes} bytes, workers are sent {CARRIED_MAX_BYTES} at most"
            raise PlanRefused(problem, "write its instants with fewer digits, or cut the recording")
        return Path(profile.trace_file).read_bytes()
    except OSError as error:
        raise PlanRefused(f"trace {profile.trace_file}: {error.strerror}", "name a readable CSV file") from error


def unpacked(plan: LoadPlan, trace: bytes, folder: Path) -> LoadPlan:
    """Return the plan with the recording that came along, in a file of this worker's own; without one as it is."""
    if not trace:
        return plan
    path = folder / TRACE_FILE
    path.write_bytes(trace)
    return replace(plan, profile=replace(plan.profile, trace_file=str(path)))


__all__ = ["CARRIED_MAX_BYTES", "packed", "unpacked"]
