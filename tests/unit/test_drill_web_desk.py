"""What the pages lean on, of every desk: views without secrets, refusals that change nothing, changes that are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.drill.books import Books
from harness.drill.desk import Desk, Role
from harness.drill.journal import Journal
from harness.drill.session import Given, Session
from harness.model.drill import DrillError, DrillState, Mark
from harness.runbook import Step
from harness.runbook_commands import Command
from harness.runbook_run import CommandResult
from tests.unit.drill_desk import HIDDEN, HINTS, OPENED, OUTPUT, STEPS, DeskTwin, running
from tests.unit.drill_web import WORDS

VIEW_KEYS = {
    "drill_id", "target", "state", "end", "now_unix_s", "began_unix_s", "limit_s", "targets_s", "marks", "steady",
    "hints", "hints_left", "notes", "pages", "actions", "troubles", "runbook", "curves", "debrief",
}  # fmt: skip
PAGE = {
    "source": "alertmanager", "event": "f1/1/firing", "alert": "BacklogTooOld", "state": "firing",
    "severity": "page", "labels": {}, "summary": "Requests wait for minutes.",
}  # fmt: skip


def session(folder: Path) -> Desk:
    """Return a real drill's session that runs, over a journal on disk; no cluster is behind it."""
    steps = tuple(
        Step(
            one["step"], one["title"], one["text"], tuple(Command(c["command"], c["changes"]) for c in one["commands"])
        )
        for one in STEPS
    )
    given = Given(OPENED, HIDDEN, HINTS, Books("Runbook", steps), lambda line: CommandResult(0, OUTPUT, 0.2))
    session = Session(Journal(folder, environ={}), given)
    session.take({"m": "event", "t_s": 0.0, "kind": "phase", "subject": "inject", "detail": {"edge": "start"}})
    return session


@pytest.fixture(params=["twin", "session"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    """Return a desk whose drill runs."""
    return running() if request.param == "twin" else session(tmp_path)


@pytest.mark.parametrize("role", tuple(Role))
def test_a_view_is_plain_json_with_all_its_keys(desk: Desk, role: Role) -> None:
    desk.page(PAGE, "alertmanager")
    desk.mark(Mark.DETECTED, "ana")
    view = json.loads(json.dumps(dict(desk.view(role)), allow_nan=False))
    assert set(view) - {"hidden", "faults"} == VIEW_KEYS
    assert ("hidden" in view) == ("faults" in view) == (role is Role.FACILITATOR)
    assert view["marks"]["detected"]["by"] == "ana" and view["pages"][0]["at_unix_s"] > 0


def test_a_participants_view_and_the_journal_hide_what_is_hidden(desk: Desk) -> None:
    told = json.dumps(dict(desk.view(Role.PARTICIPANT))) + repr(desk.drill())
    assert [word for word in WORDS if word in told] == []


@pytest.mark.parametrize(
    "refused",
    [
        lambda desk: desk.mark(Mark.DIAGNOSED, "ana"),
        lambda desk: desk.step("no-such-step", True, "ana"),
        lambda desk: desk.run_command("look", 9, "ana"),
        lambda desk: desk.run_command("free", 1, "ana"),
        lambda desk: desk.run_command("no-such-step", 1, "ana"),
    ],
)
def test_a_refusal_leaves_the_journal_as_it_was(desk: Desk, refused: Callable[[Desk], None]) -> None:
    before = desk.drill()
    with pytest.raises(DrillError):
        refused(desk)
    assert desk.drill() == before


def test_an_acknowledged_page_marks_once_and_implies_what_comes_before(desk: Desk) -> None:
    for event in ("a", "b"):
        desk.page({**PAGE, "state": "acknowledged", "event": event}, "bo")
    marks = desk.drill().marks
    assert set(marks) == {Mark.DETECTED, Mark.ACKNOWLEDGED} and marks[Mark.DETECTED].detail["implied"]


def test_hints_steps_notes_and_commands_are_seen_in_the_view(desk: Desk) -> None:
    assert desk.hint("ana") == HINTS[0]
    desk.note("the queue grows", "ana")
    desk.step("events", False, "bo")
    assert desk.run_command("look", 1, "ana")["output"] == OUTPUT
    view = desk.view(Role.PARTICIPANT)
    assert view["hints"] == [HINTS[0]] and view["hints_left"] == len(HINTS) - 1
    assert view["notes"][0]["text"] == "the queue grows" and view["notes"][0]["by"] == "ana"
    assert [step["done"] for step in view["runbook"]["steps"]] == [None, False, None]
    assert [entry.detail["step"] for entry in desk.drill().of("command")] == ["look"]


def test_the_safety_stop_may_be_pulled_twice(desk: Desk) -> None:
    desk.stop("enough", "ana")
    desk.stop("enough", "bo")
    assert desk.drill().of("stop")


def test_changes_grow_and_end_with_the_drill() -> None:
    desk = running()
    seen = []
    for number in desk.changes(0.01):
        seen.append(number)
        if len(seen) == 3:
            desk.finish("mitigated")
    assert seen == sorted(seen) and len(seen) >= 3 and desk.drill().state is DrillState.OVER


def test_a_second_desk_over_the_same_journal_knows_what_the_first_did() -> None:
    first = running()
    first.mark(Mark.DETECTED, "ana")
    first.step(STEPS[0]["step"], True, "bo")
    second = DeskTwin(journal=first.journal, now=lambda: 0.0)
    first.now = second.now
    assert second.view(Role.PARTICIPANT) == first.view(Role.PARTICIPANT)
