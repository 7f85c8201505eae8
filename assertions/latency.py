"""Were answers quick enough? Asked of the request log, from the *intended* start, so that a stall counts.

Pure. A request without a whole answer counts as infinitely slow; percentiles come from raw requests (CASES D10).
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from assertions.definition import (
    Check,
    Definition,
    broken,
    conclude,
    duration,
    held,
    limit_s,
    param,
    params_object,
    unclear,
)
from assertions.windows import stage_window
from harness.model.experiment import AssertionSpec
from harness.model.load import RequestOutcome
from harness.model.record import Record
from harness.model.signal import Floats
from harness.model.verdict import Verdict, at_most

KIND = "latency"
SCHEMA = params_object(
    {
        "limit": duration("the quantile must not lie above it", "1s"),
        "quantile": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.95},
        "stage": {"type": "string", "default": "burst", "description": "stage of the load profile that is judged"},
        "min_requests": {"type": "integer", "minimum": 1, "default": 200},
    }
)


def response_times(requests: pd.DataFrame) -> Floats:
    """Return seconds from intended start to whole answer; infinite where none came."""
    columns = {name: requests[name].to_numpy(dtype=np.float64) for name in ("intended_s", "start_s", "latency_s")}
    times = columns["start_s"] - columns["intended_s"] + columns["latency_s"]
    answered = requests["outcome"].isin([RequestOutcome.OK.value, RequestOutcome.HTTP_ERROR.value]).to_numpy()
    return np.where(answered & np.isfinite(times), times, np.inf)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge a quantile of the response times of one stage."""
    name, quantile = str(param(spec, SCHEMA, "stage")), float(param(spec, SCHEMA, "quantile"))
    limit, least = limit_s(spec, SCHEMA, "limit"), int(param(spec, SCHEMA, "min_requests"))
    expected = f"p{quantile * 100:g} of {name} is at most {limit * 1000:.0f} ms"
    window = stage_window(record, name)
    if window is None:
        return conclude(spec, [unclear(f"the stage {name} was not reached", "see why the run ended early")], expected)
    intended = record.requests["intended_s"].to_numpy(dtype=np.float64)
    times = response_times(record.requests[(intended >= window.start_s) & (intended < window.end_s)])
    if len(times) < least:
        reason = f"{len(times)} requests are too few, {least} are needed"
        return conclude(spec, [unclear(reason, "raise the load or its duration")], expected, window=window)
    value = float(np.quantile(times, quantile, method="higher"))
    figures = {"latency_s": value, "median_latency_s": float(np.quantile(times, 0.5, method="higher"))}
    return conclude(spec, [_check(value, limit, quantile)], expected, window=window, figures=figures)


def _check(value: float, limit: float, quantile: float) -> Check:
    observed = (
        f"p{quantile * 100:g} is {value * 1000:.0f} ms" if math.isfinite(value) else "more requests got no answer"
    )
    if math.isfinite(value) and at_most(value, limit) is True:
        return held(observed)
    reason = f"{observed}, the limit is {limit * 1000:.0f} ms"
    return broken(reason, "see latency and faults on the time axis of the report", observed)


DEFINITION = Definition(
    kind=KIND,
    question="Were answers quick enough?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("run_completed", "load_reached_floor", "generator_healthy", "faults_took_effect"),
    needs_for_fail=("run_completed", "generator_healthy"),
)
