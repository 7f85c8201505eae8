"""The ``load`` block of an experiment: a named profile, and what the file changes about it. Reads but a named trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.load_trace import BURST, with_trace
from harness.model.errors import SpecError
from harness.model.load import Arrivals, LoadProfile
from harness.model.time import parse_duration_s


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
