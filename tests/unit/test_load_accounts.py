"""The generator's books: nothing that was started is missing, and each second says what it offered and reached."""

from hypothesis import given
from hypothesis import strategies as st

from harness.model.load import REQUEST_COLUMNS, RequestOutcome
from loadprofiles.accounts import ArrivalBook, Pulse, RequestLog, part_of


def test_a_row_has_the_columns_of_the_request_log() -> None:
    log = RequestLog(worker=2)
    log.end(log.start(1.0, 1.5, "POST /v1/plan"), 2.0, 200, RequestOutcome.OK, pod="planner-a")
    row = dict(zip(REQUEST_COLUMNS, log.take()[0], strict=True))
    assert row == {
        "intended_s": 1.0, "start_s": 1.5, "latency_s": 0.5, "status": 200, "outcome": "ok",
        "endpoint": "POST /v1/plan", "worker": 2, "seq": 0, "pod": "planner-a",
    }  # fmt: skip


def test_what_was_started_and_never_ended_is_a_bad_row_d08() -> None:
    log = RequestLog()
    done, hung = log.start(0.0, 0.0, "a"), log.start(1.0, 1.0, "b")
    log.end(done, 0.5, 200, RequestOutcome.OK)
    log.close(9.0)
    log.end(hung, 9.5, 200, RequestOutcome.OK)  # an answer after the close changes nothing
    assert [(row[7], row[4]) for row in log.take()] == [(0, "ok"), (1, "unfinished")]
    assert (log.started, log.finished, log.failures, log.inflight) == (2, 2, 1, 0)


@given(st.lists(st.sampled_from(["start", "end", "close"])))
def test_every_started_request_becomes_exactly_one_row(steps: list[str]) -> None:
    log, waiting, rows = RequestLog(), [], []
    for number, step in enumerate(steps):
        if step == "start":
            waiting.append(log.start(number, number, "x"))
        elif step == "end" and waiting:
            log.end(waiting.pop(), number, 200, RequestOutcome.OK)
        elif step == "close":
            log.close(number)
            rows += log.take()
    log.close(len(steps))
    rows += log.take()
    assert sorted(row[7] for row in rows) == list(range(log.started))
    assert log.finished == log.started


def _pulse(start_s: float, edge_s: float, waiting_since_s: float | None = None) -> Pulse:
    return Pulse(round(start_s), start_s, edge_s, waiting_since_s, users=4, cpu_ratio=0.1)


def test_a_start_that_is_late_by_a_timers_jitter_counts_in_its_own_second() -> None:
    book = ArrivalBook()
    for intended_s in (0.2, 0.99, 1.4):
        book.offer(intended_s)
    book.start(0.2, 0.2)
    book.start(0.99, 1.02)
    first = part_of(RequestLog(), book, _pulse(0.0, 1.0))
    assert (first.offered, first.achieved) == (2, 2)


def test_a_start_that_is_really_late_counts_when_it_came_and_shows_as_lag() -> None:
    book = ArrivalBook()
    book.offer(0.2)
    first = part_of(RequestLog(), book, _pulse(0.0, 1.0, waiting_since_s=0.2))
    book.start(0.2, 1.7)
    second = part_of(RequestLog(), book, _pulse(1.0, 2.0))
    assert (first.offered, first.achieved, first.lag_s) == (1.0, 0.0, 0.8)
    assert (second.offered, second.achieved, second.lag_s) == (0.0, 1.0, 1.5)


def test_a_dropped_arrival_is_counted_and_never_started() -> None:
    book = ArrivalBook()
    book.offer(0.1)
    book.drop(5.0)
    seen = part_of(RequestLog(), book, _pulse(5.0, 6.0))
    assert (seen.dropped, seen.achieved, seen.lag_s) == (1, 0.0, 5.0)
