"""Claims about a signal over a window: always, never, sometimes, eventually within, for at least. Pure.

`claimed` makes a whole assertion kind of a claim in a few lines (docs/assertions.md); `assertions.signal` lets an
experiment file state one without code. A hole, a value that is not finite and a partial answer are unknown stretches:
they never turn a claim true, and a counterexample outside them still proves it false.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assertions.definition import (
    NEEDS_OF_MEASURED,
    Check,
    Definition,
    broken,
    conclude,
    held,
    limit_s,
    param,
    params_object,
    unclear,
)
from assertions.temporal import (
    Predicate,
    Span,
    always,
    eventually_within,
    held_for,
    longest_s,
    never,
    sometimes,
    spans,
    steps_of_series,
)
from assertions.windows import demand_window, stage_window
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.signal import Series, SignalHarvest
from harness.model.time import Window
from harness.model.verdict import Coverage, Verdict

WHOLE = "demand"
"""Window of a claim that names no stage: the raised load."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed.

    Attributes:
        mode: A key in `MODES`.
        signal: Name of the signal.
        holds: The condition, over values.
        text: The condition in words, such as ``at most 50``.
        within_s: Of ``eventually``.
        duration_s: Of ``for-at-least``.
        stage: Stage of the profile, or `WHOLE`.
    """

    mode: str
    signal: str
    holds: Predicate
    text: str
    within_s: float = 0.0
    duration_s: float = 0.0
    stage: str = WHOLE

    def __str__(self) -> str:
        """Return ``always: queue_depth is at most 50 (stage burst)``."""
        extra = {"eventually": f" within {self.within_s:g} s", "for-at-least": f" for at least {self.duration_s:g} s"}
        return f"{self.mode}: {self.signal} is {self.text}{extra.get(self.mode, '')} ({self.stage})"


Ask = Callable[[Claim, Sequence[Span]], bool | None]

MODES: Mapping[str, Ask] = {
    "always": lambda claim, found: always(found),
    "never": lambda claim, found: never(found),
    "sometimes": lambda claim, found: sometimes(found),
    "eventually": lambda claim, found: eventually_within(found, claim.within_s)[0],
    "for-at-least": lambda claim, found: held_for(found, claim.duration_s),
}
"""Every mode by name."""


def judge_claim(record: Record, spec: AssertionSpec, claim: Claim) -> Verdict:
    """Judge a claim: it must hold for every series of its signal."""
    window, harvest = _window(record, claim.stage), record.harvest.signals.get(claim.signal)
    problem = record.harvest.problem(claim.signal)
    if window is None or not window.duration_s:
        check = unclear(f"the {claim.stage} was not reached", "see why the run ended early, or which stages there are")
        return conclude(spec, [check], str(claim))
    if problem or harvest is None:
        check = unclear(problem, "see the target's query pack and Prometheus' page of targets")
        return conclude(spec, [check], str(claim), window=window)
    checks = [_series_check(claim, series, harvest, window) for series in harvest.series]
    return conclude(
        spec, checks, str(claim), window=window, coverage=_coverage(harvest, window), figures=_figures(harvest, window)
    )


def _window(record: Record, stage: str) -> Window | None:
    return demand_window(record) if stage == WHOLE else stage_window(record, stage)


def _series_check(claim: Claim, series: Series, harvest: SignalHarvest, window: Window) -> Check:
    found = spans(steps_of_series(series, harvest.hole_max_s), window, claim.holds)
    answer = MODES[claim.mode](claim, found)
    who = f"{claim.signal}{{{', '.join(f'{k}={v}' for k, v in sorted(series.labels.items()))}}}"
    told = f"{who}: {_extremes(series, window)}, {claim.text} for {longest_s(found, True):.0f} s on end (longest known)"
    if answer is None:
        unknown_s = sum(span.duration_s for span in found if span.holds is None)
        return unclear(f"{who}: unknown for {unknown_s:.0f} s of the window", "see why samples are missing", told)
    return held(told) if answer else broken(f"{claim}: it is not so; {told}", "see the chart of the signal", told)


def _extremes(series: Series, window: Window) -> str:
    values = series.within(window).values
    known = values[np.isfinite(values)]
    return f"{known.min():g} to {known.max():g}" if len(known) else "no value"


def _coverage(harvest: SignalHarvest, window: Window) -> Coverage:
    worst = [series.coverage(window, harvest.step_s or 1.0) for series in harvest.series]
    return min(worst, key=lambda one: one.samples)


def _figures(harvest: SignalHarvest, window: Window) -> dict[str, float]:
    values = np.concatenate([series.within(window).values for series in harvest.series])
    known = values[np.isfinite(values)]
    return {"value_min": float(known.min()), "value_max": float(known.max())} if len(known) else {}


def claimed(  # noqa: PLR0913 - what a kind is made of
    *, kind: str, question: str, signal: str, mode: str, text: str, holds: Callable[[Any, float], Any],
    limit: Mapping[str, Any], duration: Mapping[str, Any] | None = None,
) -> Definition:  # fmt: skip
    """Make an assertion kind of a claim.

    Args:
        kind: Its key in `ASSERTIONS`.
        question: The question that it answers.
        signal: Signal of the query pack.
        mode: A key in `MODES`.
        text: The condition in words, with ``{limit}``.
        holds: The condition: values and the limit give a truth per value.
        limit: JSON schema of the parameter ``limit``, with its default.
        duration: JSON schema of the parameter ``duration``, for the modes that have one.
    """
    properties = {"limit": limit, "stage": {"type": "string", "default": WHOLE}}
    schema = params_object(properties | ({"duration": duration} if duration else {}))

    def judge(record: Record, spec: AssertionSpec) -> Verdict:
        bound = float(param(spec, schema, "limit"))
        for_s = limit_s(spec, schema, "duration") if duration else 0.0
        stage = str(param(spec, schema, "stage"))
        claim = Claim(mode, signal, lambda v: holds(v, bound), text.format(limit=f"{bound:g}"), for_s, for_s, stage)
        return judge_claim(record, spec, claim)

    return Definition(kind, question, judge, schema, (signal,), NEEDS_OF_MEASURED)
