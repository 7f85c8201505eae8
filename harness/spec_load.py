"""The ``load`` block of an experiment: a named profile, what the file changes about it, and whether its times fit.

Reads but a named trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.load_trace import BURST, with_trace
from harness.model.errors import SpecError
from harness.model.fault import FaultPlan
from harness.model.load import Arrivals, LoadProfile
from harness.model.time import parse_duration_s
from harness.spec_document import KeyPath, Problem


def planned_load(
    profile: LoadProfile, written: Mapping[str, Any], find_file: Callable[[str], Path | None]
) -> LoadProfile:
    """Return the profile as the experiment wants it.

    Args:
        profile: The named one.
        written: The block, valid by its schema.
        find_file: Finds a file by its path from the project or from the experiment's folder.

    Raises:
        SpecError: ``key`` is the key within the block, or ``where`` the trace and ``key`` its line.
    """
    durations_s = {name: parse_duration_s(text) for name, text in written.get("stages", {}).items()}
    try:
        load = profile.with_durations(durations_s)
    except ValueError as error:
        raise SpecError("", "stages", str(error), "see PROFILES") from error
    if "arrivals" in written:
        load = replace(load, arrivals=written["arrivals"])
    if "trace" in written:
        load = _played(load, written, find_file)
    try:
        return load.scaled(written.get("scale", 1.0))
    except ValueError as error:
        raise SpecError("", "scale", str(error), "1.0 is the profile as it is") from error


def _played(load: LoadProfile, written: Mapping[str, Any], find_file: Callable[[str], Path | None]) -> LoadProfile:
    if BURST in written.get("stages", {}):
        raise SpecError("", "stages", "burst lasts as long as the trace does", "leave stages.burst out")
    played = with_trace(load, _trace_file(written["trace"], find_file))
    if "arrivals" in written and played.arrivals == Arrivals.TRACE:
        problem = f"{written['trace']} holds instants, so nothing is left to spread"
        raise SpecError("", "arrivals", problem, "leave arrivals out, or record rates: t_s,rps")
    return played


def _trace_file(name: str, find_file: Callable[[str], Path | None]) -> Path:
    found = find_file(name)
    if found is None:
        raise SpecError(
            "", "trace", f"there is no file {name}", "name it from the project's folder or from this file's"
        )
    return found.resolve()


def time_problems(
    base: KeyPath, load: LoadProfile, faults: Sequence[FaultPlan], settle_s: float, timeout_s: float
) -> Iterator[Problem]:
    """Yield what does not fit in time: faults into the burst, load and settle into the time-out.

    Args:
        base: Where the extension stands.
        load: As the experiment wants it.
        faults: In the order of the method.
        settle_s: Longest wait for the steady state to return.
        timeout_s: Longest run.
    """
    burst_s = next((stage.duration_s for stage in load.stages if stage.name == BURST), None)
    if burst_s is None:
        yield (*base, "load", "profile"), f"profile {load.name} has no stage burst", "faults need one"
        return
    for number, plan in enumerate(faults):
        if plan.at_s + plan.max_hold_s > burst_s:
            problem = f"due {plan.at_s:g} s after the burst gate and held up to {plan.max_hold_s:g} s, it ends"
            problem += f" after the burst of {burst_s:g} s"
            yield ("method", number, "pauses"), problem, "shorten the pauses or max_hold, or set stages.burst"
    if timeout_s < load.duration_s + settle_s:
        needs = f"load {load.duration_s:g} s and settle {settle_s:g} s"
        yield (*base, "timeout"), f"{timeout_s:g} s is too short for {needs}", "raise it"
