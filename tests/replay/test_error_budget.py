"""Records that `error_budget` must pass, fail or leave open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from harness.judge import judge
from harness.model.record import Ending
from harness.model.verdict import Outcome, Verdict
from tests.replay.builders import Run, add_gateway, good_run, judged, with_params

KIND = "error_budget"
SIGNAL = "gateway_requests_total"


def spoil(run: Run, count: int, status: int, outcome: str = "http_error", seen_by_gateway: bool = True) -> Run:
    """Turn requests of the burst bad."""
    rows = run.requests.index[run.requests["intended_s"] > 60][:count]
    run.requests.loc[rows, "status"] = status
    run.requests.loc[rows, "outcome"] = outcome
    if seen_by_gateway:
        add_gateway(run)
    return run


def test_no_error_passes_with_both_figures() -> None:
    verdict = judged(good_run(), KIND)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["requests"] == verdict.figures["gateway_requests"] == 6825
    assert "429" in verdict.expected


def test_errors_within_the_budget_pass() -> None:
    assert judged(spoil(good_run(), 34, 503), KIND).outcome is Outcome.PASS


def test_one_error_over_the_budget_fails() -> None:
    verdict = judged(spoil(good_run(), 35, 503), KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "35 of 6825 requests were bad, 34 were allowed" in verdict.reason


@pytest.mark.parametrize(
    ("status", "outcome", "expected"),
    [
        (429, "http_error", Outcome.FAIL),
        (408, "http_error", Outcome.FAIL),
        (404, "http_error", Outcome.PASS),
        (0, "timeout", Outcome.FAIL),
        (0, "connect_error", Outcome.FAIL),
        (200, "broken", Outcome.FAIL),
        (0, "unfinished", Outcome.FAIL),
    ],
)
def test_which_answers_are_bad_is_a_table_c17_d08(status: int, outcome: str, expected: Outcome) -> None:
    run = spoil(good_run(), 60, status, outcome)
    if outcome == "broken":
        run = with_params(run, KIND, ratio_tolerance=0.02)
    assert judged(run, KIND).outcome is expected


def test_the_table_can_be_changed_and_is_printed_c17() -> None:
    run = with_params(spoil(good_run(), 60, 404), KIND, bad_codes=[404])
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "404" in verdict.expected


def test_a_total_outage_without_any_counter_fails_by_the_request_log_c04() -> None:
    run = spoil(good_run(), 6000, 0, "connect_error", seen_by_gateway=False)
    run.series.pop(SIGNAL)
    run.errors[SIGNAL] = "prometheus: query: no answer"
    assert judged(run, KIND).outcome is Outcome.FAIL


def test_a_total_outage_in_which_the_gateway_counts_nothing_fails_c04() -> None:
    assert judged(spoil(good_run(), 6000, 0, "connect_error"), KIND).outcome is Outcome.FAIL


def test_no_request_at_all_is_inconclusive_d04() -> None:
    run = good_run()
    run.requests = run.requests.iloc[:0]
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "request log is empty" in verdict.reason


def test_too_few_requests_cannot_pass_but_an_outage_among_them_fails() -> None:
    run = good_run()
    run.requests = run.requests.iloc[:300].copy()
    add_gateway(run)
    assert "300 requests are too few" in judged(run, KIND).reason
    run.requests["status"], run.requests["outcome"] = 503, "http_error"
    add_gateway(run)
    assert judged(run, KIND).outcome is Outcome.FAIL


def empty(run: Run) -> None:
    run.series[SIGNAL] = []


def nan(run: Run) -> None:
    run.reshape(SIGNAL, lambda t, v: (t, np.where(t > 100, np.nan, v)))


def partial(run: Run) -> None:
    run.warnings[SIGNAL] = "PARTIAL_RESPONSE"


def failed(run: Run) -> None:
    run.errors[SIGNAL] = "HTTP 503"


def holed(run: Run) -> None:
    run.reshape(SIGNAL, lambda t, v: (t[(t < 80) | (t > 100)], v[(t < 80) | (t > 100)]))


def born_late(run: Run) -> None:
    run.reshape(SIGNAL, lambda t, v: (t[t > 100], v[t > 100]))


def died_early(run: Run) -> None:
    run.reshape(SIGNAL, lambda t, v: (t[t < 100], v[t < 100]))


def one_scrape_after(run: Run) -> None:
    run.reshape(SIGNAL, lambda t, v: (t[t < 163], v[t < 163]))


def unlabelled(run: Run) -> None:
    run.series[SIGNAL] = []
    run.add_series(SIGNAL, np.arange(0, 180, 2.0), np.arange(90.0), instance="a")


def not_asked(run: Run) -> None:
    del run.series[SIGNAL]


@pytest.mark.parametrize(
    ("spoiler", "reason"),
    [
        (empty, "no series"),
        (nan, "not a finite number"),
        (partial, "PARTIAL_RESPONSE"),
        (failed, "HTTP 503"),
        (holed, "a hole of"),
        (born_late, "0 scrapes before the first request"),
        (died_early, "0 scrapes after the last answer"),
        (one_scrape_after, "1 scrapes after the last answer"),
        (unlabelled, "no label"),
        (not_asked, "was not asked for"),
    ],
)
def test_counters_that_cannot_be_used_are_inconclusive_c01_c02_c11(spoiler: Any, reason: str) -> None:
    run = good_run()
    spoiler(run)
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert reason in verdict.reason
    assert judged(spoil(run, 100, 503, seen_by_gateway=False), KIND).outcome is Outcome.FAIL


def test_errors_that_the_gateway_hides_are_inconclusive_with_both_figures() -> None:
    verdict = judged(spoil(good_run(), 100, 503, seen_by_gateway=False), KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "0 bad answers, the client 100" in verdict.reason


def test_requests_of_somebody_else_are_inconclusive() -> None:
    run = good_run()
    run.reshape(SIGNAL, lambda t, v: (t, v * 1.5))
    assert "the gateway counted" in judged(run, KIND).reason


def test_time_outs_that_the_gateway_counts_as_answers_are_no_disagreement() -> None:
    run = good_run()
    spoil(run, 100, 0, "timeout", seen_by_gateway=False)
    verdict = judged(run, KIND)
    assert verdict.outcome is Outcome.FAIL
    assert "100 x timeout" in verdict.reason


def test_a_restart_of_the_gateways_counters_is_no_error_c08() -> None:
    run = good_run()
    run.reshape(SIGNAL, lambda t, v: (t, np.where(t > 99, v - v[t <= 99][-1], v)))
    assert judged(run, KIND).outcome is Outcome.PASS


def test_two_gateways_are_summed_and_one_that_came_up_meanwhile_counts_from_zero() -> None:
    run = good_run()
    run.reshape(SIGNAL, lambda t, v: (t, np.where(t < 100, v, v[t < 100][-1])))
    rest = good_run()
    for one in rest.series[SIGNAL]:
        late = one.t_s >= 100
        labels = {**one.labels, "instance": "127.44.0.3:9901"}
        run.add_series(SIGNAL, one.t_s[late], one.values[late] - one.values[~late][-1], **labels)
    assert judged(run, KIND).outcome is Outcome.PASS


def test_figures_tell_stages_bound_and_budget() -> None:
    figures = judged(spoil(good_run(), 17, 503), KIND).figures
    assert figures["budget_spent_ratio"] == pytest.approx(0.5)
    assert figures["burst_success_ratio"] < figures["baseline_success_ratio"] == 1.0
    assert figures["bad_ratio_upper_bound"] > 17 / 6825


def test_only_a_missing_class_of_errors_is_zero_and_never_a_missing_total_c03() -> None:
    run = good_run()
    run.series[SIGNAL] = [one for one in run.series[SIGNAL] if one.labels["envoy_response_code_class"] == "2"]
    assert judged(run, KIND).outcome is Outcome.PASS
    run = good_run()
    run.series[SIGNAL] = [one for one in run.series[SIGNAL] if one.labels["envoy_response_code_class"] == "5"]
    assert judged(run, KIND).outcome is Outcome.INCONCLUSIVE


def weighed(run: Run) -> Verdict:
    """Return the answer with what it leans on."""
    found = judge(run.record(), ASSERTIONS, ASSUMPTIONS).verdicts
    return next(verdict for verdict in found if verdict.kind == KIND)


def dropping(count: int) -> Run:
    run = good_run()
    run.change("load", lambda t, s, d: {**d, "dropped": count if t > 60 else 0})
    return run


def test_d08_requests_that_were_meant_and_never_sent_count_as_bad_where_they_would_spend_the_budget() -> None:
    verdict = judged(dropping(100), KIND)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "100 of 6925 intended requests were never sent: with them 100 are bad, 34 allowed" in verdict.reason
    assert verdict.figures["intended_success_ratio"] == pytest.approx(1 - 100 / 6925)


def test_some_that_were_never_sent_still_fit_into_the_budget() -> None:
    verdict = judged(dropping(10), KIND)
    assert verdict.outcome is Outcome.PASS
    assert verdict.figures["intended_requests"] == 6835


def test_what_is_left_of_the_budget_and_the_share_of_the_month_are_told() -> None:
    figures = judged(with_params(spoil(good_run(), 20, 503), KIND, monthly_requests=1_000_000), KIND).figures
    assert figures["budget_left_requests"] == 14
    assert figures["monthly_budget_spent_ratio"] == pytest.approx(20 / 5000)


def test_more_bad_requests_than_the_whole_profile_allows_are_proof_however_the_run_ended() -> None:
    run = spoil(good_run(), 200, 503)
    run.ended(Ending.ABORTED, "live guard: the error budget burns 60 times too fast")
    assert weighed(run).outcome is Outcome.FAIL
    some = good_run()
    some.requests = some.requests[some.requests["intended_s"] < 70]
    some = spoil(some, 20, 503)
    some.ended(Ending.ABORTED, "the load generator was lost")
    assert judged(some, KIND).outcome is Outcome.FAIL
    assert weighed(some).outcome is Outcome.INCONCLUSIVE, "the rest of the run might have made up for it"


@pytest.mark.parametrize(("objective", "needed"), [(0.99, 600), (0.995, 600), (0.999, 2996), (0.99999, 299574)])
def test_a_stricter_objective_needs_more_requests(objective: float, needed: int) -> None:
    run = with_params(good_run(), KIND, objective=objective)
    run.requests = run.requests.head(500)
    add_gateway(run)
    assert f"500 requests are too few: {needed} are needed to show " in judged(run, KIND).reason


def test_an_objective_is_told_as_it_was_written() -> None:
    strict = judged(with_params(good_run(), KIND, objective=0.99999), KIND)
    assert strict.outcome is Outcome.INCONCLUSIVE
    assert strict.expected.startswith("at least 99.999% of the requests succeed")
    assert judged(good_run(), KIND).expected.startswith("at least 99.50% of the requests succeed")
    assert judged(with_params(good_run(), KIND, objective=0.99999, min_requests=100), KIND).outcome is Outcome.PASS
