"""Every way in which a drill ends, over a run beneath it that says what the test wants."""

import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.client import RunEnd
from harness.drill.endings import STEADY_S, ending
from harness.drill.runner import Ended, Runner
from harness.drill.session import Session
from harness.model.drill import MARKS, DrillEnd, DrillError, DrillState
from harness.model.errors import PortError
from tests.unit.drill_parts import BEGAN_UNIX_S, LIMIT_S, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def mark_all(bench: Bench) -> Bench:
    for mark in MARKS:
        bench.session.mark(mark, "ana")
    return bench


def look(bench: Bench) -> tuple[DrillEnd, str] | None:
    return ending(bench.session.drill(), bench.session.seen, LIMIT_S, bench.now_unix_s)


# endings --------------------------------------------------------------------------------------------------------------


def test_it_goes_on_while_nothing_ends_it(bench: Bench) -> None:
    assert look(bench) is None
    assert look(bench.start().strike().steady(True).after(STEADY_S)) is None


def test_mitigated_needs_the_mark_and_the_steady_state_since_then(bench: Bench) -> None:
    mark_all(bench.start().strike().steady(False))
    assert look(bench.after(60.0)) is None  # said, but not so
    bench.steady(True)
    assert look(bench.after(STEADY_S - 0.1)) is None
    bench.steady(None)  # nobody can tell: the count begins anew
    assert look(bench.after(1.0)) is None
    bench.steady(True)
    assert look(bench.after(STEADY_S)) == (DrillEnd.MITIGATED, f"marked, and the steady state held for {STEADY_S:g} s")


def test_a_mark_before_the_fault_mends_nothing(bench: Bench) -> None:
    mark_all(bench.start().steady(True))
    assert look(bench.after(60.0)) is None
    bench.strike()
    assert look(bench.after(STEADY_S)) is not None


def test_the_limit_counts_from_the_deed(bench: Bench) -> None:
    bench.start().after(100.0).strike()
    assert look(bench.after(LIMIT_S - 0.1)) is None
    assert look(bench.after(0.1)) == (DrillEnd.TIME_LIMIT, "900 s since the fault")


@pytest.mark.parametrize(
    ("step", "detail", "reason"),
    [
        ("evidence", {"effect": "ABSENT", "reason": "nothing happened"}, "ABSENT: nothing happened"),
        ("evidence", {"effect": "UNCLEAR", "reason": "no answer"}, "UNCLEAR: no answer"),
        ("failed", {"effect": "ABSENT", "reason": "no victim"}, "ABSENT: no victim"),
        ("denied", {"reason": "the Lease is not held"}, "denied: the Lease is not held"),
    ],
)
def test_a_fault_without_a_proven_effect_ends_it(
    bench: Bench, step: str, detail: Mapping[str, Any], reason: str
) -> None:
    bench.start().tell("fault", "change", step=step, **detail)
    assert look(bench) == (DrillEnd.RUN_ENDED, f"the fault has no proven effect: {reason}")


def test_the_safety_stop_comes_before_everything(bench: Bench) -> None:
    mark_all(bench.start().strike().steady(True)).after(LIMIT_S)
    bench.session.run_is_over()
    bench.session.stop("customers are hurt", "ben")
    assert look(bench) == (DrillEnd.SAFETY_STOP, "ben: customers are hurt")


# the runner -----------------------------------------------------------------------------------------------------------


class Beneath:
    """A run that says what the test puts, and ends when it is asked to."""

    def __init__(self, run: RunEnd) -> None:
        self._run = run
        self._said: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self.asked: list[tuple[str, str]] = []
        self.take: Callable[[Mapping[str, Any]], None] = lambda message: None

    def start(self, take: Callable[[Mapping[str, Any]], None]) -> "Beneath":
        self.take = take
        return self

    def say(self, message: Mapping[str, Any] | None) -> None:
        self._said.put(message)

    def request_stop(self, reason: str) -> None:
        self.asked.append(("stop", reason))
        self._said.put(None)

    def say_enough(self, reason: str) -> None:
        self.asked.append(("enough", reason))
        self._said.put(None)

    def follow(self) -> RunEnd:
        for message in iter(self._said.get, None):
            self.take(message)
        return self._run


RUN = RunEnd(0, Path("run"))


def run(bench: Bench, beneath: Beneath, **more: Any) -> Ended:
    bench.session.take({"m": "run", "run_id": "r", "run_dir": "d", "seed": 7, "origin_unix_s": BEGAN_UNIX_S})
    stop_file, now = bench.folder / "stop", lambda: bench.now_unix_s
    return Runner(bench.session, beneath.start, LIMIT_S, stop_file, now_unix_s=now, **more).run()


def begun(bench: Bench) -> Beneath:
    beneath = Beneath(RUN)
    beneath.say(bench.event("phase", "inject", edge="start"))
    return beneath


def in_thread(act: Callable[[], Any]) -> None:
    threading.Thread(target=act, daemon=True).start()


def when_running(session: Session, act: Callable[[], Any]) -> None:
    """Act as soon as the drill runs."""

    def wait() -> None:
        for _ in session.changes(1.0):
            if session.drill().state is DrillState.RUNNING:
                act()
                return

    in_thread(wait)


def test_mended_people_let_the_run_go_on_to_its_own_end(bench: Bench) -> None:
    beneath = begun(bench)

    def mend() -> None:
        mark_all(bench.strike().steady(True)).after(STEADY_S)

    when_running(bench.session, mend)
    ended = run(bench, beneath)
    assert (ended.end, ended.run) == (DrillEnd.MITIGATED, RUN)
    assert beneath.asked[0] == ("enough", "drill: mitigated")
    assert bench.session.drill().state is DrillState.ENDING


def test_the_safety_stop_stops_the_run_at_once(bench: Bench) -> None:
    beneath = begun(bench)
    when_running(bench.session, lambda: bench.session.stop("enough is enough", "ana"))
    ended = run(bench, beneath)
    assert (ended.end, ended.reason) == (DrillEnd.SAFETY_STOP, "ana: enough is enough")
    assert beneath.asked[0] == ("stop", "drill: safety stop")


def test_ctrl_c_is_the_safety_stop(bench: Bench) -> None:
    beneath = begun(bench)
    when_running(bench.session, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    ended = run(bench, beneath)
    assert (ended.end, ended.reason) == (DrillEnd.SAFETY_STOP, "the terminal: SIGINT")
    assert signal.getsignal(signal.SIGINT) is before


def test_another_terminal_may_stop_it(bench: Bench) -> None:
    beneath = begun(bench)
    when_running(bench.session, lambda: (bench.folder / "stop").write_text("lunch"))
    assert run(bench, beneath).reason == "another terminal: lunch"


def test_a_run_that_ends_by_itself_ends_the_drill(bench: Bench) -> None:
    beneath = Beneath(RunEnd(20, None, "refused (lease-held): another run holds this cluster"))
    beneath.say(None)
    ended = run(bench, beneath)
    assert ended.end is DrillEnd.RUN_ENDED and "another run holds" in ended.run.error


def test_a_stream_that_breaks_ends_the_drill_and_says_why(bench: Bench) -> None:
    beneath = Beneath(RUN)
    beneath.say({"m": "event"})  # no kind, no detail
    ended = run(bench, beneath)
    assert ended.end is DrillEnd.RUN_ENDED
    assert ended.run.exit_status == 3 and "could not be followed: KeyError" in ended.run.error


def test_a_safety_stop_while_it_ends_waits_for_nothing(bench: Bench) -> None:
    beneath = begun(bench)
    waiting = threading.Event()

    def say_enough(reason: str) -> None:
        beneath.asked.append(("enough", reason))
        waiting.set()

    beneath.say_enough = say_enough  # type: ignore[method-assign]  # a run that takes its time to settle
    when_running(bench.session, lambda: bench.strike().after(LIMIT_S))
    in_thread(lambda: (waiting.wait(), bench.session.stop("now", "ana")))
    ended = run(bench, beneath)
    assert ended.end is DrillEnd.TIME_LIMIT
    assert [kind for kind, _ in beneath.asked][:2] == ["enough", "stop"]


def test_a_watch_that_does_not_work_is_told_once_and_tried_again(bench: Bench) -> None:
    beneath, looks = begun(bench), []

    def broken(session: Session) -> None:
        looks.append(session)
        if len(looks) == 2:
            raise PortError("kubernetes", "watch", "no answer", "is it up?")
        if len(looks) > 3:
            session.stop("seen enough", "the test")
        raise DrillError("no alert route", "mend it")

    ended = run(bench, beneath, watches=[broken])
    assert ended.end is DrillEnd.SAFETY_STOP
    told = [e.detail["message"] for e in bench.session.drill().of("trouble")]
    assert told == ["no alert route", "no answer"]
