"""What counts as evidence: the whole window, pods as the API has them, no single sample (CASES A20, C07-C13, C18)."""

from __future__ import annotations

import numpy as np
import pytest

from assertions.registry import ASSERTIONS
from harness.model.fault import Loss
from harness.model.verdict import Outcome
from tests.replay.builders import (
    Run,
    add_fault,
    add_gateway,
    add_loss,
    add_pod,
    asserting,
    good_run,
    judged,
    scrapes,
)
from tests.replay.test_disruption_budget import small_run
from tests.replay.test_error_budget import spoil
from tests.replay.test_latency_share import share_run
from tests.unit import stored_runs
from tests.unit.conductor_doubles import World
from tests.unit.test_conductor import Run as Conducted
from tests.unit.test_report_page import Document, page

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
PLANNER = {"workload": "agents/planner"}


def dip(run: Run, from_s: float, back_s: float) -> Run:
    """Take two of three planners away, and let two others be Ready from an instant on."""
    add_fault(run, from_s - 0.2, "fault", Loss.ABRUPT, ["planner-0", "planner-1"])
    for number in range(2):
        add_loss(run, from_s, f"planner-{number}")
        add_pod(run, back_s - 0.05, f"planner-again-{number}", ready_after_s=0.05)
    return run


def test_a20_a_dip_in_the_middle_counts_though_both_ends_are_good() -> None:
    run = good_run()
    during = run.requests["intended_s"].between(100, 120)
    run.requests.loc[during, ["status", "outcome"]] = [503, "http_error"]
    add_gateway(run)
    run.say(50, "harness", "gate", "baseline", ok=True, reason="the steady state holds")
    run.say(170, "harness", "gate", "settle", ok=True, reason="the steady state is back")
    budget = judged(run, "error_budget")
    assert (budget.outcome, "of 6825 requests were bad" in budget.reason) == (FAIL, True)

    verdict = judged(dip(small_run(), 100, 120), "pdb_safety")
    assert (verdict.outcome, "1 Ready, 2 demanded" in verdict.reason) == (FAIL, True)


GATEWAY, CLASS = "gateway_requests_total", "envoy_response_code_class"


@pytest.mark.parametrize(("scraped", "outcome", "said"), [(True, FAIL, "40 of 6825"), (False, OPEN, "the client 40")])
def test_c07_errors_that_a_counter_shows_late_count_and_those_it_never_shows_make_nothing_green(
    scraped: bool, outcome: Outcome, said: str
) -> None:
    run = spoil(good_run(), 40, 503)
    (errors,) = [one for one in run.series[GATEWAY] if one.labels[CLASS] == "5"]
    run.series[GATEWAY].remove(errors)
    if scraped:  # it appears with its first errors in it, as the counter of a new pod does
        seen = errors.values > 0
        run.add_series(GATEWAY, errors.t_s[seen], errors.values[seen], **errors.labels)
    verdict = judged(run, "error_budget")
    assert (verdict.outcome, said in verdict.reason) == (outcome, True), verdict.reason


@pytest.mark.parametrize(
    ("kind", "signal"), [("error_budget", GATEWAY), ("backlog", "queue_depth"), ("latency_share", GATEWAY)]
)
def test_c10_a_query_that_the_store_cannot_answer_in_the_chaos_is_open_and_says_so(kind: str, signal: str) -> None:
    run = share_run(bound="1s", share_min=0.95) if kind == "latency_share" else good_run()
    assert judged(run, kind).outcome is PASS
    run.errors[signal] = "HTTP 422: execution: many-to-many matching not allowed"
    verdict = judged(run, kind)
    assert (verdict.outcome, "many-to-many" in verdict.reason) == (OPEN, True)
    assert verdict.remedy


@pytest.mark.parametrize("alive", [0.0, 9.0])
@pytest.mark.parametrize("kind", ["pdb_safety", "workload_recovery"])
def test_c09_what_metrics_say_of_pods_changes_no_verdict_about_pods(kind: str, alive: float) -> None:
    assert ASSERTIONS[kind].signals == ()
    for run, expected in ((good_run(), PASS), (without_replacements(), FAIL)):
        run.series.clear()
        run.add_series("kube_pod_status_ready", scrapes(), np.full_like(scrapes(), alive), pod="planner-0")
        run.errors["kube_pod_container_status_restarts_total"] = "many-to-many matching"
        asked = asserting(run, kind, **(PLANNER | {"within": "30s"})) if kind == "workload_recovery" else run
        assert judged(asked, kind).outcome is expected, kind


def without_replacements() -> Run:
    """Return a run whose killed pods never come back: the last two that are left are too few."""
    run = good_run()
    run.drop("pod", lambda t, s, d: t < 97 or d["deleted"])
    run.drop("workload", lambda t, s, d: t < 97.5)
    for number in range(6):
        add_loss(run, 99, f"planner-new-{number}")
    return run


@pytest.mark.parametrize("scrape", [0, 20, 40, 60, -1])
@pytest.mark.parametrize("kind", ["error_budget", "backlog"])
def test_c13_one_sample_less_changes_no_verdict(kind: str, scrape: int) -> None:
    run = good_run()
    for signal in run.series:
        run.reshape(signal, lambda t, v: (np.delete(t, scrape), np.delete(v, scrape)))
    assert judged(run, kind).outcome is judged(good_run(), kind).outcome is PASS


@pytest.mark.parametrize("scrape", [0, 40, -1])
@pytest.mark.parametrize(("share", "expected"), [(0.95, PASS), (0.97, FAIL)])
def test_c13_nor_one_about_buckets(scrape: int, share: float, expected: Outcome) -> None:
    run = share_run(bound="1s", share_min=share)
    for signal in ("gateway_latency_bucket", "gateway_requests_total"):
        run.reshape(signal, lambda t, v: (np.delete(t, scrape), np.delete(v, scrape)))
    assert judged(run, "latency_share").outcome is expected


def test_c13_the_version_of_the_store_is_on_record_and_in_the_report() -> None:
    assert Conducted(World()).go().facts["prometheus"] == "2.42.0"
    record = stored_runs.record()
    told = Document(page(record, (), {})).text
    assert str(record.header.facts["prometheus"]) in told


def test_c18_a_loss_that_fits_between_two_scrapes_is_seen() -> None:
    run = dip(small_run(), 100.9, 101.3)
    assert not [t for t in scrapes() if 100.9 <= t <= 101.3]
    verdict = judged(run, "pdb_safety")
    assert (verdict.outcome, "1 Ready, 2 demanded" in verdict.reason) == (FAIL, True)
    assert "involuntary" in verdict.reason
