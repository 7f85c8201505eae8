"""Shares under a bucket's edge: pass, fail, and open between two edges (CASES C12)."""

from __future__ import annotations

import numpy as np
import pytest

from harness.model.verdict import Outcome
from tests.replay.builders import Run, asserting, good_run, judged

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
KIND = "latency_share"
SHARES = {"100": 0.5, "500": 0.9, "1000": 0.96, "+Inf": 1.0}


def share_run(**params: object) -> Run:
    """Return a run whose answers lie in the buckets as `SHARES` says."""
    run = asserting(good_run(), KIND, **params)
    times = run.series["gateway_requests_total"][0].t_s
    total = np.sum([one.values for one in run.series["gateway_requests_total"]], axis=0)
    for edge, share in SHARES.items():
        run.add_series("gateway_latency_bucket", times, total * share, le=edge)
    return run


@pytest.mark.parametrize(
    ("bound", "share", "outcome"),
    [
        ("1s", 0.95, PASS),
        ("1s", 0.97, FAIL),
        ("500ms", 0.9, PASS),
        ("700ms", 0.89, PASS),
        ("700ms", 0.97, FAIL),
        ("700ms", 0.95, OPEN),
        ("2s", 0.97, OPEN),
        ("50ms", 0.6, FAIL),
    ],
)
def test_c12_the_share_under_an_edge_is_a_count_and_between_two_edges_it_is_open(
    bound: str, share: float, outcome: Outcome
) -> None:
    verdict = judged(share_run(bound=bound, share_min=share), KIND)
    assert verdict.outcome is outcome, verdict.reason
    assert "edges in seconds: 0.1, 0.5, 1" in verdict.evidence


def test_c12_too_few_answers_are_open() -> None:
    verdict = judged(share_run(min_requests=10_000), KIND)
    assert (verdict.outcome, "too few" in verdict.reason) == (OPEN, True)


def test_no_buckets_and_no_requests_are_open() -> None:
    assert judged(asserting(good_run(), KIND), KIND).outcome is OPEN
    empty = share_run()
    empty.requests = empty.requests.iloc[:0]
    assert judged(empty, KIND).outcome is OPEN


def test_buckets_that_are_no_numbers_are_open() -> None:
    run = share_run()
    run.reshape("gateway_latency_bucket", lambda t, v: (t, np.where(t > 100, np.nan, v)))
    assert judged(run, KIND).outcome is OPEN


def test_a_gateway_that_counted_no_answer_is_open_and_no_crash() -> None:
    run = share_run()
    for name in ("gateway_requests_total", "gateway_latency_bucket"):
        run.reshape(name, lambda t, v: (t, v * 0))
    verdict = judged(run, KIND)
    assert (verdict.outcome, verdict.figures) == (OPEN, {})
    assert verdict.reason == "0 answers are too few, 200 are needed"
