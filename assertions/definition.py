"""What every assertion is made of: its definition, the checks that it ran, and the verdict that they add up to.

Pure. An assertion is a list of `Check`s, each with one limit; the worst one decides (`combine`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.time import Window, parse_duration_s
from harness.model.verdict import Coverage, Outcome, Verdict, combine


@dataclass(frozen=True, slots=True)
class Check:
    """One limit that was looked at.

    Attributes:
        outcome: What it says.
        observed: What was seen, with figures.
        reason: Why it does not hold or cannot be told; empty for PASS.
        remedy: What to do then.
    """

    outcome: Outcome
    observed: str
    reason: str = ""
    remedy: str = ""


NEEDS_OF_MEASURED = (
    "run_completed",
    "load_reached_floor",
    "generator_healthy",
    "faults_took_effect",
    "metrics_fresh",
    "clocks_agree",
)
"""What a PASS leans on where it was measured: by the load, under the faults, in Prometheus."""


def held(observed: str) -> Check:
    """Return a check that holds."""
    return Check(Outcome.PASS, observed)


def broken(reason: str, remedy: str = "", observed: str = "") -> Check:
    """Return a check that is proven not to hold."""
    return Check(Outcome.FAIL, observed or reason, reason, remedy)


def unclear(reason: str, remedy: str = "", observed: str = "") -> Check:
    """Return a check that cannot be told."""
    return Check(Outcome.INCONCLUSIVE, observed, reason, remedy)


@dataclass(frozen=True, slots=True)
class Definition:
    """An entry of `ASSERTIONS` (port `AssertionDefinition`).

    Attributes:
        kind: Its key.
        question: The question that it answers.
        judge: Pure function from a record to a verdict.
        params_schema: JSON schema of its limits.
        signals: Names of the signals to harvest for it.
        needs_for_pass: Assumptions without which a PASS becomes INCONCLUSIVE.
        needs_for_fail: Assumptions without which a FAIL becomes INCONCLUSIVE.
    """

    kind: str
    question: str
    judge: Callable[[Record, AssertionSpec], Verdict]
    params_schema: Mapping[str, Any]
    signals: tuple[str, ...] = ()
    needs_for_pass: tuple[str, ...] = ()
    needs_for_fail: tuple[str, ...] = ()

    def check(self, record: Record, spec: AssertionSpec) -> Verdict:
        """Judge a record."""
        return self.judge(record, spec)


def conclude(  # noqa: PLR0913 - the fields of a verdict
    spec: AssertionSpec,
    checks: Sequence[Check],
    expected: str,
    *,
    window: Window | None = None,
    coverage: Coverage | None = None,
    evidence: Sequence[str] = (),
    figures: Mapping[str, float] | None = None,
    rests_on: tuple[str, ...] | None = None,
) -> Verdict:
    """Add checks up to a verdict: the worst decides and gives reason and remedy; none at all is INCONCLUSIVE."""
    outcome = combine(check.outcome for check in checks)
    telling = [check for check in checks if check.outcome is outcome]
    open_ends = [f"could not be told: {c.reason}" for c in checks if c.outcome is Outcome.INCONCLUSIVE]
    return Verdict(
        assertion=spec.name,
        kind=spec.kind,
        outcome=outcome,
        expected=expected,
        observed="; ".join(check.observed for check in checks if check.observed) or "nothing",
        reason=_reason(outcome, telling),
        remedy="; ".join(dict.fromkeys(check.remedy for check in telling if check.remedy)),
        window=window,
        coverage=coverage,
        evidence=(*evidence, *(open_ends if outcome is Outcome.FAIL else ())),
        figures={name: float(value) for name, value in (figures or {}).items() if math.isfinite(value)},
        rests_on=rests_on if outcome is Outcome.FAIL else None,
    )


def _reason(outcome: Outcome, telling: Sequence[Check]) -> str:
    if outcome is Outcome.PASS:
        return "every limit held"
    return "; ".join(dict.fromkeys(check.reason for check in telling)) or "nothing was checked"


# Schemas -------------------------------------------------------------------------------------------------------------

DURATION: Mapping[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"},
    ]
}
"""JSON schema of a duration: ``90s``, ``1m30s`` or plain seconds."""


def duration(meaning: str, default: str | None = None) -> dict[str, Any]:
    """Return the schema of a duration with its meaning and default."""
    return {**DURATION, "description": meaning} | ({} if default is None else {"default": default})


def params_object(properties: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the schema of an assertion's limits; unknown keys are errors."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": list(required),
    }


def param(spec: AssertionSpec, schema: Mapping[str, Any], key: str) -> Any:
    """Return a limit, or the default that its schema states."""
    return spec.params.get(key, schema["properties"][key].get("default"))


def param_s(spec: AssertionSpec, schema: Mapping[str, Any], key: str) -> float | None:
    """Return a duration in seconds, or None where neither file nor schema give one."""
    value = param(spec, schema, key)
    return None if value is None else parse_duration_s(value)


def limit_s(spec: AssertionSpec, schema: Mapping[str, Any], key: str) -> float:
    """Return a duration that has a default."""
    value = param_s(spec, schema, key)
    if value is None:
        raise ValueError(f"{spec.kind}: {key} has neither a value nor a default")
    return value
