"""What must be true for a verdict to mean anything: each assumption, held, missed and unknown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from assertions.assumptions import ASSUMPTIONS
from harness.model.record import Ending
from tests.replay.builders import Run, blank_run, good_run


def look(run: Run, name: str) -> Any:
    return ASSUMPTIONS[name](run.record())


@pytest.mark.parametrize("name", sorted(ASSUMPTIONS))
def test_a_good_run_meets_every_assumption(name: str) -> None:
    assert look(good_run(), name).holds is True


@pytest.mark.parametrize("name", sorted(ASSUMPTIONS.keys() - {"run_completed", "faults_took_effect"}))
def test_of_a_run_in_which_nothing_was_seen_nothing_can_be_told(name: str) -> None:
    assert look(blank_run(), name).holds is None


# load_reached_floor


def test_a_burst_that_the_generator_did_not_reach_is_named_d06() -> None:
    run = good_run()
    run.requests = run.requests[(run.requests["intended_s"] < 52) | (run.requests["seq"] % 5 > 0)]
    found = look(run, "load_reached_floor")
    assert found.holds is False
    assert "burst: 80.0% of the requests offered" in found.reason


def test_a_stall_of_a_few_seconds_is_seen_though_the_whole_reaches_the_floor_d05() -> None:
    run = good_run()
    run.requests = run.requests[(run.requests["intended_s"] < 100) | (run.requests["intended_s"] > 104)]
    assert "in the 5 s from" in look(run, "load_reached_floor").reason


def test_what_the_generator_says_of_itself_counts_too() -> None:
    run = good_run()
    run.change("load", lambda t, s, d: {"achieved_rps": d["offered_rps"] * 0.8})
    assert "the generator says" in look(run, "load_reached_floor").reason


def test_a_generator_that_says_nothing_has_not_reached_the_floor() -> None:
    run = good_run()
    run.drop("load", lambda t, s, d: s == "baseline")
    assert "said nothing of itself" in look(run, "load_reached_floor").reason


def test_load_that_ended_early_has_not_reached_the_floor() -> None:
    run = good_run()
    run.drop("load-edge", lambda t, s, d: s == "started")
    run.say(45, "load", "load-edge", "ended")
    assert "before its burst" in look(run, "load_reached_floor").reason
    run = good_run()
    run.drop("load-edge", lambda t, s, d: s == "started")
    run.say(90, "load", "load-edge", "ended")
    assert "cut off after" in look(run, "load_reached_floor").reason


def test_no_request_at_all_is_below_every_floor_d04() -> None:
    run = good_run()
    run.requests = run.requests.iloc[:0]
    assert look(run, "load_reached_floor").holds is False


# generator_healthy


def hot(run: Run) -> None:
    run.change("load", lambda t, s, d: {"cpu_ratio": 0.97} if 80 < t < 90 else None)


def blind(run: Run) -> None:
    run.change("load", lambda t, s, d: {"cpu_ratio": None} if 80 < t < 90 else None)


def lost(run: Run) -> None:
    run.say(80, "load", "load-edge", "lost", reason="SIGKILL")


def lost_worker(run: Run) -> None:
    run.change("load", lambda t, s, d: {"workers": 4 if t < 80 else 3})


def lost_rows(run: Run) -> None:
    run.requests_lost = 3


def late(run: Run) -> None:
    run.requests["start_s"] += np.where(run.requests["intended_s"] > 100, 0.7, 0.0)


def held_up(run: Run) -> None:
    run.change("load", lambda t, s, d: {"loop_lag_s": 3.25 if 80 <= t < 81 else 0.01})


def dropping(run: Run) -> None:
    run.change("load", lambda t, s, d: {"dropped": 0 if t < 80 else 50})


def test_what_a_silent_worker_seemed_to_owe_is_taken_back_when_it_is_known_better() -> None:
    run = good_run()
    run.change("load", lambda t, s, d: {"dropped": 500 if 80 <= t < 90 else 3})
    assert look(run, "generator_healthy").holds is True


@pytest.mark.parametrize(
    ("spoiler", "reason"),
    [
        (hot, "over 90% of a core"),
        (blind, "over 90% of a core"),
        (lost, "SIGKILL"),
        (lost_worker, "1 of 4 workers were lost"),
        (lost_rows, "3 rows of the request log were lost"),
        (late, "more than 0.5 s late"),
        (held_up, "held up for 3.2 s by +80s"),
        (dropping, "50 of 6875 requests found no free user"),
    ],
)
def test_a_generator_that_ails_is_named_with_its_ailment_d05_d09(spoiler: Any, reason: str) -> None:
    run = good_run()
    spoiler(run)
    found = look(run, "generator_healthy")
    assert found.holds is False
    assert reason in found.reason


def test_a_short_peak_of_cpu_is_no_ailment() -> None:
    run = good_run()
    run.change("load", lambda t, s, d: {"cpu_ratio": 0.97} if 80 < t < 83 else None)
    assert look(run, "generator_healthy").holds is True


# faults_took_effect


def test_a_fault_that_was_never_injected_is_named_a01() -> None:
    run = good_run()
    run.drop("fault", lambda t, s, d: s == "evict-one")
    assert "fault kill-a-third was never injected" in look(run, "faults_took_effect").reason


def test_a_fault_that_did_not_bite_is_named_a02() -> None:
    run = good_run()
    run.change("fault", lambda t, s, d: {"effect": "ABSENT"} if d["step"] == "evidence" else None)
    assert look(run, "faults_took_effect").holds is False


def test_a_fault_whose_effect_is_unclear_cannot_be_told() -> None:
    run = good_run()
    run.change("fault", lambda t, s, d: {"effect": "UNCLEAR"} if d["step"] == "evidence" else None)
    assert look(run, "faults_took_effect").holds is None


def test_fewer_victims_than_asked_for_and_the_same_one_twice_are_named_a05_a11() -> None:
    run = good_run()
    run.change("fault", lambda t, s, d: {"victims": d["victims"][:1] * 3} if "victims" in d else None)
    assert "hit 1 of 3 victims" in look(run, "faults_took_effect").reason


# the rest


def test_a_hole_in_the_watch_counts_only_while_the_load_is_on_b01() -> None:
    run = good_run()
    run.say(175, "cluster", "watch", "pods", state="hole", gap_s=3, reason="410")
    assert look(run, "observation_complete").holds is True
    run.say(100, "cluster", "watch", "pods", state="hole", gap_s=3, reason="410")
    assert look(run, "observation_complete").holds is False


@pytest.mark.parametrize("ending", [None, *(e for e in Ending if e is not Ending.COMPLETED)])
def test_every_other_ending_is_not_complete(ending: Ending | None) -> None:
    run = good_run()
    run.ended(ending, "because")
    assert look(run, "run_completed").holds is False


def test_metrics_with_a_hole_a_warning_or_no_series_are_not_fresh_c01_c11() -> None:
    for spoil in (
        lambda run: run.reshape("queue_up", lambda t, v: (t[t < 100], v[t < 100])),
        lambda run: run.warnings.update(queue_up="PARTIAL_RESPONSE"),
        lambda run: run.series.update(queue_up=[]),
        lambda run: run.errors.update(queue_up="HTTP 503"),
    ):
        run = good_run()
        spoil(run)
        assert look(run, "metrics_fresh").holds is False


@pytest.mark.parametrize(("skew_s", "holds"), [(1.9, True), (-2.1, False), (math.nan, None)])
def test_clocks_that_are_apart_or_unknown_are_told(skew_s: float, holds: bool | None) -> None:
    run = good_run()
    run.skew_s = skew_s
    assert look(run, "clocks_agree").holds is holds


def test_a_drain_that_was_to_be_blocked_and_was_has_taken_effect() -> None:
    run = good_run()
    blocked: dict[str, Any] = {"drained": False, "blocked_by": ["agents/planner"], "effect": "CONFIRMED"}
    run.change("fault", lambda t, s, d: blocked if d["step"] == "evidence" and s == "evict-one" else None)
    assert look(run, "faults_took_effect").holds is True
