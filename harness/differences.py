"""Figures of two records with their difference, and why two records must not be compared. Pure over the records.

A composition root's own: it asks the judges' own measures (which requests are good, from when a request is late), so
that a comparison never counts otherwise than the verdicts do. Must not judge a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from assertions import error_budget, latency
from assertions.assumptions import ASSUMPTIONS
from assertions.definition import param
from assertions.windows import stages
from harness.model.comparison import CONTROL_FACT
from harness.model.difference import Difference, Sample, quantile_difference, ratio_difference
from harness.model.experiment import Experiment
from harness.model.record import Record
from harness.model.time import Window

RELEVANT_RATIO = 0.001
"""Smallest difference of success that matters: a fifth of the error budget of 0.5 %."""

RELEVANT_LATENCY_RATIO = 0.1
RELEVANT_LATENCY_S = 0.005
"""Smallest difference of a latency that matters: a tenth of what it was, and no less than this."""

LATENCY_QUANTILE = 0.95
LATENCY_STAGE = "burst"
NEEDS = ("run_completed", "load_reached_floor", "generator_healthy")
"""What must hold of both runs for a figure to be about the platform and not about a cut-off or half-sent load."""


def differences(before: Record, after: Record) -> tuple[Difference, ...]:
    """Return the figures that have an interval.

    Args:
        before: The first run.
        after: The second run, whose error budget says which codes are bad.
    """
    doubt = "; ".join([*_doubts("first", before), *_doubts("second", after)])
    found = (_success(before, after), _latency(before, after))
    return tuple(_doubted(one, doubt) for one in found)


def _doubts(which: str, record: Record) -> Iterator[str]:
    for name in NEEDS:
        assumption = ASSUMPTIONS[name](record)
        if assumption.holds is not True:
            yield f"the {which} run: {name} is not so ({assumption.reason})"
            return


def _doubted(found: Difference, doubt: str) -> Difference:
    problem = "; ".join(text for text in (doubt, found.problem) if text)
    return replace(found, problem=problem)


def _success(before: Record, after: Record) -> Difference:
    codes = _bad_codes(after.experiment)
    sides = [_sample(one, lambda log: error_budget.good_requests(log, codes)) for one in (before, after)]
    return ratio_difference("success_ratio", sides[0], sides[1], RELEVANT_RATIO)


def _bad_codes(experiment: Experiment) -> tuple[int, ...]:
    spec = experiment.assertion(error_budget.KIND)
    return tuple(param(spec, error_budget.SCHEMA, "bad_codes")) if spec else error_budget.BAD_CODES


def _latency(before: Record, after: Record) -> Difference:
    sides = [_sample(one, latency.response_times, LATENCY_STAGE) for one in (before, after)]
    first = sides[0].values
    was_s = float(np.quantile(first, LATENCY_QUANTILE, method="higher")) if len(first) else 0.0
    relevant_s = max(RELEVANT_LATENCY_RATIO * was_s, RELEVANT_LATENCY_S)
    return quantile_difference(f"{LATENCY_STAGE}_latency_p95_s", sides[0], sides[1], LATENCY_QUANTILE, relevant_s)


def _sample(record: Record, measure: Callable[[pd.DataFrame], npt.NDArray[Any]], stage: str = "") -> Sample:
    """Return the requests of a whole run, or of the stage in which they were due."""
    log = record.requests
    if stage:
        window = next((window for one, window in stages(record) if one.name == stage), None)
        log = log[_due_in(log, window)] if window else log.iloc[:0]
    if log.empty:
        return Sample(np.array([]), np.array([]))
    return Sample(log["intended_s"].to_numpy(dtype=np.float64), np.asarray(measure(log), dtype=np.float64))


def _due_in(log: pd.DataFrame, window: Window) -> npt.NDArray[np.bool_]:
    intended_s = log["intended_s"].to_numpy(dtype=np.float64)
    return np.asarray((intended_s >= window.start_s) & (intended_s < window.end_s))


def incomparable(before: Record, after: Record) -> tuple[str, ...]:
    """Return why two records must not be compared; empty where they may.

    One with its faults and one control run without are the comparison that a control run is made for.
    """
    first, second = before.experiment, after.experiment
    if before.header.experiment != after.header.experiment:
        return (f"they are runs of two experiments: {before.header.experiment} and {after.header.experiment}",)
    found = [*_loads(first, second)]
    controls = {bool(one.header.facts.get(CONTROL_FACT)) for one in (before, after)}
    if len(controls) == 1 and first.faults != second.faults:
        found.append("their faults differ: the experiment was changed between them")
    found += [f"the {which} run has no request log" for which, one in _named(before, after) if one.requests.empty]
    return tuple(found)


def _named(before: Record, after: Record) -> tuple[tuple[str, Record], ...]:
    return ("first", before), ("second", after)


def _loads(first: Experiment, second: Experiment) -> Iterator[str]:
    if first.load.name != second.load.name:
        yield f"their load profiles differ: {first.load.name} and {second.load.name}"
    elif first.load.peak_rps != second.load.peak_rps:
        yield f"their loads differ: peaks of {first.load.peak_rps:g} and {second.load.peak_rps:g} rps"
    elif first.load != second.load or first.load_options != second.load_options:
        yield f"their loads differ: other stages, mix or options of {first.load.name}"
