"""What evidence counts: the whole window, pods as the API has them, and no single sample (CASES A20, C09, C13, C18)."""

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
