"""What the pages lean on, of every desk: views without secrets, refusals that change nothing, changes that are told."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from harness.drill.desk import Desk, Role
from harness.model.drill import DrillError, DrillState, Mark
from tests.unit.drill_desk import STEPS, DeskTwin, running
from tests.unit.drill_web import WORDS

VIEW_KEYS = {
    "drill_id", "target", "state", "end", "now_unix_s", "began_unix_s", "limit_s", "targets_s", "marks", "steady",
    "hints", "hints_left", "notes", "pages", "actions", "troubles", "runbook", "curves", "debrief",
}  # fmt: skip
PAGE = {
    "source": "alertmanager", "event": "f1/1/firing", "alert": "BacklogTooOld", "state": "firing",
    "severity": "page", "labels": {}, "summary": "Requests wait for minutes.",
}  # fmt: skip


@pytest.fixture
def desk() -> Desk:
    """Return a desk whose drill runs."""
    return running()


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
