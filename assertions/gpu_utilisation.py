"""Were the GPUs busy at peak? Mean utilisation over all devices and the burst, from DCGM's figures.

Pure. Which figure is right depends on the mode: a MIG device has no ``DCGM_FI_DEV_GPU_UTIL`` worth reading (CASES G06).
Nothing but zeros under load is no idle GPU but a figure that does not work, and so is one outside 0 to 100 %, which is
how DCGM says "not known"; series of an exporter alone say nothing of a workload (CASES G04, G05).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from assertions.definition import Check, Definition, broken, conclude, held, param, params_object, unclear
from assertions.windows import stage_window
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.signal import Series, joined
from harness.model.time import Window
from harness.model.verdict import Verdict, at_least

KIND = "gpu_utilisation"
UTIL, ENGINE = "gpu_utilisation_percent", "gpu_engine_active_ratio"
MIG_LABELS = ("GPU_I_ID", "GPU_I_PROFILE")
WORKLOAD_LABELS = ("exported_pod", "pod")
EXPORTER = "dcgm-exporter"
REMEDY = "see the exporter's page; docs/targets.md says what the query pack needs"
SCHEMA = params_object(
    {
        "limit_ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.6},
        "stage": {"type": "string", "default": "burst", "description": "stage of the load profile that is judged"},
        "workload": {"type": "string", "default": "", "description": "start of the pods' names; empty: every workload"},
    }
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the mean over devices of their mean utilisation (CASES G03 to G06)."""
    limit, stage = float(param(spec, SCHEMA, "limit_ratio")), str(param(spec, SCHEMA, "stage"))
    expected = f"the GPUs are used at least {limit:.0%} on average during {stage}"
    window = stage_window(record, stage)
    if window is None:
        return conclude(spec, [unclear(f"the stage {stage} was not reached", "see why the run ended early")], expected)
    series, source, problem = _source(record)
    if problem:
        return conclude(spec, [unclear(problem, REMEDY)], expected, window=window)
    named = [one for one in series if _workload(one.labels)]
    unlabelled = len(series) - len(named)
    mine = _devices([one for one in named if _workload(one.labels).startswith(str(param(spec, SCHEMA, "workload")))])
    ratios = [_mean(one, window, source) for one in mine]
    doubts = [*_trust_checks(record, mine, window, source, unlabelled)]
    if source == ENGINE:
        doubts.extend(_unread_checks(record.harvest.series(UTIL), series))
    checks = doubts or [*_use_check(ratios, limit)]  # a mean over doubtful figures proves neither
    evidence = [f"source: {source}", f"{unlabelled} of {len(series)} series name no workload"]
    figures = {"gpu_ratio": _average(ratios), "gpus": float(len(mine)), "unlabelled_series": float(unlabelled)}
    return conclude(spec, checks, expected, window=window, evidence=evidence, figures=figures)


def _source(record: Record) -> tuple[Sequence[Series], str, str]:
    """Return the series to read, their signal, and what is wrong: the engine's figure where any device is split."""
    util, engine = record.harvest.series(UTIL), record.harvest.series(ENGINE)
    split = any(label in one.labels for one in (*util, *engine) for label in MIG_LABELS)
    source = ENGINE if split or (engine and not util) else UTIL
    problem = record.harvest.problem(source)
    if problem and split:
        problem = f"GPUs are split (MIG), where only {ENGINE} tells their use: {problem}"
    return record.harvest.series(source), source, problem


def _workload(labels: Mapping[str, str]) -> str:
    """Return the workload's pod: ``exported_pod`` where the scrape keeps its own ``pod`` (honor_labels: false)."""
    pod = next((labels[name] for name in WORKLOAD_LABELS if labels.get(name)), "")
    return "" if EXPORTER in pod else pod


def _card(labels: Mapping[str, str]) -> str:
    """Return which GPU it is: its UUID where there is one, else its number on its node."""
    return labels.get("UUID") or "/".join(filter(None, (labels.get("Hostname"), labels.get("gpu"))))


def _devices(found: Sequence[Series]) -> list[Series]:
    """Join the series of each device: one that went from pod to pod is still one device."""
    by_device: dict[object, list[Series]] = {}
    for one in found:
        card = _card(one.labels)
        key = (card, one.labels.get("GPU_I_ID", "")) if card else tuple(sorted(one.labels.items()))
        by_device.setdefault(key, []).append(one)
    return [joined(parts[0].signal, parts) for parts in by_device.values()]


def _mean(one: Series, window: Window, source: str) -> float:
    values = one.within(window).values
    if not len(values):
        return math.nan
    return float(np.mean(values)) / (100 if source == UTIL else 1)


def _average(ratios: Sequence[float]) -> float:
    return float(np.mean(ratios)) if ratios else math.nan


def _trust_checks(
    record: Record, mine: Sequence[Series], window: Window, source: str, unlabelled: int
) -> Iterator[Check]:
    if not mine:
        yield unclear(
            f"no series names a workload that is asked for ({unlabelled}: only the exporter or nobody)", REMEDY
        )
        return
    values = np.concatenate([one.within(window).values for one in mine])
    most = 100 if source == UTIL else 1
    if not np.isfinite(values).all():
        yield unclear(f"signal {source} has values that are no numbers", REMEDY)
    elif ((values < 0) | (values > most)).any():
        odd = values.max() if values.max() > most else values.min()
        yield unclear(f"signal {source} has values outside 0 to {most}, such as {odd:.3g}", REMEDY)
    limit_s = record.harvest.signals[source].hole_max_s
    gap_s = max(one.coverage(window, 1.0).gap_max_s for one in mine)
    if gap_s > limit_s:
        yield unclear(f"signal {source} has a hole of {gap_s:.0f} s (limit {limit_s:g} s)", REMEDY)
    if (values == 0).all():
        yield unclear(
            "every device says 0 while the load is on: the figure does not work, or nothing ran there", REMEDY
        )


def _unread_checks(util: Sequence[Series], engine: Sequence[Series]) -> Iterator[Check]:
    """Whole GPUs beside split ones count as well: none may be left out because only the other figure has it."""
    read = {_card(one.labels) for one in engine}
    unread = {card for one in util if _workload(one.labels) and (card := _card(one.labels))} - read
    if unread and "" not in read:
        yield unclear(f"{len(unread)} GPUs have no {ENGINE}, which is read because others are split (MIG)", REMEDY)


def _use_check(ratios: Sequence[float], limit: float) -> Iterator[Check]:
    ratio = _average(ratios)
    if not math.isfinite(ratio) or ratio == 0:
        return
    observed = f"{len(ratios)} GPUs used {ratio:.1%} on average, from {min(ratios):.0%} to {max(ratios):.0%}"
    if at_least(ratio, limit) is True:
        yield held(observed)
    else:
        remedy = "fewer GPUs would do, or the work does not reach them: see queue and batch size"
        yield broken(f"{observed}; the limit is {limit:.0%}", remedy, observed)


DEFINITION = Definition(
    kind=KIND,
    question="Were the GPUs busy at peak?",
    judge=judge,
    params_schema=SCHEMA,
    signals=(UTIL, ENGINE),
    needs_for_pass=("run_completed", "load_reached_floor", "generator_healthy", "faults_took_effect", "clocks_agree"),
    needs_for_fail=("load_reached_floor", "generator_healthy", "clocks_agree"),
)
