"""Did enough requests succeed? Asked of the gateway's counters and of the client's request log, which must agree.

Pure. Sums of good and total are divided once; no rate is averaged. Which answers are bad is a table (`bad_codes`),
printed in every verdict (CASES C17).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from assertions.definition import (
    NEEDS_OF_MEASURED,
    Check,
    Definition,
    broken,
    conclude,
    held,
    param,
    params_object,
    unclear,
)
from assertions.gateway_counters import SIGNAL, ServerSide, server_side
from assertions.windows import offered_requests, stages
from harness.model.experiment import AssertionSpec
from harness.model.load import RequestOutcome
from harness.model.proportion import CONFIDENCE, lower_bound, upper_bound
from harness.model.record import Ending, Record
from harness.model.time import Window
from harness.model.verdict import Outcome, Verdict, at_most

KIND = "error_budget"
BAD_CODES = (408, 425, 429)
"""Codes below 500 that count as bad: the platform did not serve, and said so (shedding, time-out)."""

SCHEMA = params_object(
    {
        "objective": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.995},
        "min_requests": {
            "type": "integer",
            "minimum": 1,
            "default": 600,
            "description": "rule of three: no error in 3/0.005 requests shows at most 0.5 % at 95 % confidence; where "
            "it is not given, a stricter objective needs more, such as 3/0.001",
        },
        "bad_codes": {
            "type": "array",
            "items": {"type": "integer", "minimum": 100, "maximum": 499},
            "default": list(BAD_CODES),
            "description": "codes below 500 that are bad; 5xx, time-outs, broken and unfinished requests always are",
        },
        "ratio_tolerance": {"type": "number", "minimum": 0, "maximum": 0.1, "default": 0.002},
        "total_tolerance": {"type": "number", "minimum": 0, "maximum": 0.5, "default": 0.02},
        "monthly_requests": {
            "type": "integer",
            "minimum": 1,
            "default": 10_000_000,
            "description": "requests a month, for the share of the monthly budget that the run has spent",
        },
        "class_label": {"type": "string", "default": ""},
    }
)


@dataclass(frozen=True, slots=True)
class ClientSide:
    """What the request log says.

    Attributes:
        total: Requests that were sent, finished or not.
        bad: Of these, not good.
        answered: Requests that got a status, which the gateway must have counted.
        answered_bad: Of these, not good.
        by_class: Answers by first digit of their code.
        bad_4xx: Answers 4xx that count as bad.
        codes: Requests by code, or by outcome where none came.
        window: From the first start to the last answer.
    """

    total: int
    bad: int
    answered: int
    answered_bad: int
    by_class: Mapping[int, int]
    bad_4xx: int
    codes: Mapping[str, int]
    window: Window

    @property
    def bad_ratio(self) -> float:
        """Share of bad requests; NaN for none at all (CASES C02, D04)."""
        return self.bad / self.total if self.total else math.nan


def good_requests(requests: pd.DataFrame, bad_codes: tuple[int, ...] = BAD_CODES) -> npt.NDArray[np.bool_]:
    """Tell for each request whether it was good.

    Good is an answer that was read to its end, with a code below 500 that is not among the bad codes. Everything else
    is bad: 5xx, bad codes, time-outs, connection errors, broken answers, and requests that never finished (CASES D08).
    """
    status = requests["status"].to_numpy(dtype=np.int64)
    served = requests["outcome"].isin([RequestOutcome.OK.value, RequestOutcome.HTTP_ERROR.value]).to_numpy()
    good = served & (status > 0) & (status < 500)  # noqa: PLR2004 - HTTP server errors
    return np.asarray(good & ~np.isin(status, bad_codes))


def client_side(requests: pd.DataFrame, bad_codes: tuple[int, ...] = BAD_CODES) -> ClientSide | None:
    """Count the request log, or return None where it is empty; `good_requests` says which are good."""
    if requests.empty:
        return None
    status = requests["status"].to_numpy(dtype=np.int64)
    good, answered = good_requests(requests, bad_codes), status > 0
    start_s = requests["start_s"].to_numpy(dtype=np.float64)
    end_s = start_s + np.nan_to_num(requests["latency_s"].to_numpy(dtype=np.float64))
    return ClientSide(
        total=len(requests),
        bad=int((~good).sum()),
        answered=int(answered.sum()),
        answered_bad=int((answered & ~good).sum()),
        by_class={k: int((status // 100 == k).sum()) for k in range(1, 6)},
        bad_4xx=int((~good & (status // 100 == 4)).sum()),  # noqa: PLR2004
        codes=_codes_of(requests, status, answered),
        window=Window(float(start_s.min()), float(end_s.max())),
    )


def _codes_of(requests: pd.DataFrame, status: npt.NDArray[np.int64], answered: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Count requests by code, or by outcome where none came. Codes stay numbers: there may be millions."""
    codes, counts = np.unique(status[answered], return_counts=True)
    found = {str(code): int(count) for code, count in zip(codes, counts, strict=True)}
    silent = requests["outcome"][~answered].astype(str).value_counts()
    return dict(sorted((found | {str(name): int(count) for name, count in silent.items()}).items()))


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge the success ratio of a run (CASES C01, C02, C04, C17, D04, D08)."""
    objective = float(param(spec, SCHEMA, "objective"))
    bad_codes = tuple(int(code) for code in param(spec, SCHEMA, "bad_codes"))
    codes = f"bad: 5xx, {', '.join(map(str, bad_codes))}, time-outs, broken and unfinished; other 4xx are not"
    expected = f"at least {percent(objective)} of the requests succeed ({codes})"
    client = client_side(record.requests, bad_codes)
    if client is None:
        check = unclear("the request log is empty: no request, no budget", "see why no load was sent", "no request")
        return conclude(spec, [check], expected)
    server = server_side(record.harvest, client.window, str(param(spec, SCHEMA, "class_label")))
    return conclude(
        spec,
        [*_checks(client, server, spec, objective), *_intended_check(record, client, objective)],
        expected,
        window=client.window,
        coverage=server.coverage,
        evidence=_evidence(client, server),
        figures=_figures(record, client, server, spec, bad_codes),
        rests_on=_rests_on(record, client, objective),
    )


def _intended_check(record: Record, client: ClientSide, objective: float) -> list[Check]:
    """Count what was meant to be sent and never was: a stall must not look good (DESIGN §5)."""
    unsent = _unsent(record)
    if not unsent or client.bad > allowed_bad(client.total, objective):
        return []
    bad, total = client.bad + unsent, client.total + unsent
    observed = f"{unsent} of {total} intended requests were never sent"
    if at_most(bad, allowed_bad(total, objective)) is True:
        return [held(observed)]
    reason = f"{observed}: with them {bad} are bad, {allowed_bad(total, objective)} allowed"
    return [unclear(reason, "see whether the platform stalled, or the generator had too few users", observed)]


def _unsent(record: Record) -> int:
    """Return how many arrivals found no free user, by the generator's own count."""
    told = [event.detail.get("dropped") for event in record.timeline.of("load")]
    usable = [value for value in told if isinstance(value, (int, float)) and math.isfinite(value)]
    return int(usable[-1]) if usable else 0


def _rests_on(record: Record, client: ClientSide, objective: float) -> tuple[str, ...] | None:
    """Let a run that ended early fail all the same, where a healthy generator saw more bad than the whole may have."""
    proven = _proven_bad(client) > allowed_bad(_planned(record), objective)
    return ("generator_healthy",) if proven and record.header.ending is not Ending.COMPLETED else None


def _proven_bad(client: ClientSide) -> int:
    """Return the bad requests that no early end of the run can have cut off."""
    return client.bad - client.codes.get(RequestOutcome.UNFINISHED.value, 0)


def _planned(record: Record) -> int:
    """Return how many requests the whole profile asks for: more bad ones than it allows are proof, however it ended."""
    return round(sum(offered_requests(stage, 0.0, stage.duration_s) for stage in record.experiment.load.stages))


def _checks(client: ClientSide, server: ServerSide, spec: AssertionSpec, objective: float) -> list[Check]:
    ours = _client_check(client, spec, objective)
    if server.problem:
        reason = f"the gateway's counters cannot be used: {server.problem}"
        return [ours, unclear(reason, server.remedy, "gateway: no figure")]
    bad = _server_bad(client, server)
    theirs = f"gateway: {bad:.0f} of {server.total:.0f} bad"
    apart = _disagreement(client, server, bad, spec)
    if apart:
        # Neither side can be trusted then, so not even the client's breach is proven (DESIGN §5).
        remedy = "find out who else sends requests, or which answers one side does not see, before you trust either"
        return [unclear(apart, remedy, f"{ours.observed}; {theirs}")]
    if ours.outcome is Outcome.PASS and at_most(bad, (1 - objective) * server.total) is not True:
        reason = "the two sides agree within the tolerance but lie on either side of the limit"
        return [ours, unclear(reason, "too close to call: send more requests", theirs)]
    return [ours, held(theirs)]


def _client_check(client: ClientSide, spec: AssertionSpec, objective: float) -> Check:
    least, budget = _requests_needed(spec, objective), 1 - objective
    observed = (
        f"request log: {client.bad} of {client.total} bad, {1 - client.bad_ratio:.3%} good "
        f"(at most {upper_bound(client.bad, client.total):.3%} bad at 95 % confidence)"
    )
    if client.total < least and lower_bound(client.bad, client.total) <= budget:
        reason = f"{client.total} requests are too few: {least} are needed to show {percent(objective)}"
        return unclear(reason, "raise the load or its duration", observed)
    if at_most(client.bad, allowed_bad(client.total, objective)) is True:
        return held(observed)
    allowed = allowed_bad(client.total, objective)
    reason = f"{client.bad} of {client.total} requests were bad, {allowed} were allowed ({_codes(client)})"
    return broken(reason, "see in the report which codes came when, and which fault was on then", observed)


def _requests_needed(spec: AssertionSpec, objective: float) -> int:
    """Return the file's number, else how many without a bad one show the objective, but the default at least."""
    shown = math.ceil(-math.log(1 - CONFIDENCE) / (1 - objective))
    return int(spec.params.get("min_requests", max(shown, int(param(spec, SCHEMA, "min_requests")))))


def percent(ratio: float) -> str:
    """Return a share as a percentage of two decimals, or of as many as it needs: 99.999 % is not 100 %."""
    text = f"{ratio:.2%}"
    return text if math.isclose(float(text[:-1]) / 100, ratio, rel_tol=0, abs_tol=1e-12) else f"{ratio * 100:.10g}%"


def allowed_bad(total: int, objective: float) -> int:
    """Return how many bad requests an objective allows (floored; guarded against 0.005 x 6000 = 29.999…)."""
    return math.floor((1 - objective) * total + 1e-6)


def _codes(client: ClientSide) -> str:
    return ", ".join(f"{count} x {code}" for code, count in client.codes.items())


def _server_bad(client: ClientSide, server: ServerSide) -> float:
    """Return the gateway's bad answers: all 5xx, and of its 4xx the share that the client saw as bad codes."""
    seen_4xx = client.by_class[4]
    share = client.bad_4xx / seen_4xx if seen_4xx else 1.0
    return server.by_class.get(5, 0.0) + server.by_class.get(4, 0.0) * share


def _disagreement(client: ClientSide, server: ServerSide, server_bad: float, spec: AssertionSpec) -> str:
    """Return how the two sides differ beyond the tolerance, or an empty string.

    Requests without an answer may or may not have been counted by the gateway, so its figures may lie anywhere from the
    client's answered requests to all of them (CASES C04: in an outage the gateway sees less, not other things).
    """
    unanswered = client.total - client.answered
    slack = float(param(spec, SCHEMA, "total_tolerance")) * client.total
    if not client.answered - slack <= server.total <= client.total + slack:
        return (
            f"the gateway counted {server.total:.0f} answers, the client {client.answered} of {client.total} requests"
        )
    slack = float(param(spec, SCHEMA, "ratio_tolerance")) * client.total
    if not client.answered_bad - slack <= server_bad <= client.answered_bad + unanswered + slack:
        return (
            f"the gateway counted {server_bad:.0f} bad answers, the client {client.answered_bad} "
            f"and {unanswered} requests without an answer"
        )
    return ""


def _evidence(client: ClientSide, server: ServerSide) -> list[str]:
    lines = [f"request log by code or outcome: {_codes(client)}"]
    if server.window is not None:
        classes = ", ".join(f"{count:.0f} x {digit}xx" for digit, count in sorted(server.by_class.items()))
        lines.append(f"gateway counters over {server.window}: {classes}")
    return lines


def _figures(
    record: Record, client: ClientSide, server: ServerSide, spec: AssertionSpec, bad_codes: tuple[int, ...]
) -> dict[str, float]:
    objective, unsent = float(param(spec, SCHEMA, "objective")), _unsent(record)
    allowed, intended = allowed_bad(client.total, objective), client.total + unsent
    monthly = (1 - objective) * int(param(spec, SCHEMA, "monthly_requests"))
    figures: dict[str, float] = {
        "requests": client.total,
        "bad_requests": client.bad,
        "bad_requests_allowed": allowed,
        "success_ratio": 1 - client.bad_ratio,
        "bad_ratio_upper_bound": upper_bound(client.bad, client.total),
        "budget_spent_ratio": client.bad / allowed if allowed else math.inf if client.bad else 0.0,
        "budget_left_requests": allowed - client.bad,
        "monthly_budget_spent_ratio": client.bad / monthly,
        "intended_requests": intended,
        "intended_success_ratio": 1 - (client.bad + unsent) / intended,
    }
    if not server.problem and server.total:
        figures["gateway_requests"] = server.total
        figures["gateway_success_ratio"] = 1 - _server_bad(client, server) / server.total
    return figures | _by_stage(record, bad_codes)


def _by_stage(record: Record, bad_codes: tuple[int, ...]) -> dict[str, float]:
    """Return the success ratio of each stage, by intended start; sub-windows come from the request log only."""
    intended = record.requests["intended_s"].to_numpy(dtype=np.float64)
    good = good_requests(record.requests, bad_codes)
    found: dict[str, float] = {}
    for stage, window in stages(record):
        part = good[(intended >= window.start_s) & (intended < window.end_s)]
        if len(part):
            found[f"{stage.name}_success_ratio"] = 1 - np.count_nonzero(~part) / len(part)
    return found


DEFINITION = Definition(
    kind=KIND,
    question="Did enough requests succeed?",
    judge=judge,
    params_schema=SCHEMA,
    signals=(SIGNAL,),
    needs_for_pass=NEEDS_OF_MEASURED,
    needs_for_fail=("run_completed",),
)
