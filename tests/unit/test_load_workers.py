"""Several workers as one load: every arrival has one owner, every message is taken once, no missing load is hidden."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.load import LoadProfile, Stage
from loadprofiles.accounts import Part
from loadprofiles.front import Front
from loadprofiles.line import UNHEARD_MAX, Receiver, Sender, clock_reading, shares_as_plain, shares_from_plain
from loadprofiles.muster import PATIENCE_S, Muster
from loadprofiles.shares import Share, owned

STAGES = (Stage("baseline", 10.0, 20.0, 20.0),)
PROFILE = LoadProfile("test", STAGES, {"a": 1.0})


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=60).map(sorted),
    st.integers(0, 1000),
    st.lists(st.tuples(st.floats(0, 100), st.sets(st.integers(0, 5), min_size=1)), max_size=4),
)
def test_d11_every_arrival_has_exactly_one_owner_also_where_the_workers_change(
    due_s: list[float], first: int, changes: list[tuple[float, set[int]]]
) -> None:
    later = sorted(changes, key=lambda change: change[0])
    shares = [Share(0.0, (0, 1, 2)), *(Share(from_s, tuple(sorted(members))) for from_s, members in later)]
    owners = sum(owned(worker, first, np.array(due_s), shares).astype(int) for worker in range(6))
    assert np.all(owners == 1)


def test_nobody_owns_an_arrival_where_nobody_is_left() -> None:
    shares = [Share(0.0, (0, 1)), Share(5.0, ())]
    due_s = np.array([1.0, 2.0, 6.0])
    assert [owned(worker, 0, due_s, shares).tolist() for worker in (0, 1)] == [
        [True, False, False],
        [False, True, False],
    ]


def test_shares_survive_their_journey() -> None:
    shares = (Share(0.0, (0, 1)), Share(7.5, (1,)))
    assert shares_from_plain(shares_as_plain(shares)) == shares


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_d05_a_line_that_loses_messages_and_acknowledgements_loses_and_doubles_nothing(seed: int, count: int) -> None:
    random, clock = Random(seed), [0.0]  # noqa: S311 - a script
    taken: list[Any] = []
    receiver, sent = Receiver(), [0]

    def put(whole: dict[str, Any]) -> None:
        if random.random() < 0.5:
            return  # lost on the way
        taken.extend(message["x"] for message, _ in receiver.take(whole))
        if random.random() < 0.5:
            sender.acknowledged(receiver.acknowledge)

    sender = Sender(put, lambda: clock[0])
    for number in range(count):
        sender.send({"x": number})
        sent[0] += 1
    for _ in range(2_000):
        if not sender.waiting:
            break
        clock[0] += 3.0
        sender.repeat()
    assert taken == list(range(count))
    assert sender.waiting == 0


def test_a_line_that_nobody_hears_is_bounded_and_says_what_it_gave_up() -> None:
    sender = Sender(lambda whole: None, lambda: 0.0)
    for number in range(UNHEARD_MAX + 5):
        sender.send({"x": number})
    assert (sender.waiting, sender.dropped) == (UNHEARD_MAX, 5)


def test_two_clocks_are_compared_by_the_middle_of_an_exchange() -> None:
    reading = clock_reading(asked_s=10.0, theirs_s=112.0, heard_s=11.0)
    assert (reading.offset_s, reading.uncertainty_s) == (101.5, 0.5)


def _part(worker: int, second: int, **figures: Any) -> Part:
    return Part(worker, second, 100.0 + second, 101.0 + second, **figures)


def _muster(*members: int) -> Muster:
    return Muster(STAGES, 100.0, lambda t_s: round(t_s * 20), set(members))


def test_a_second_is_the_sum_of_its_workers_once_all_have_spoken() -> None:
    muster = _muster(0, 1)
    muster.take(_part(0, 0, offered=12, achieved=12, users=3, cpu_ratio=0.5, lag_s=0.1, started=12, finished=10))
    assert list(muster.ready(101.1)) == []
    muster.take(_part(1, 0, offered=8, achieved=6, users=2, cpu_ratio=0.7, dropped=2, started=6, finished=6))
    (seen,) = muster.ready(101.1)
    assert (seen.offered_rps, seen.achieved_rps, seen.workers, seen.users) == (20.0, 18.0, 2, 5)
    assert (seen.cpu_ratio, seen.lag_s, seen.dropped, seen.inflight, seen.stage) == (0.7, 0.1, 2, 2, "baseline")


def test_d05_the_share_of_a_silent_worker_is_offered_and_dropped_not_forgotten() -> None:
    """D05: load drops, and it must show as load that is missing, not as a lower plan."""
    muster = _muster(0, 1)
    muster.take(_part(0, 0, offered=10, achieved=10))
    assert list(muster.ready(101.0 + PATIENCE_S - 0.1)) == []
    (seen,) = muster.ready(101.0 + PATIENCE_S + 0.1)
    assert (seen.offered_rps, seen.achieved_rps, seen.dropped, seen.workers) == (20.0, 10.0, 10, 1)


def test_d05_a_lost_worker_still_owes_the_second_in_which_it_went() -> None:
    muster = _muster(0, 1)
    muster.take(_part(0, 0, offered=10, achieved=10))
    muster.take(_part(1, 0, offered=10, achieved=10))
    assert [seen.offered_rps for seen in muster.ready(101.1)] == [20.0]
    muster.members.discard(1)
    muster.take(_part(0, 1, offered=10, achieved=10))
    (seen,) = muster.ready(102.1)
    assert (seen.offered_rps, seen.achieved_rps, seen.dropped) == (20.0, 10.0, 10)


def test_what_comes_late_still_counts_in_the_totals() -> None:
    muster = _muster(0, 1)
    muster.take(_part(0, 0, started=10, finished=10))
    list(muster.ready(105.0))
    muster.take(_part(1, 0, started=10, finished=9, failures=1))
    last = muster.finish(110.0, early=False)
    assert (last.requests, last.failures, last.inflight, last.stage) == (19, 1, 1, "ended")


class _Told:
    """An outlet that remembers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, message: Any, blob: bytes = b"") -> None:
        self.messages.append(dict(message))

    def edges(self) -> dict[str, Any]:
        return {m["subject"]: m["detail"] for m in self.messages if m["m"] == "edge"}


def _done(worker: int, **changes: Any) -> dict[str, Any]:
    whole = {"m": "done", "worker": worker, "reason": "completed", "failure": "", "t_s": 103.0, "last_answer_s": 102.5,
             "rows": 20, "errors": {"refused": 2}}  # fmt: skip
    return {**whole, **changes}


def test_the_front_ends_in_order_only_where_every_worker_did() -> None:
    told = _Told()
    front = Front(PROFILE, 1, told, lambda: 104.0)
    front.begin(100.0, [0, 1], {"users": 4})
    front.send(_done(0))
    assert not front.over
    front.send(_done(1))
    assert front.over
    assert front.end()
    assert told.edges()["ended"]["errors"] == {"refused": 4}
    assert told.edges()["ended"]["reason"] == "completed"


def test_d05_a_lost_worker_is_told_with_what_it_may_have_sent_unheard() -> None:
    told = _Told()
    now = [102.0]
    front = Front(PROFILE, 1, told, lambda: now[0])
    front.begin(100.0, [0, 1], {})
    front.lose(1, "its process ended")
    front.lose(1, "its process ended")  # is told once
    assert told.edges()["worker-lost"] == {"worker": 1, "reason": "its process ended", "unheard_max": 20}
    assert sum(m["m"] == "edge" and m["subject"] == "worker-lost" for m in told.messages) == 1
    front.send(_done(0))
    assert front.over
    assert front.end()
    assert told.edges()["ended"]["workers_lost"] == 1


@pytest.mark.parametrize(
    ("ends", "why"),
    [([], "every worker was lost"), ([_done(0, failure="the user code raised 20 times")], "the user code raised")],
)
def test_d05_a_load_without_a_worker_or_with_a_failed_one_is_lost(ends: list[dict[str, Any]], why: str) -> None:
    told = _Told()
    front = Front(PROFILE, 1, told, lambda: 104.0)
    front.begin(100.0, [0], {})
    for done in ends:
        front.send(done)
    if not ends:
        front.lose(0, "killed")
    assert front.over
    assert not front.end()
    assert "ended" not in told.edges()
    assert why in told.edges()["lost"]["reason"]
