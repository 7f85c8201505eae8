"""A claim that an experiment file states itself: a signal of the query pack, a limit, and when it must hold. Pure."""

from __future__ import annotations

from assertions.claims import MODES, WHOLE, Claim, judge_claim
from assertions.definition import NEEDS_OF_MEASURED, Definition, duration, param, param_s, params_object
from harness.model.experiment import AssertionSpec
from harness.model.record import Record
from harness.model.verdict import Verdict

KIND = "signal"
SCHEMA = params_object(
    {
        "signal": {"type": "string", "minLength": 1, "description": "name of a signal of the target's query pack"},
        "mode": {"enum": list(MODES), "default": "always"},
        "at_most": {"type": "number", "description": "the values must be at most this; or give at_least"},
        "at_least": {"type": "number", "description": "the values must be at least this"},
        "within": duration("of mode eventually: how soon", "60s"),
        "duration": duration("of mode for-at-least: how long on end", "30s"),
        "stage": {
            "type": "string",
            "default": WHOLE,
            "description": "stage of the load profile; all of the raised load",
        },
    },
    required=["signal"],
) | {"oneOf": [{"required": ["at_most"]}, {"required": ["at_least"]}]}


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the claim of the file."""
    upper = spec.params.get("at_most")
    bound = float(spec.params["at_least"] if upper is None else upper)
    claim = Claim(
        mode=str(param(spec, SCHEMA, "mode")),
        signal=str(spec.params["signal"]),
        holds=(lambda values: values >= bound) if upper is None else (lambda values: values <= bound),
        text=f"{'at least' if upper is None else 'at most'} {bound:g}",
        within_s=param_s(spec, SCHEMA, "within") or 0.0,
        duration_s=param_s(spec, SCHEMA, "duration") or 0.0,
        stage=str(param(spec, SCHEMA, "stage")),
    )
    return judge_claim(record, spec, claim)


DEFINITION = Definition(
    kind=KIND,
    question="Does a signal keep what the experiment says of it?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=NEEDS_OF_MEASURED,
)
