"""What conversations come to: summed over workers, scaled with the load, and never taken for arrivals."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assertions.assumptions import ASSUMPTIONS
from harness.model.load import TURN_MARK, LoadProfile
from loadprofiles.shapes import burst_stages
from loadprofiles.talk_totals import StreamCount, totals_of
from tests.replay.builders import Run, good_run

PROFILE = LoadProfile(
    "talks", burst_stages(1, 2, baseline_s=1, burst_s=1, cooldown_s=1), {"A": 1.0}, conversations={"T": 20, "U": 1}
)


@given(st.floats(1e-6, 1e3))
def test_people_are_scaled_with_the_rates_and_one_of_each_kind_stays(scale: float) -> None:
    scaled = PROFILE.scaled(scale).conversations
    assert scaled["T"] == max(round(20 * scale), 1)
    assert min(scaled.values()) >= 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.none() | st.floats(0.001, 9)), max_size=20))
def test_streams_are_counted_alike_however_many_workers_read_them(streams: list[tuple[str, int, float | None]]) -> None:
    workers: list[dict[str, StreamCount]] = [{}, {}, {}]
    for number, (endpoint, events, first_s) in enumerate(streams):
        workers[number % 3].setdefault(endpoint, StreamCount()).add(events, first_s)
    plain = [{name: {k: getattr(one, k) for k in one.__slots__} for name, one in worker.items()} for worker in workers]
    told = totals_of({"turns": 2, "held_back": 1, "gave_up": 0, "streams": one} for one in plain)
    assert (told["turns"], told["turns_held_back"], told["gave_up"]) == (6, 3, 0)
    assert sum(one["streams"] for one in told["streams"].values()) == len(streams)
    assert sum(one["events"] for one in told["streams"].values()) == sum(events for _, events, _ in streams)
    for endpoint, one in told["streams"].items():
        firsts = [first_s for name, _, first_s in streams if name == endpoint and first_s is not None]
        assert one["without_event"] == one["streams"] - len(firsts)
        assert (one["first_event_max_s"] is None) == (not firsts)
        assert not firsts or one["first_event_mean_s"] == pytest.approx(math.fsum(firsts) / len(firsts), abs=1e-5)


def talked(run: Run) -> Run:
    """Let people talk beside a run's arrivals, as much as these come to, and never late."""
    rows = run.requests
    turns = rows.assign(endpoint=TURN_MARK + rows["endpoint"].astype(str), start_s=rows["intended_s"])
    run.requests = type(rows)({name: [*rows[name], *turns[name]] for name in rows.columns})
    run.experiment = replace(
        run.experiment, load=replace(run.experiment.load, conversations={"PlannerConversation": 5})
    )
    return run


@pytest.mark.parametrize("name", ["load_reached_floor", "generator_healthy"])
def test_people_who_talk_change_nothing_about_a_good_run(name: str) -> None:
    assert ASSUMPTIONS[name](talked(good_run()).record()).holds is True


def test_turns_do_not_fill_up_the_floor_of_the_arrivals() -> None:
    run = good_run()
    run.requests = run.requests[(run.requests["intended_s"] < 52) | (run.requests["seq"] % 5 > 0)]
    found = ASSUMPTIONS["load_reached_floor"](talked(run).record())
    assert found.holds is False
    assert "burst: 80.0% of the requests offered" in found.reason


def test_turns_do_not_make_late_arrivals_few() -> None:
    run = good_run()
    late = run.requests["seq"] % 70 == 0
    run.requests = run.requests.assign(start_s=run.requests["intended_s"] + late * 0.7)
    assert "more than 0.5 s late" in ASSUMPTIONS["generator_healthy"](talked(run).record()).reason
