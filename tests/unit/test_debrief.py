"""The debrief: every end gives one, what is not known says why, and the exit status follows from it alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.drill.debrief import drill_exit_status, drill_verdict, read_debrief, write_debrief
from harness.model.debrief import (
    Basis,
    Debrief,
    FaultEffect,
    MarkOutcome,
    MarkScore,
    PageOutcome,
    PageScore,
    SealOutcome,
    StepOutcome,
    UndoScore,
)
from harness.model.drill import MARKS, DrillEnd, Mark
from harness.model.record import Ending, Record
from harness.model.verdict import Outcome
from tests.unit import drill_journals as drills
from tests.unit.drill_journals import Said

GOLDEN = Path(__file__).parent / "golden_debrief.md"
FILES = ["debrief.html", "debrief.json", "debrief.md"]


def made(tmp_path: Path, said: Sequence[Said] | bytes, record: Record | None = None, answers: Any = "held") -> Debrief:
    """Return the debrief of a drill above a run; the run is whole where none is given."""
    judged = drills.verdicts() if answers == "held" else answers
    run_dir = drills.store_run(tmp_path, record or drills.record(), judged)
    return read_debrief(drills.folder(tmp_path, said), run_dir)


def by_mark(debrief: Debrief) -> dict[Mark, MarkScore]:
    return {one.mark: one for one in debrief.marks}


def pages(debrief: Debrief) -> dict[str, PageOutcome]:
    return {one.alert: one.outcome for one in debrief.pages}


# a whole drill --------------------------------------------------------------------------------------------------------


def test_a_whole_drill_reads_as_it_did(tmp_path: Path) -> None:
    """Golden: to store a new one, delete the file and run this test twice."""
    run_dir = drills.store_run(tmp_path, drills.record(), drills.verdicts())
    folder = drills.folder(tmp_path, drills.whole())
    page = write_debrief(folder, run_dir)
    assert page == folder / "debrief.html"
    assert sorted(one.name for one in folder.iterdir()) == [*FILES, "journal.jsonl"]
    text = (folder / "debrief.md").read_text("utf-8")
    if not GOLDEN.exists():
        GOLDEN.write_text(text, "utf-8")
        pytest.fail(f"{GOLDEN} was not there and is written: look at it")
    assert text == GOLDEN.read_text("utf-8")


def test_a_whole_drill_in_figures(tmp_path: Path) -> None:
    found = made(tmp_path, drills.whole())
    assert found.effect.basis is Basis.EFFECT
    assert found.effect.at_unix_s == pytest.approx(drills.ORIGIN_UNIX_S + drills.EFFECT_S)
    assert [one.took_s for one in found.marks] == [8.5, 8.5, 26.5, 40.5]
    assert {one.outcome for one in found.marks} == {MarkOutcome.MET}
    assert [one.mark for one in found.marks if one.implied] == [Mark.DETECTED]
    assert found.steady_back.value == 36.5
    assert found.budget.value == 0.5
    assert (found.hints, found.hints_left) == (("Look at the pods.",), 1)
    assert found.reveal.seal is SealOutcome.HOLDS
    assert found.undo.restored is True
    assert found.undo.left_alone == ("Pod agents/planner-1: /spec/replicas is now 9, not ours",)
    assert found.notes == 1 and len(found.commands) == 2 and len(found.actions) == 2
    assert drill_verdict(found).reasons == () and drill_exit_status(found) == 0


def test_the_json_says_what_it_comes_to(tmp_path: Path) -> None:
    run_dir = drills.store_run(tmp_path, drills.record(), drills.verdicts())
    folder = drills.folder(tmp_path, drills.whole())
    write_debrief(folder, run_dir)
    told = json.loads((folder / "debrief.json").read_text())
    assert told["schema"] == "gameday.debrief/1" and told["verdict"]["exit_status"] == 0
    assert told["marks"][3] == {
        "mark": "mitigated", "outcome": "met", "took_s": 40.5, "target_s": 70.0, "by": "ana", "implied": False,
        "reason": "",
    }  # fmt: skip


def test_nothing_that_people_typed_becomes_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> | `x` </script"
    said = [
        *drills.without(drills.whole(), "revealed", "ended"),
        (130.0, "note", evil, {"text": evil}),
        (131.0, "action", "cluster", drills.action(evil, evil, evil, "human")),
        (132.0, "page", evil, {**drills.page(evil), "summary": evil}),
        (133.0, "revealed", "drill", drills.revealed(answer=evil)),
        (134.0, "ended", "drill", drills.ended("time limit", evil)),
    ]
    run_dir = drills.store_run(tmp_path, drills.record(), drills.verdicts())
    folder = drills.folder(tmp_path, said)
    write_debrief(folder, run_dir)
    page, text = (folder / "debrief.html").read_text(), (folder / "debrief.md").read_text()
    assert "<script>alert" not in page and "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows if "note" in line and "alert(1)" in line} == {6}


# marks, pages, steps --------------------------------------------------------------------------------------------------


def test_marks_against_targets(tmp_path: Path) -> None:
    said = [one for one in drills.whole() if one[3].get("mark") not in {"diagnosed", "mitigated"}]
    said.insert(-5, (170.0, "mark", "ben", {"mark": "diagnosed", "implied": False}))
    found = made(tmp_path, said)
    marks = by_mark(found)
    assert marks[Mark.DIAGNOSED].outcome is MarkOutcome.MISSED and marks[Mark.DIAGNOSED].took_s == 66.5
    assert marks[Mark.MITIGATED].outcome is MarkOutcome.NOT_MARKED and marks[Mark.MITIGATED].took_s is None
    assert drill_exit_status(found) == 1
    assert any("diagnosed after 66 s, wanted within 60 s" in one for one in drill_verdict(found).reasons)


def test_a_mark_before_the_proof_counts_as_what_it_is(tmp_path: Path) -> None:
    said = [(99.0, *one[1:]) if one[3].get("mark") == "detected" else one for one in drills.whole()]
    score = by_mark(made(tmp_path, said))[Mark.DETECTED]
    assert (score.outcome, score.took_s) == (MarkOutcome.MET, -4.5)


def test_a_mark_without_a_target_is_only_timed(tmp_path: Path) -> None:
    targets = {"detected": 30.0}
    said = [("opened" == one[1] and (*one[:3], drills.opened(targets_s=targets))) or one for one in drills.whole()]
    found = made(tmp_path, said)
    assert by_mark(found)[Mark.MITIGATED] == MarkScore(Mark.MITIGATED, MarkOutcome.NO_TARGET, 40.5, None, "ana")
    assert drill_exit_status(found) == 0


@pytest.mark.parametrize(
    ("at_s", "outcome"),
    [
        (99.0, PageOutcome.IN_TIME), (123.0, PageOutcome.IN_TIME), (124.0, PageOutcome.LATE),
        (50.0, PageOutcome.MISSING), (None, PageOutcome.MISSING),
    ],
)  # fmt: skip
def test_an_expected_page(tmp_path: Path, at_s: float | None, outcome: PageOutcome) -> None:
    said = [one for one in drills.whole() if one[3].get("alert") != "PlannerPodsDown"]
    if at_s is not None:
        said.insert(2, (at_s, "page", "alertmanager", drills.page("PlannerPodsDown")))
    found = made(tmp_path, said)
    assert pages(found)["PlannerPodsDown"] is outcome
    assert drill_exit_status(found) == (0 if outcome is PageOutcome.IN_TIME else 1)


def test_a_drill_that_was_over_before_the_alert_was_due_does_not_blame_it(tmp_path: Path) -> None:
    said = [one for one in drills.whole() if one[3].get("alert") != "PlannerPodsDown"]
    said = [(120.0, *one[1:]) if one[3].get("state") == "ending" else one for one in said]
    found = made(tmp_path, said)
    assert pages(found)["PlannerPodsDown"] is PageOutcome.NOT_TOLD
    assert drill_exit_status(found) == 0


def test_a_page_that_nobody_expected_breaks_the_drill(tmp_path: Path) -> None:
    said = [*drills.whole()]
    said.insert(9, (115.5, "page", "pagerduty", drills.page("DiskFull")))
    said.insert(10, (115.6, "page", "alertmanager", drills.page("DiskFull", "resolved")))
    found = made(tmp_path, said)
    assert pages(found)["DiskFull"] is PageOutcome.UNEXPECTED and pages(found)["BacklogAge"] is PageOutcome.ALLOWED
    assert drill_verdict(found).reasons == ("alert DiskFull unexpected: neither expected nor allowed",)


def test_steps_of_the_runbook_that_people_had(tmp_path: Path) -> None:
    record = drills.record()
    record = replace(record, experiment=replace(record.experiment, runbook="runbooks/gpu-shortage.md"))
    books = ["runbooks/gpu-shortage.md"]
    said = [
        (*one[:3], drills.revealed(runbook=books)) if one[1] == "revealed" else one
        for one in [*drills.whole()[:20], (144.5, "step", "ben", {"step": "3", "done": False}), *drills.whole()[20:]]
    ]
    found = {one.step: one for one in made(tmp_path, said, record).steps}
    outcomes = {step: one.outcome for step, one in found.items()}
    assert outcomes["1"] is StepOutcome.OUT_OF_ORDER and outcomes["2"] is StepOutcome.DONE
    assert outcomes["3"] is StepOutcome.SKIPPED and outcomes["4"] is StepOutcome.UNTOUCHED
    assert all(one.title for one in found.values())


def test_a_change_that_was_kept_back_is_told_at_its_own_time(tmp_path: Path) -> None:
    kept = {"at_unix_s": drills.ORIGIN_UNIX_S + 101.0, **drills.action("Pod agents/p", "deleted", "", "unknown")}
    found = made(tmp_path, [*drills.whole()[:-2], (191.0, "action", "cluster", kept), *drills.whole()[-2:]])
    assert found.actions[0].at_unix_s == drills.ORIGIN_UNIX_S + 101.0
    assert [row.at_unix_s for row in found.rows] == sorted(row.at_unix_s for row in found.rows)


def test_the_steady_state_that_broke_before_the_proof_is_back_when_it_holds_again(tmp_path: Path) -> None:
    assert made(tmp_path, drills.whole()).steady_back.value == 36.5


@pytest.mark.parametrize(
    ("steady", "reason"),
    [
        ([], "was not looked at"), ([(62.0, True)], "never seen broken"),
        ([(62.0, True), (110.0, False)], "not back when the drill ended"),
        ([(110.0, False), (160.0, True)], "not back when the drill ended"),
    ],
)  # fmt: skip
def test_a_steady_state_that_was_not_back_says_why(
    tmp_path: Path, steady: list[tuple[float, bool]], reason: str
) -> None:
    said = drills.without(drills.whole(), "steady")
    said += [(t_s, "steady", "drill", {"ok": held, "reason": ""}) for t_s, held in steady]
    found = made(tmp_path, sorted(said, key=lambda one: one[0]))
    assert found.steady_back.value is None and reason in found.steady_back.reason


# ends -----------------------------------------------------------------------------------------------------------------


def test_the_safety_stop_wins_over_what_people_missed(tmp_path: Path) -> None:
    said = [one for one in drills.whole() if one[1] not in {"mark", "ended"}]
    found = made(tmp_path, [*said, (193.0, "ended", "drill", drills.ended("safety stop", "ana: enough"))])
    assert drill_verdict(found).exit_status == 2 and drill_verdict(found).reasons[0] == "ana: enough"


def test_the_time_limit_is_not_mitigated(tmp_path: Path) -> None:
    said = drills.without(drills.whole(), "ended")
    found = made(tmp_path, [*said, (193.0, "ended", "drill", drills.ended("time limit", "300 s since the fault"))])
    assert drill_verdict(found).reasons == ("not mitigated within the time limit",)


@pytest.mark.parametrize("effect", ["ABSENT", "UNCLEAR"])
def test_without_a_proof_times_count_from_the_deed_and_nothing_is_concluded(tmp_path: Path, effect: str) -> None:
    found = made(tmp_path, drills.whole(), drills.with_effect(drills.record(), effect))
    assert found.effect.basis is Basis.DEED and effect in found.effect.reason
    assert by_mark(found)[Mark.DETECTED].took_s == pytest.approx(112.0 - 97.2)
    assert drill_exit_status(found) == 20


def test_a_refused_drill_tells_what_is_known(tmp_path: Path) -> None:
    said: list[Said] = [
        (0.0, "opened", "drill", drills.opened()),
        (1.0, "trouble", "drill", {"message": "no alert route", "remedy": "describe one"}),
        (1.0, "ended", "drill", drills.ended("run ended", "no alert route")),
    ]
    folder = drills.folder(tmp_path, said)
    page = write_debrief(folder, None)
    found = read_debrief(folder, None)
    assert page.is_file() and drill_exit_status(found) == 20
    assert found.troubles == ("no alert route → describe one",)
    assert found.effect.reason == "no run was stored beneath the drill" == found.budget.reason
    assert found.alone.recovery.reason == "what was drilled is not known"
    text = (folder / "debrief.md").read_text()
    assert "It was never revealed." in text and "No times can be told" in text


def test_a_crashed_run_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    run_dir = drills.store_run(tmp_path, drills.record(), None)
    head = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps({**head, "ending": None}))
    said = [*drills.without(drills.whole(), "ended"), (193.0, "ended", "drill", drills.ended("run ended", "crashed"))]
    found = read_debrief(drills.folder(tmp_path, said), run_dir)
    assert found.effect.basis is Basis.EFFECT and found.budget.reason == "the run was never judged"
    assert found.undo.restored is None and drill_exit_status(found) == 20


def test_a_run_that_cannot_be_read_is_a_problem_and_no_exception(tmp_path: Path) -> None:
    run_dir = tmp_path / "torn"
    run_dir.mkdir()
    (run_dir / "run.json").write_text("{")
    folder = drills.folder(tmp_path, drills.whole())
    assert write_debrief(folder, run_dir).is_file()
    assert "the run's record cannot be read" in read_debrief(folder, run_dir).record_problem


def test_a_torn_last_line_is_no_entry_and_a_damaged_journal_is_told_up_to_its_damage(tmp_path: Path) -> None:
    data = drills.journal(drills.whole())
    torn = read_debrief(drills.folder(tmp_path / "torn", data[:-7]), None)
    assert torn.journal_problem == "" and torn.end == ""
    lines = data.splitlines(keepends=True)
    lines[9] = b"{not json\n"
    damaged = read_debrief(drills.folder(tmp_path / "damaged", b"".join(lines)), None)
    assert "journal.jsonl:10" in damaged.journal_problem
    assert by_mark(damaged)[Mark.ACKNOWLEDGED].by == "ana" and damaged.end == ""


def test_what_is_revealed_must_be_what_was_sealed(tmp_path: Path) -> None:
    said = [(*one[:3], drills.revealed(fault="another")) if one[1] == "revealed" else one for one in drills.whole()]
    found = made(tmp_path, said)
    assert found.reveal.seal is SealOutcome.BROKEN
    assert "not what was sealed" in found.discuss[0]


def test_something_left_behind_fails_whatever_people_did(tmp_path: Path) -> None:
    found = made(tmp_path, drills.whole(), answers=drills.verdicts(Outcome.FAIL))
    assert drill_exit_status(found) == 1
    assert drill_exit_status(made(tmp_path / "b", drills.whole(), answers=drills.verdicts(Outcome.INCONCLUSIVE))) == 20


def test_the_end_may_be_given_before_the_journal_has_it(tmp_path: Path) -> None:
    run_dir = drills.store_run(tmp_path, drills.record(), drills.verdicts())
    folder = drills.folder(tmp_path, drills.without(drills.whole(), "ended"))
    assert drill_exit_status(read_debrief(folder, run_dir)) == 20
    assert drill_exit_status(read_debrief(folder, run_dir, DrillEnd.MITIGATED, "…")) == 0


# what it is compared with ---------------------------------------------------------------------------------------------


def test_earlier_drills_of_the_same_fault_are_beside_it(tmp_path: Path) -> None:
    run_dir = drills.store_run(tmp_path, drills.record(), drills.verdicts())
    early = [(one[0] - 7200.0, *one[1:]) for one in drills.whole()]
    write_debrief(drills.folder(tmp_path, early, "20261124-2341-aaaa"), run_dir)
    other = [(*one[:3], drills.revealed(fault="x")) if one[1] == "revealed" else one for one in early]
    write_debrief(drills.folder(tmp_path, other, "20261124-2341-bbbb"), run_dir)
    torn = drills.folder(tmp_path, early, "20261124-2341-cccc")
    (torn / "debrief.json").write_text("{")
    (one,) = read_debrief(drills.folder(tmp_path, drills.whole()), run_dir).earlier
    assert (one.drill_id, one.began_at, one.end) == (drills.DRILL_ID, "2026-11-24 23:40", "mitigated")
    assert one.exit_status == 0 and set(one.took_s) == set(MARKS)


def unattended_run(tmp_path: Path, change: Callable[[Record], Record] = lambda told: told, answers: Any = ()) -> None:
    told = drills.record()
    events = tuple(
        replace(e, subject=drills.HIDDEN["fault"]) if e.subject == "change" else e for e in told.timeline.events
    )
    header = replace(told.header, run_id="20261120-0000-alone-1111", experiment=drills.HIDDEN["experiment"])
    timeline = replace(told.timeline, events=events)
    drills.store_run(tmp_path, change(replace(told, header=header, timeline=timeline)), answers)


def test_what_the_platform_did_alone_comes_from_the_last_completed_run(tmp_path: Path) -> None:
    unattended_run(tmp_path)
    alone = made(tmp_path, drills.whole()).alone
    assert alone.run_id == "20261120-0000-alone-1111"
    assert alone.recovery.value == pytest.approx(190.0 - 103.5) and "took the fault back" in alone.recovery.reason


def test_its_own_verdict_on_recovery_comes_first(tmp_path: Path) -> None:
    verdict = replace(
        drills.verdicts()[0], kind="workload_recovery", figures={f"{drills.HIDDEN['fault']}_recovery_s": 6.0}
    )
    unattended_run(tmp_path, answers=(verdict,))
    assert made(tmp_path, drills.whole()).alone.recovery.value == 6.0


@pytest.mark.parametrize("change", [{"ending": Ending.ABORTED}, {"target": "kind"}, {"facts": {"control": True}}])
def test_other_runs_tell_nothing_of_it(tmp_path: Path, change: dict[str, Any]) -> None:
    unattended_run(tmp_path, lambda told: replace(told, header=replace(told.header, **change)))
    alone = made(tmp_path, drills.whole()).alone
    assert alone.recovery.value is None and "no completed run of pod-kill-under-burst" in alone.recovery.reason


# the exit status alone ------------------------------------------------------------------------------------------------

GOOD = Debrief(
    "d", end=DrillEnd.MITIGATED.value, effect=FaultEffect(1.0, Basis.EFFECT), undo=UndoScore(True, "done"),
    marks=tuple(MarkScore(mark, MarkOutcome.MET, 1.0, 2.0) for mark in MARKS),
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 0),
        ({"end": ""}, 20),
        ({"end": "run ended"}, 20),
        ({"end": "time limit"}, 1),
        ({"end": "safety stop"}, 2),
        ({"effect": FaultEffect(1.0, Basis.DEED, "UNCLEAR")}, 20),
        ({"effect": FaultEffect()}, 20),
        ({"undo": UndoScore(None, "no record")}, 20),
        ({"undo": UndoScore(False, "left")}, 1),
        ({"undo": UndoScore(False, "left"), "effect": FaultEffect()}, 1),
        ({"undo": UndoScore(False, "left"), "end": "safety stop"}, 2),
        ({"marks": (MarkScore(Mark.DETECTED, MarkOutcome.NOT_MARKED),)}, 1),
        ({"marks": (MarkScore(Mark.DETECTED, MarkOutcome.NO_TARGET, 3.0),)}, 0),
        ({"pages": (PageScore("A", PageOutcome.LATE),)}, 1),
        ({"pages": (PageScore("A", PageOutcome.NOT_TOLD),)}, 0),
    ],
)
def test_the_exit_status(change: dict[str, Any], status: int) -> None:
    assert drill_exit_status(replace(GOOD, **change)) == status
    assert bool(drill_verdict(replace(GOOD, **change)).reasons) == (status != 0)
