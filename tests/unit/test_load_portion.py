"""Who has which arrivals through share changes, stalls and losses: none is sent twice, each is sent or dropped."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from harness.model.load import LoadProfile, Stage
from loadprofiles.accounts import ON_TIME_S, ArrivalBook, Pulse, RequestLog, part_of
from loadprofiles.front import _DueCounter
from loadprofiles.line import LEAD_S, LOST_AFTER_S, PAUSE_AFTER_S
from loadprofiles.muster import Muster
from loadprofiles.portion import Portion, chunks_of
from loadprofiles.shares import Share

STEP_S = 0.25
BEGAN_S = 100.0
LENGTH_S = 14.0
PROFILE = LoadProfile("test", (Stage("burst", LENGTH_S, 15.0, 30.0),), {"a": 1.0, "b": 1.0})
EVERYBODY = (0, 1, 2)
SEED = 3


@dataclass(eq=False)
class SteppedWorker:
    """A worker whose time goes in steps: stands still between two of them, or for good."""

    number: int
    stalls: list[tuple[float, float]]
    portion: Portion = field(init=False)
    book: ArrivalBook = field(default_factory=ArrivalBook)
    log: RequestLog = field(init=False)
    sent_s: list[float] = field(default_factory=list)
    told: int = 0
    second: int = 0
    heard_s: float = 0.0
    done: bool = False

    def __post_init__(self) -> None:
        self.portion = Portion(self.number, chunks_of(PROFILE, SEED))
        self.portion.assign([Share(0.0, EVERYBODY)])
        self.log = RequestLog(self.number)

    def stands(self, now_s: float) -> bool:
        return any(from_s <= now_s < to_s for from_s, to_s in self.stalls)

    def step(self, now_s: float, shares: list[Share]) -> None:
        """Hear the shares of now, as a fresh sign of life brings them, and hand out what is due."""
        self.portion.assign(shares)
        if now_s - self.heard_s > PAUSE_AFTER_S:
            for due_s in self.portion.pass_over(now_s):
                self.book.offer(BEGAN_S + due_s)
                self.book.drop(now_s - due_s)
        self.heard_s = now_s
        for due_s, choice in self.portion.arrivals():
            if due_s > now_s:
                break
            if choice is not None:
                self.book.offer(BEGAN_S + due_s)
                self.book.start(BEGAN_S + due_s, BEGAN_S + now_s)
                self.sent_s.append(due_s)

    def speak(self, now_s: float, muster: Muster) -> None:
        """Tell rows every other step, and each second that is over."""
        if round(now_s / STEP_S) % 2:
            self.told = self.book.taken
            muster.hear_taken(self.number, self.told)
        last = now_s > LENGTH_S + 1
        while not self.done and (last or now_s >= self.second + 1 + ON_TIME_S):
            edge_s = BEGAN_S + (now_s if last else self.second + 1)
            pulse = Pulse(self.second, BEGAN_S + self.second, edge_s, None, 1, 0.1, last=last)
            muster.take(part_of(self.log, self.book, pulse))
            self.second, self.done, self.told = self.second + 1, last, self.book.taken


@dataclass(eq=False)
class SteppedSquad:
    """Who leads them: takes a worker off the shares that was not heard for too long, and back on when it is."""

    stalls: list[tuple[int, float, float]]
    asked: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)
    workers: list[SteppedWorker] = field(init=False)
    shares: list[Share] = field(default_factory=lambda: [Share(0.0, EVERYBODY)])
    muster: Muster = field(init=False)

    def __post_init__(self) -> None:
        of = {number: [(f, f + s) for who, f, s in self.stalls if who == number] for number in EVERYBODY}
        self.workers = [SteppedWorker(number, of[number]) for number in EVERYBODY]
        due_until = _DueCounter(PROFILE, SEED).until
        self.muster = Muster(PROFILE.stages, BEGAN_S, due_until, set(EVERYBODY))

    def run(self) -> None:
        for step in range(int((LENGTH_S + 11) / STEP_S)):
            now_s = step * STEP_S
            self._share_out(now_s)
            for worker in self.workers:
                if not worker.stands(now_s) and not worker.done:
                    worker.step(now_s, self.shares)
                    worker.speak(now_s, self.muster)
            list(self.muster.ready(BEGAN_S + now_s))
        self.muster.finish(BEGAN_S + LENGTH_S + 11, early=False)

    def _share_out(self, now_s: float) -> None:
        there = {w.number for w in self.workers if w.done or now_s - w.heard_s <= LOST_AFTER_S}
        self.muster.members = there
        wanted = next((members for from_s, members in reversed(self.asked) if from_s <= now_s), EVERYBODY)
        members = tuple(sorted(there.intersection(wanted)))
        if members != self.shares[-1].members:
            self.shares = [*self.shares, Share(now_s + LEAD_S, members)]

    @property
    def all_due_s(self) -> list[float]:
        return [float(due_s) for chunk in chunks_of(PROFILE, SEED) for due_s in chunk.due_s]

    @property
    def all_sent_s(self) -> list[float]:
        return [due_s for worker in self.workers for due_s in worker.sent_s]


stalls = st.lists(st.tuples(st.sampled_from(EVERYBODY), st.floats(0, LENGTH_S - 1), st.floats(0.1, 9.0)), max_size=5)
membership = st.lists(
    st.tuples(st.floats(0, LENGTH_S), st.sets(st.sampled_from(EVERYBODY), min_size=1).map(lambda s: tuple(sorted(s)))),
    max_size=4,
).map(sorted)


def whole(squad: SteppedSquad) -> int:
    """Return the arrivals that were due while anybody was to send them."""
    return len(squad.all_due_s)


def nobody_left(squad: SteppedSquad) -> bool:
    return any(not share.members for share in squad.shares)


@given(stalls, membership)
def test_d05_what_is_sent_and_what_is_dropped_are_together_what_was_due(
    stalls: list[tuple[int, float, float]], asked: list[tuple[float, tuple[int, ...]]]
) -> None:
    """D05: over any stalls and any lists of shares, and by the workers' own books wherever somebody was there."""
    squad = SteppedSquad(stalls, asked)
    squad.run()
    sent_s = squad.all_sent_s
    assert len(sent_s) == len(set(sent_s))  # never twice
    assert len(sent_s) + squad.muster.dropped == whole(squad) == squad.muster.offered
    if not nobody_left(squad) and all(worker.done for worker in squad.workers):
        assert len(sent_s) + sum(worker.book.dropped for worker in squad.workers) == whole(squad)


@given(stalls, st.sampled_from(EVERYBODY), st.floats(0.0, LENGTH_S))
def test_d05_so_they_are_where_a_worker_never_comes_back(
    stalls: list[tuple[int, float, float]], killed: int, at_s: float
) -> None:
    """D05: what it sent and did not tell counts as dropped: no row says otherwise."""
    squad = SteppedSquad([*stalls, (killed, at_s, 1e9)])
    squad.run()
    known = sum(worker.told if not worker.done else len(worker.sent_s) for worker in squad.workers)
    assert known + squad.muster.dropped == whole(squad)


def test_a_stalled_worker_has_dropped_what_was_its_own_and_nothing_that_others_took_over() -> None:
    squad = SteppedSquad([(1, 4.0, 6.0)])
    squad.run()
    others_since_s = next(share.from_s for share in squad.shares if 1 not in share.members)
    own = [due_s for number, due_s in enumerate(squad.all_due_s) if number % 3 == 1 and 4.0 < due_s < others_since_s]
    assert squad.workers[1].book.dropped == squad.muster.dropped
    assert abs(squad.muster.dropped - len(own)) <= 30 * STEP_S  # time goes in steps here
    sent_s = squad.all_sent_s
    taken_over = [due_s for due_s in squad.all_due_s if others_since_s < due_s < 10.0]
    assert set(taken_over) <= set(sent_s)


def test_a_worker_that_passes_over_its_last_arrivals_has_nothing_left() -> None:
    portion = Portion(1, chunks_of(PROFILE, SEED))
    portion.assign([Share(0.0, (0, 1))])
    passed = portion.pass_over(LENGTH_S + 1)
    assert len(passed) == len(SteppedSquad([]).all_due_s) // 2
    assert list(portion.arrivals()) == []
    assert portion.pass_over(LENGTH_S + 2) == []
