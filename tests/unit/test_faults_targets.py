"""Victims: chosen without replacement among pods that serve, repeatable by seed (CASES A05, A11, A12)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.faults.targets import TargetError, asked_of, choose, draw_seed, eligible
from harness.model.facts import PodFact
from harness.model.selector import parse_selector
from tests.unit.fault_doubles import pod

phases = st.sampled_from(["Running", "Running", "Running", "Failed", "Succeeded"])
pods = st.lists(
    st.builds(lambda ready, leaving, phase: {"ready": ready, "terminating": leaving, "phase": phase},
              st.booleans(), st.booleans(), phases),
    max_size=25,
).map(lambda each: [pod(n, **changes) for n, changes in enumerate(each)])  # fmt: skip


def serves(one: PodFact) -> bool:
    return one.ready and not one.terminating and one.phase not in {"Failed", "Succeeded"}


@given(pods, st.integers(1, 30), st.text(max_size=8))
def test_a05_victims_are_different_serving_pods_as_many_as_asked_or_an_error(
    every: list[PodFact], count: int, seed: str
) -> None:
    arguments = {"namespace": "agents", "selector": "app=planner", "count": count}
    present = sum(map(serves, every))
    if count > present:
        with pytest.raises(TargetError):
            choose(every, arguments, seed)
        return
    chosen = choose(every, arguments, seed)
    assert len({p.uid for p in chosen}) == len(chosen) == count
    assert all(map(serves, chosen))


@given(pods, st.floats(0.01, 1), st.randoms(use_true_random=False))
def test_a05_the_same_seed_draws_the_same_victims_in_whatever_order_the_pods_are_listed(
    every: list[PodFact], share: float, shuffle: object
) -> None:
    arguments = {"namespace": "agents", "selector": "app=planner", "share": share}
    if not eligible(every):
        return
    shuffled = list(every)
    shuffle.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(every, arguments, "7") == choose(shuffled, arguments, "7")


@given(st.floats(0.001, 1), st.integers(1, 500))
def test_a_share_is_rounded_down_but_never_below_one_pod(share: float, present: int) -> None:
    asked = asked_of({"share": share}, present)
    assert 1 <= asked <= present
    assert asked == 1 or asked <= share * present + 1e-6


@pytest.mark.parametrize(
    ("share", "present", "asked"),
    [(0.34, 9, 3), (0.34, 3, 1), (0.34, 2, 1), (1.0, 4, 4), (0.3, 10, 3), (0.29, 100, 29)],
)
def test_a_share_of_pods_is(share: float, present: int, asked: int) -> None:
    assert asked_of({"share": share}, present) == asked


def test_a11_a_selector_that_matches_nothing_is_an_error_that_names_it() -> None:
    with pytest.raises(TargetError, match="no pod matches app=planner in agents"):
        choose([], {"namespace": "agents", "selector": "app=planner", "count": 1}, "7")


def test_a12_pods_that_do_not_serve_are_no_victims_and_the_error_says_so() -> None:
    every = [pod(0, ready=False), pod(1, terminating=True), pod(2, phase="Failed"), pod(3)]
    with pytest.raises(TargetError, match="2 victims were asked for, but 1 of 4 pods"):
        choose(every, {"namespace": "agents", "selector": "app=planner", "count": 2}, "7")


def test_another_seed_draws_others() -> None:
    every = [pod(n) for n in range(30)]
    arguments = {"namespace": "agents", "selector": "app=planner", "count": 5}
    draws = {str(choose(every, arguments, draw_seed(seed, "kill_pods", arguments))) for seed in range(10)}
    assert len(draws) > 1


@pytest.mark.parametrize("text", ["", " ", "app", "app in (a,b)", "!app", "app!=planner", "app=planner,"])
def test_a06_a_selector_that_is_empty_or_no_equality_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a selector"):
        parse_selector(text)


def test_a_selector_is_parsed() -> None:
    assert parse_selector("app=planner, tier==web") == {"app": "planner", "tier": "web"}
