"""A recorded trace of arrivals: a CSV file with the instants of requests, or with a rate curve. Reads, checks, no more.

The harness reads it to know what a profile will offer, the load child to offer it: both must see the same.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.model.errors import SpecError
from harness.model.load import Arrivals, LoadProfile, Stage

DUE, RATE = "t_s", "rps"
BURST = "burst"
ROWS_MAX, RATES_MAX = 1_000_000, 10_000
LENGTH_MAX_S = 86_400.0
"""Nobody waits a day for a game day: what is longer has other numbers in its column, such as a wall clock's."""
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
_DUE_REMEDY = "one column t_s with the instants of requests, in seconds from 0, rising"
_RATE_REMEDY = "columns t_s,rps: instants in seconds from 0, rising, and the rate there (a t_s given twice is a step)"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a file says.

    Attributes:
        due_s: Instants of requests, rising; empty for a rate curve.
        curve: Instants and rates of a rate curve, or empty.
    """

    due_s: npt.NDArray[np.float64]
    curve: tuple[tuple[float, float], ...] = ()


def read_trace(path: str) -> Trace:
    """Read a trace; one that was read already, and is the same file still, is not read again.

    Raises:
        SpecError: It cannot be read, or line N is not what it must be.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise SpecError(path, "", f"the trace cannot be read: {error}", "name a readable CSV file") from error
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1)
def _read(path: str, _mtime_ns: int, _size_bytes: int) -> Trace:
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream)
            header = [name.strip() for name in next(rows, [])]
            if header not in ([DUE], [DUE, RATE]):
                raise _wrong(
                    path, 1, f"the columns are {','.join(header) or 'none'}", f"{_DUE_REMEDY}; or {_RATE_REMEDY}"
                )
            if len(header) == 1:
                return Trace(_instants(path, rows))
            return Trace(np.empty(0), _rates(path, rows))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(path, "", f"the trace cannot be read: {error}", "name a readable CSV file") from error


def _instants(path: str, rows: Iterator[list[str]]) -> npt.NDArray[np.float64]:
    found = np.fromiter((row[0] for row in _values(path, rows, 1, ROWS_MAX)), dtype=np.float64)
    if not len(found):
        raise _wrong(path, 1, "the trace is empty", _DUE_REMEDY)
    return found


def _rates(path: str, rows: Iterator[list[str]]) -> tuple[tuple[float, float], ...]:
    found = tuple((row[0], row[1]) for row in _values(path, rows, 2, RATES_MAX))
    if not found:
        raise _wrong(path, 1, "the trace is empty", _RATE_REMEDY)
    if found[0][0] > 0:
        raise _wrong(path, 2, f"the curve begins at {found[0][0]:g} s, and no rate is known before", _RATE_REMEDY)
    if found[-1][0] <= 0:
        raise _wrong(path, len(found) + 1, "a rate curve needs two instants", _RATE_REMEDY)
    if not any(rps > 0 for _, rps in found):
        raise _wrong(path, len(found) + 1, "every rate is 0", "a load that asks for nothing proves nothing")
    return found


def _values(path: str, rows: Iterator[list[str]], width: int, rows_max: int) -> Iterator[tuple[float, ...]]:
    before_s = 0.0
    for line, row in enumerate(rows, 2):
        if not row:
            continue
        values = tuple(_number(text) for text in row)
        if len(values) != width or not all(math.isfinite(value) and value >= 0 for value in values):
            raise _wrong(
                path, line, f"{','.join(row)!r} is not {width} numbers from 0 on", "write plain seconds and rates"
            )
        if values[0] < before_s:
            raise _wrong(path, line, f"{values[0]:g} s comes after {before_s:g} s", "instants must rise")
        if values[0] > LENGTH_MAX_S:
            raise _wrong(path, line, f"{values[0]:.0f} s is more than a day", "count t_s from the trace's own start")
        if line > rows_max + 1:
            raise _wrong(path, line, f"more than {rows_max} rows", "cut the recording, or write fewer rates")
        before_s = values[0]
        yield values


def _number(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _wrong(path: str, line: int, problem: str, remedy: str) -> SpecError:
    return SpecError(path, f"line {line}", problem, remedy)


def with_trace(profile: LoadProfile, path: Path) -> LoadProfile:
    """Return the profile with a recording in it.

    A rate curve becomes the burst's own rate; the stages around it stay. Recorded instants are the whole load, from the
    first stage to the last: the stages keep their lengths (the burst takes what is left) and get the means that were
    recorded.

    Raises:
        SpecError: The trace cannot be read, or does not fit the profile's stages.
    """
    trace = read_trace(str(path))
    if sum(stage.name == BURST for stage in profile.stages) != 1:
        raise SpecError(str(path), "", f"profile {profile.name} has no burst to play it in", "name another profile")
    if trace.curve:
        burst = Stage.through(BURST, trace.curve)
        stages = tuple(burst if stage.name == BURST else stage for stage in profile.stages)
        by_rate = Arrivals.EVEN.value if profile.arrivals == Arrivals.TRACE else profile.arrivals
        return replace(profile, stages=stages, arrivals=by_rate, trace_file="", trace_scale=1.0, trace_peak_rps=0.0)
    length_s = math.floor(float(trace.due_s[-1])) + 1
    per_second = np.searchsorted(trace.due_s, trace.due_s + 1.0) - np.arange(len(trace.due_s))
    return replace(
        profile,
        stages=_recorded_stages(profile, path, trace.due_s, length_s),
        arrivals=Arrivals.TRACE.value,
        trace_file=str(path),
        trace_scale=1.0,
        trace_peak_rps=float(per_second.max()),
    )


def _recorded_stages(
    profile: LoadProfile, path: Path, due_s: npt.NDArray[np.float64], length_s: int
) -> tuple[Stage, ...]:
    others_s = sum(stage.duration_s for stage in profile.stages if stage.name != BURST)
    if length_s <= others_s:
        problem = f"{length_s} s of recording leave nothing for the burst beside {others_s:g} s of other stages"
        raise SpecError(str(path), "t_s", problem, "record longer, or shorten the others with load.stages")
    made, begin_s = [], 0.0
    for stage in profile.stages:
        end_s = begin_s + (length_s - others_s if stage.name == BURST else stage.duration_s)
        first, last = np.searchsorted(due_s, (begin_s, end_s))
        mean_rps = float(last - first) / (end_s - begin_s)
        made.append(Stage(stage.name, end_s - begin_s, mean_rps, mean_rps))
        begin_s = end_s
    return tuple(made)
