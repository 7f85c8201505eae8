"""Figures of two records with their difference, and why two records must not be compared. Pure over the records.

A composition root's own: it asks the judges' own measures (which requests are good, from when a request is late), so
that a comparison never counts otherwise than the verdicts do. Must not judge a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
from harness.model.facts import WorkloadFact
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
    doubts = [f"the {which} run: {text}" for which, one in _named(before, after) if (text := doubt(one))]
    told = "; ".join([*doubts, *_apart_from_the_start(before, after)])
    found = (_success(before, after), _latency(before, after))
    return tuple(_doubted(one, told) for one in found)


def _apart_from_the_start(before: Record, after: Record) -> Iterator[str]:
    """Yield what had another number of replicas when the load began: a platform that is scaled up has less to do.

    An autoscaler may take minutes to go back after the run before, so this is what two runs in a row are prone to.
    """
    sides = [replicas_asked(one, w.start_s) for one in (before, after) if (w := one.timeline.load_window())]
    if len(sides) < 2:  # noqa: PLR2004 - a run without load has its own doubt
        return
    for name in sorted(set(sides[0]) & set(sides[1])):
        if sides[0][name] != sides[1][name]:
            yield f"they began with {sides[0][name]} and {sides[1][name]} replicas of {name}"


def replicas_asked(record: Record, at_s: float) -> dict[str, int]:
    """Return how many replicas were asked for at an instant, by ``namespace/name`` of the experiment's workloads."""
    watched = {(one.namespace, one.name) for one in record.experiment.scope.workloads}
    facts = record.timeline.facts(WorkloadFact, lambda one: (one.namespace, one.name) in watched)
    known = [one for t_s, one in facts if t_s <= at_s and one.spec_replicas is not None]
    return {f"{one.namespace}/{one.name}": one.spec_replicas or 0 for one in known}


def doubt(record: Record) -> str:
    """Return why the figures of a run are not about the platform, or an empty string."""
    assumed = (ASSUMPTIONS[name](record) for name in NEEDS)
    return next((f"{one.name} is not so ({one.reason})" for one in assumed if one.holds is not True), "")


def _doubted(found: Difference, doubts: str) -> Difference:
    return replace(found, problem="; ".join(text for text in (doubts, found.problem) if text))


def success_ratio(record: Record) -> float:
    """Return the share of good requests of a run; NaN for none at all."""
    values = _good(record, _bad_codes(record.experiment)).values
    return float(values.mean()) if len(values) else math.nan


def latency_p95_s(record: Record) -> float:
    """Return the p95 of the response times in the burst; NaN where it was not reached."""
    values = _times(record).values
    return float(np.quantile(values, LATENCY_QUANTILE, method="higher")) if len(values) else math.nan


def _success(before: Record, after: Record) -> Difference:
    codes = _bad_codes(after.experiment)
    return ratio_difference("success_ratio", _good(before, codes), _good(after, codes), RELEVANT_RATIO)


def _bad_codes(experiment: Experiment) -> tuple[int, ...]:
    spec = experiment.assertion(error_budget.KIND)
    return tuple(param(spec, error_budget.SCHEMA, "bad_codes")) if spec else error_budget.BAD_CODES


def _latency(before: Record, after: Record) -> Difference:
    was_s = latency_p95_s(before)
    relevant_s = max(RELEVANT_LATENCY_RATIO * was_s, RELEVANT_LATENCY_S) if math.isfinite(was_s) else RELEVANT_LATENCY_S
    name = f"{LATENCY_STAGE}_latency_p95_s"
    return quantile_difference(name, _times(before), _times(after), LATENCY_QUANTILE, relevant_s)


def _good(record: Record, codes: tuple[int, ...]) -> Sample:
    log = record.requests
    return _sample(log, error_budget.good_requests(log, codes) if len(log) else np.array([]))


def _times(record: Record) -> Sample:
    """Return the response times of the requests that were due in the burst."""
    window = next((window for one, window in stages(record) if one.name == LATENCY_STAGE), None)
    log = record.requests
    log = log[_due_in(log, window)] if window else log.iloc[:0]
    return _sample(log, latency.response_times(log) if len(log) else np.array([]))


def _sample(log: pd.DataFrame, values: npt.NDArray[Any]) -> Sample:
    return Sample(log["intended_s"].to_numpy(dtype=np.float64), np.asarray(values, dtype=np.float64))


def _due_in(log: pd.DataFrame, window: Window) -> npt.NDArray[np.bool_]:
    intended_s = log["intended_s"].to_numpy(dtype=np.float64)
    return np.asarray((intended_s >= window.start_s) & (intended_s < window.end_s))


def incomparable(before: Record, after: Record) -> tuple[str, ...]:
    """Return why two records must not be compared; empty where they may.

    One with its faults and one control run without are the comparison that a control run is made for.
    """
    found = [*differently_made(before, after)]
    found += [f"the {which} run has no request log" for which, one in _named(before, after) if one.requests.empty]
    return tuple(found)


def differently_made(before: Record, after: Record) -> tuple[str, ...]:
    """Return in what two runs differ by their making: experiment, load, faults; empty where in nothing."""
    first, second = before.experiment, after.experiment
    if before.header.experiment != after.header.experiment:
        return (f"they are runs of two experiments: {before.header.experiment} and {after.header.experiment}",)
    found = [*_loads(first, second)]
    controls = {bool(one.header.facts.get(CONTROL_FACT)) for one in (before, after)}
    if len(controls) == 1 and first.faults != second.faults:
        found.append("their faults differ: the experiment was changed between them")
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
