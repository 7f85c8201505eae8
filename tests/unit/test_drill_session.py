"""A drill's session: what is kept whatever people do, what nobody may see, and what a restart finds."""

import json
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.drill.desk import Role
from harness.drill.journal import read_drill
from harness.drill.seal import seal_problem
from harness.model.drill import MARKS, DrillEnd, DrillError, DrillState, Mark
from tests.unit.drill_parts import ACTION, ANSWER, CHANGE, HIDDEN, HINTS, READ, TITLE, VICTIM, Bench

PAGE = {"source": "alertmanager", "event": "e1", "alert": "BacklogTooOld", "state": "firing", "severity": "page"}
PAGE |= {"labels": {}, "summary": "tasks wait"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def text_of(value: Any) -> str:
    return json.dumps(value, default=str)


# marks ----------------------------------------------------------------------------------------------------------------


def test_marks_are_taken_while_the_drill_runs_and_only_then(bench: Bench) -> None:
    with pytest.raises(DrillError, match="the drill is preparing"):
        bench.session.mark(Mark.DETECTED, "ana")
    bench.start().session.mark(Mark.DETECTED, "ana")
    bench.session.wind_down()
    with pytest.raises(DrillError, match="the drill is ending"):
        bench.session.mark(Mark.ACKNOWLEDGED, "ana")
    assert [m.value for m in bench.session.drill().marks] == ["detected"]


def test_an_acknowledged_page_marks_and_implies_that_it_was_detected(bench: Bench) -> None:
    bench.start().session.page({**PAGE, "state": "acknowledged"}, "ana")
    marks = bench.session.drill().marks
    assert [(m.value, e.detail["implied"], e.by) for m, e in marks.items()] == [
        ("detected", True, "ana"),
        ("acknowledged", False, "ana"),
    ]
    bench.session.page({**PAGE, "state": "acknowledged", "event": "e2"}, "ben")  # the first time stays
    assert bench.session.drill().marks[Mark.ACKNOWLEDGED].by == "ana"
    assert len(bench.session.drill().of("page")) == 2


def test_a_page_before_anything_is_broken_is_kept_and_marks_nothing(bench: Bench) -> None:
    bench.session.page({**PAGE, "state": "acknowledged"}, "ana")
    assert not bench.session.drill().marks and len(bench.session.drill().of("page")) == 1


# commands, hints, steps -----------------------------------------------------------------------------------------------


def test_a_command_runs_and_its_output_is_in_the_journal(bench: Bench) -> None:
    told = bench.start().session.run_command("1", 1, "ana")
    assert bench.ran == [READ.text] and told["output"] == "pod-1 Running" and told["exit_status"] == 0
    assert bench.session.drill().of("command")[0].detail == told


def test_a_command_that_changes_the_cluster_is_refused_unless_allowed(bench: Bench) -> None:
    before = bench.start().journal_bytes()
    with pytest.raises(DrillError, match="would change the cluster, and only reading is allowed"):
        bench.session.run_command("2", 1, "ana")
    assert not bench.ran and bench.journal_bytes() == before

    bench.open(allow_changes=True).run_command("2", 1, "ana")
    assert bench.ran == [CHANGE.text]


def test_hints_come_in_order_and_end(bench: Bench) -> None:
    bench.start()
    assert tuple(bench.session.hint("ana") for _ in HINTS) == HINTS
    with pytest.raises(DrillError, match="no hint left"):
        bench.session.hint("ana")


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda s: s.run_command("1", 2, "ana"), "step 1 has no command 2"),
        (lambda s: s.run_command("9", 1, "ana"), "no step '9'"),
        (lambda s: s.step("9", True, "ana"), "there are: 1, 2"),
        (lambda s: s.note("  ", "ana"), "the note is empty"),
        (lambda s: s.note("x" * 4001, "ana"), "4001 characters"),
        (lambda s: s.note("x", ""), "the name of who says it is empty"),
        (lambda s: s.mark(Mark.MITIGATED, "ana"), "mark detected first"),
        (lambda s: s.page({"alert": "A", "state": "burning"}, "x"), "an alert and a state"),
    ],
)
def test_what_is_refused_changes_nothing(bench: Bench, call: Callable[[Any], Any], problem: str) -> None:
    before = bench.start().journal_bytes()
    with pytest.raises(DrillError, match=problem):
        call(bench.session)
    assert bench.journal_bytes() == before


def test_the_safety_stop_is_never_refused(bench: Bench) -> None:
    bench.session.stop("", "")
    bench.session.stop("again", "ana")
    bench.session.end(DrillEnd.SAFETY_STOP, "x", "", 2)
    bench.session.stop("too late", "ben")
    assert [e.detail["reason"] for e in bench.session.drill().of("stop")] == ["no reason given", "again"]


# what is hidden -------------------------------------------------------------------------------------------------------


def lived_through(bench: Bench) -> Bench:
    """Let a whole drill happen, in which everything hidden is said somewhere."""
    session = bench.start().strike().session
    bench.tell("workload", "agents/planner", ready_replicas=3)
    bench.tell("workload", f"gameday-system/{HIDDEN.fault}", ready_replicas=3)
    bench.tell("undo", HIDDEN.fault, step="start", outcome=VICTIM)
    bench.tell("note", "chaos", message=f"{ACTION} on {VICTIM}")
    load = {"offered_rps": 40.0, "achieved_rps": 39.0, "requests": 100, "failures": 2}
    bench.tell("load", "burst", **load)
    bench.steady(False, f"{HIDDEN.experiment}: {VICTIM} is not ready")
    for origin, who in (("gameday", VICTIM), ("unknown", VICTIM), ("human", "Deployment agents/planner")):
        session.act({"object": who, "what": "replicas 3 → 8", "manager": "m", "origin": origin})
    session.page(PAGE, "alertmanager")
    session.note("we look", "ana")
    session.hint("ana")
    session.trouble("the watch has a hole", "wait")
    return bench


HIDDEN_WORDS = (HIDDEN.experiment, HIDDEN.fault, TITLE, ANSWER, VICTIM, ACTION, HIDDEN.nonce, *HINTS[1:])


@pytest.mark.parametrize("word", HIDDEN_WORDS)
def test_no_view_of_a_participant_and_no_entry_holds_what_is_hidden(bench: Bench, word: str) -> None:
    session = lived_through(bench).session
    view = session.view(Role.PARTICIPANT)
    for key, value in view.items():
        assert word not in text_of(value), key
    assert word not in text_of([e.detail for e in session.drill().entries])
    assert word not in bench.journal_bytes().decode()


def test_the_facilitator_sees_what_is_hidden_and_the_participants_what_they_may(bench: Bench) -> None:
    session = lived_through(bench).session
    shown, open_ = session.view(Role.FACILITATOR), session.view(Role.PARTICIPANT)
    assert shown["hidden"] == {"experiment": HIDDEN.experiment, "fault": HIDDEN.fault, "title": TITLE, "answer": ANSWER}
    assert [one["kind"] for one in shown["faults"]] == ["fault", "fault", "undo"]
    assert sorted(one["origin"] for one in shown["actions"]) == ["gameday", "human", "unknown"]
    assert VICTIM in shown["steady"]["reason"]
    assert set(shown) - set(open_) == {"hidden", "faults"}
    assert [one["origin"] for one in open_["actions"]] == ["human"]
    assert open_["steady"] == {"ok": False, "reason": "the steady state does not hold"}
    assert open_["hints"] == [HINTS[0]] and open_["hints_left"] == 2
    assert open_["curves"]["planner ready"]["points"][-1][1] == 3.0
    assert open_["curves"]["succeeded"]["points"][-1][1] == 98.0
    assert {name for name, one in open_["curves"].items() if one["held"]} == {"planner ready"}


def test_the_reveal_opens_the_seal_and_tells_whose_changes_could_not_be_told(bench: Bench) -> None:
    session = lived_through(bench).session
    session.wind_down()
    session.reveal()
    session.reveal()
    session.end(DrillEnd.MITIGATED, "marked", "runs/r", 0)
    session.close("debrief.html")
    drill = session.drill()
    assert drill.of("revealed")[0].detail["fault"] == HIDDEN.fault and len(drill.of("revealed")) == 1
    assert not seal_problem(drill, HIDDEN)
    assert [e.detail["origin"] for e in drill.of("action")] == ["human", "unknown"]
    view = session.view(Role.PARTICIPANT)
    assert view["debrief"] == "debrief.html" and view["runbook"]["path"] == f"runbooks/{HIDDEN.experiment}.md"
    assert view["end"] == {"end": "mitigated", "reason": "marked"} and view["state"] == "over"


# changes --------------------------------------------------------------------------------------------------------------


def test_changes_come_at_once_and_end_with_the_drill(bench: Bench) -> None:
    changes = bench.session.changes(30.0)
    first = next(changes)
    threading.Thread(target=bench.start).start()
    assert next(changes) > first
    bench.session.close("")
    assert [number for number in changes][-1] > first  # ends


# any order ------------------------------------------------------------------------------------------------------------

_marks, _names = st.sampled_from(MARKS), st.sampled_from(["ana", "ben", ""])


class AnyOrder(RuleBasedStateMachine):
    """People, the run and the runner in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.bench = Bench(self.folder)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def attempt(self, call: Callable[[], Any]) -> None:
        """Call; what is refused leaves the journal as it was, to the byte."""
        self.bench.after(1.0)
        before = self.bench.journal_bytes()
        try:
            call()
        except DrillError as error:
            assert error.problem and error.remedy
            assert self.bench.journal_bytes() == before

    @rule(mark=_marks, by=_names, implies=st.booleans())
    def mark(self, mark: Mark, by: str, implies: bool) -> None:
        self.attempt(lambda: self.bench.session.mark(mark, by, implies=implies))

    @rule(state=st.sampled_from(["firing", "acknowledged", "resolved", "odd"]), by=_names)
    def page(self, state: str, by: str) -> None:
        self.attempt(lambda: self.bench.session.page({**PAGE, "state": state}, by))

    @rule(step=st.sampled_from(["1", "2", "3"]), done=st.booleans())
    def step(self, step: str, done: bool) -> None:
        self.attempt(lambda: self.bench.session.step(step, done, "ana"))

    @rule(step=st.sampled_from(["1", "2", "3"]), number=st.integers(-1, 2))
    def command(self, step: str, number: int) -> None:
        self.attempt(lambda: self.bench.session.run_command(step, number, "ana"))

    @rule(text=st.text(max_size=5))
    def note(self, text: str) -> None:
        self.attempt(lambda: self.bench.session.note(text, "ana"))

    @rule()
    def hint(self) -> None:
        self.attempt(lambda: self.bench.session.hint("ana"))

    @rule(reason=st.text(max_size=5))
    def stop(self, reason: str) -> None:
        self.bench.session.stop(reason, "ana")  # must never raise

    @rule(origin=st.sampled_from(["human", "gameday", "unknown", "controller"]))
    def act(self, origin: str) -> None:
        self.attempt(lambda: self.bench.session.act({"object": "o", "what": "w", "manager": "m", "origin": origin}))

    @rule(ok=st.sampled_from([True, False, None]))
    def steady(self, ok: bool | None) -> None:
        self.bench.steady(ok)

    @rule()
    def run_begins(self) -> None:
        self.bench.start()

    @rule()
    def wind_down(self) -> None:
        self.bench.session.wind_down()

    @precondition(lambda self: self.bench.session.drill().state is DrillState.ENDING)
    @rule()
    def over(self) -> None:
        self.bench.session.reveal()
        self.bench.session.end(DrillEnd.MITIGATED, "x", "", 0)

    @rule()
    def restart(self) -> None:
        before = self.bench.session.drill()
        self.bench.session = self.bench.open()
        assert self.bench.session.drill() == before

    @invariant()
    def numbered_without_holes(self) -> None:
        entries = self.bench.session.drill().entries
        assert [e.seq for e in entries] == list(range(1, len(entries) + 1))

    @invariant()
    def on_disk_as_in_memory(self) -> None:
        assert read_drill(self.folder) == self.bench.session.drill()

    @invariant()
    def marks_once_and_in_order(self) -> None:
        made = [Mark(e.detail["mark"]) for e in self.bench.session.drill().of("mark")]
        assert made == list(MARKS[: len(made)])

    @invariant()
    def states_only_go_forward(self) -> None:
        order = [state.value for state in DrillState]
        states = [order.index(e.detail["state"]) for e in self.bench.session.drill().of("state")]
        assert states == sorted(set(states))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
