"""What a target may ever get in a second: checked for the densest second and for the people beside the arrivals."""

from __future__ import annotations

import math
import resource
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load_limit import crowd_objection, objection
from harness.model.load import CHANCE_MAX, Arrivals, LoadPlan, LoadProfile, Stage, most_by_chance, parse_range
from loadprofiles.arrivals import arrival_chunks, densest_second
from loadprofiles.job import PlanRefused, allow_connections, check_plan

EVEN = LoadProfile("p", (Stage("baseline", 5, 10, 10), Stage("burst", 60, 60, 60)), {"PlannerUser": 1.0})
CHANCE = replace(EVEN, arrivals=Arrivals.POISSON.value)
TALKS = replace(EVEN, conversations={"PlannerConversation": 40})


@given(st.floats(0.01, 3_000.0))
def test_a_count_that_chance_exceeds_is_bounded_from_above_and_not_by_much(mean: float) -> None:
    bound = most_by_chance(mean)
    below = sum(math.exp(n * math.log(mean) - mean - math.lgamma(n + 1)) for n in range(bound))
    assert 1 - below <= CHANCE_MAX + 1e-9
    assert bound <= mean + 6 * math.sqrt(mean) + 12


def test_nothing_is_due_where_nothing_is_offered() -> None:
    assert most_by_chance(0.0) == 0


def test_arrivals_by_chance_need_more_room_than_their_mean() -> None:
    assert objection(EVEN, 60.0) is None
    against = objection(CHANCE, 61.0)
    assert against is not None
    assert "peaks at 60 rps, which by chance is up to 106 in a second, and 61 are allowed" in against.problem
    assert objection(CHANCE, 106.0) is None


@given(st.sampled_from([EVEN, CHANCE]), st.floats(1.0, 50.0))
def test_the_scale_that_a_refusal_names_fits(load: LoadProfile, rate_max_rps: float) -> None:
    against = objection(load, rate_max_rps)
    assert against is not None
    scale = float(against.remedy.split(" to ")[1].split(" of ")[0])
    if scale > 0:
        assert objection(load.scaled(scale), rate_max_rps) is None
    assert objection(load.scaled(scale + 0.002), rate_max_rps) is not None


@given(st.integers(0, 2**40), st.sampled_from([EVEN, CHANCE]))
def test_the_densest_second_is_counted_wherever_it_begins(seed: int, load: LoadProfile) -> None:
    due_s = np.concatenate(list(arrival_chunks(load, seed)))
    assert densest_second(load, seed) == max(int(((due_s >= t) & (due_s < t + 1.0)).sum()) for t in due_s)
    if load is EVEN:
        assert densest_second(load, seed) <= 61


def test_a_seed_whose_chance_is_too_dense_is_refused_though_its_mean_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = LoadPlan(CHANCE, "http://127.0.0.1:1", seed=3, rate_max_rps=106.0)
    check_plan(plan)
    monkeypatch.setattr("loadprofiles.job.densest_second", lambda profile, seed: 107)
    with pytest.raises(PlanRefused, match="seed 3 brings 107 arrivals in one second, the target allows 106"):
        check_plan(plan)


@pytest.mark.parametrize(
    ("load", "options", "rate_max_rps", "problem"),
    [
        (TALKS, {}, 60.0, "nothing of the target's rate_max_rps is left for conversations"),
        (
            TALKS,
            {"think_s": "2-6"},
            69.9,
            "40 people who think for 4 s ask for up to 10 requests a second, and 9.9 are",
        ),
        (TALKS, {"think_s": 0}, 100.0, "requests without end"),
        (TALKS, {"think_s": "soon"}, 100.0, "load.options.think_s: 'soon' is no range"),
        (TALKS, {"think_s": "2-6"}, 70.0, ""),
        (TALKS, {}, 60.5, ""),  # what the class itself thinks is held to the limit, and counted
        (EVEN, {"think_s": 0}, 60.0, ""),
        (replace(TALKS, stages=(Stage("burst", 9, 0, 0),)), {}, 60.0, "has conversations and no arrivals: people wait"),
    ],
)
def test_people_need_room_beside_the_arrivals(
    load: LoadProfile, options: dict[str, str | float], rate_max_rps: float, problem: str
) -> None:
    against = objection(load, rate_max_rps) or crowd_objection(load, options, rate_max_rps)
    assert (against is not None and problem in against.problem) if problem else against is None


@pytest.mark.parametrize(("written", "ends"), [("2-6", (2, 6)), (3, (3, 3)), (0.5, (0.5, 0.5)), ("1.5", (1.5, 1.5))])
def test_a_range_is_two_ends_or_one_number(written: str | float, ends: tuple[float, float]) -> None:
    assert parse_range(written) == ends


@pytest.mark.parametrize("written", ["6-2", "a", "-1", "", "nan", "1-inf"])
def test_what_is_no_range_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"is no range|does not rise"):
        parse_range(written)


def test_users_that_the_machine_has_no_files_for_are_refused_and_not_taken_for_a_platform_that_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: raised.append(limits))
    allow_connections(900)
    assert raised == []
    allow_connections(3000)
    assert raised == [(3100, 4096)]
    with pytest.raises(PlanRefused, match="9240 users need 9340 open files, and this process may have 4096"):
        allow_connections(9240)
