"""`gameday compare`: worse only beyond noise, not comparable said clearly, and never a traceback over a damaged run."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest

from harness.comparison import EXIT, compare, compare_runs
from harness.judgement import JudgedRun
from harness.model.comparison import Change, Comparison, change_of
from harness.model.errors import GameDayError, SpecError
from harness.model.record import Ending, no_requests
from harness.model.timeline import Timeline
from harness.model.verdict import Outcome, Verdict
from reports.comparison import comparison_json
from tests.unit import stored_runs as runs
from tests.unit.stored_folders import log, stored, truncated
from tests.unit.test_cli import status_of

PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


@pytest.fixture
def two(tmp_path):
    """Write two runs; the changes are those of the second."""

    def write(**changes):
        stored(tmp_path, "run-1", requests=log(seed=1))
        stored(tmp_path, "run-2", **{"requests": log(seed=2), **changes})
        return compare_runs(tmp_path, "run-1", "run-2")

    return write


def judged(tmp_path, *verdicts, **changes):
    folder = tmp_path / f"judged-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    (folder / "target.json").write_text('{"kind": "local"}')
    return JudgedRun(folder, runs.record(requests=log(), **changes), verdicts, {}, 0)


def verdict(outcome, name="error-budget", **figures):
    return Verdict(name, name, outcome, "", "", "the reason", figures=figures)


def differing(found, name):
    return next(one for one in found.differences if one.name == name)


def test_two_runs_of_the_same_platform_have_no_difference_beyond_noise(two):
    found = two()
    assert not found.problems
    assert [one.name for one in found.differences] == ["success_ratio", "burst_latency_p95_s"]
    assert all(not one.worse and one.low <= 0 <= one.high for one in found.differences)


def test_more_errors_and_slower_answers_are_worse_with_an_interval(two):
    found = two(requests=log(bad_ratio=0.02, slower=1.6, seed=2))
    lost, slow = found.differences
    assert lost.worse and lost.high < 0 and lost.value == pytest.approx(-0.02, abs=0.005)
    assert slow.worse and slow.low > 0
    assert (found.change, EXIT[found.change]) == (Change.WORSE, 1)


def test_a_significant_change_that_does_not_matter_is_not_worse(two):
    assert not differing(two(requests=log(slower=1.04, seed=1)), "burst_latency_p95_s").worse


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "kind"}, "two kinds of target: local and kind"),
        ({"header": {"target": "twin"}}, "two kinds of target: local and twin"),
        ({"header": {"experiment": "cascade"}}, "runs of two experiments: pod-kill-under-burst and cascade"),
        ({"requests": no_requests()}, "the second run has no request log"),
        (
            {"experiment": replace(runs.experiment(), load=runs.experiment().load.scaled(2))},
            "peaks of 60 and 120 rps",
        ),
        (
            {"experiment": replace(runs.experiment(), load=replace(runs.experiment().load, name="other"))},
            "load profiles differ: planner-burst and other",
        ),
        ({"experiment": replace(runs.experiment(), load_options={"tool_calls": 3})}, "stages, mix or options"),
        ({"experiment": replace(runs.experiment(), faults=())}, "their faults differ"),
    ],
)
def test_runs_that_are_not_comparable_say_why_and_are_exit_20(two, changes, problem):
    found = two(**changes)
    assert any(problem in text for text in found.problems)
    assert not found.differences and not found.changes
    assert EXIT[found.change] == 20


def test_a_control_run_may_be_compared_with_its_run_though_it_has_no_faults(tmp_path):
    bare = replace(runs.experiment(), faults=())
    stored(tmp_path, "run-1", experiment=bare, facts={"control": True}, requests=log(seed=1))
    stored(tmp_path, "run-2", requests=log(bad_ratio=0.02, seed=2))
    found = compare_runs(tmp_path, "run-1", "run-2")
    assert not found.problems and differing(found, "success_ratio").worse
    assert any("control run" in note for note in found.notes)


def test_a_run_that_was_stopped_tells_no_difference(two):
    found = two(ending=Ending.STOPPED, requests=log(bad_ratio=0.02))
    assert all("the second run: run_completed is not so" in one.problem for one in found.differences)
    assert not any(one.worse for one in found.differences)


def test_a_run_without_its_target_file_is_not_comparable(tmp_path):
    stored(tmp_path, "run-1")
    (stored(tmp_path, "run-2") / "target.json").unlink()
    found = compare_runs(tmp_path, "run-1", "run-2")
    assert "the second run does not say what kind of target" in found.problems[0]


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (PASS, PASS, "same"), (FAIL, FAIL, "same"), (PASS, FAIL, "worse"), (FAIL, PASS, "better"),
        (PASS, UNKNOWN, "unclear"), (FAIL, UNKNOWN, "unclear"), (UNKNOWN, UNKNOWN, "unclear"),
        (UNKNOWN, PASS, "better"), (UNKNOWN, FAIL, "worse"), (PASS, None, "unclear"), (None, PASS, "same"),
        (None, FAIL, "worse"), (None, UNKNOWN, "unclear"),
    ],
)  # fmt: skip
def test_what_became_of_an_answer(before, after, change):
    assert change_of(before, after) == change


def test_answers_stand_side_by_side_with_their_figures(tmp_path):
    before = judged(tmp_path, verdict(PASS, success_ratio=0.999, gone=1.0), verdict(PASS, "restored"))
    after = judged(tmp_path, verdict(FAIL, success_ratio=0.98, fresh_s=2.0), verdict(UNKNOWN, "restored"))
    budget, restored = compare(before, after).changes
    assert (budget.change, budget.before, budget.after) == (Change.WORSE, PASS, FAIL)
    assert budget.figures["success_ratio"] == (0.999, 0.98)
    assert math.isnan(budget.figures["gone"][1]) and math.isnan(budget.figures["fresh_s"][0])
    assert (restored.change, restored.note) == (Change.UNCLEAR, "the reason")


def test_answers_to_other_limits_are_not_compared(tmp_path):
    assertions = runs.experiment().assertions
    lax = tuple(replace(a, params={"objective": 0.9}) if a.name == "error-budget" else a for a in assertions)
    after = judged(tmp_path, verdict(PASS), experiment=replace(runs.experiment(), assertions=lax))
    (change,) = compare(judged(tmp_path, verdict(FAIL)), after).changes
    assert change.change is Change.UNCLEAR and "limits differ" in change.note


def test_nothing_to_compare_is_no_silent_green():
    assert EXIT[Comparison("a", "b").change] == 20


def test_the_command_prints_and_its_json_has_no_nan(tmp_path, capsys):
    stored(tmp_path, "run-1", requests=log(seed=1))
    stored(tmp_path, "run-2", requests=log(bad_ratio=0.02, seed=2))
    assert status_of("compare", "run-1", "run-2", "--runs-dir", str(tmp_path)) == 1
    said = capsys.readouterr().out
    assert "run-1  →  run-2" in said and "points" in said and "Worse." in said
    assert status_of("compare", "run-1", "--json", "--runs-dir", str(tmp_path)) == 1  # the second is the latest
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["schema"] == "gameday.comparison/1"
    assert (document["change"], document["exit_status"]) == ("worse", 1)
    assert document["differences"][0]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("names", "told"),
    [(("run-1", "run-1"), "both names are of this run"), (("run-1", "nosuch"), "there is no run 'nosuch'")],
)
def test_a_mistake_is_one_clear_error(tmp_path, capsys, names, told):
    stored(tmp_path, "run-1")
    assert status_of("compare", *names, "--runs-dir", str(tmp_path)) == 4
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said


@pytest.mark.parametrize("seed", range(25))
def test_a_truncated_run_is_one_error_or_an_answer_and_never_better(tmp_path, seed):
    stored(tmp_path, "run-1", requests=log(seed=1))
    folder = shutil.copytree(tmp_path / "run-1", tmp_path / "run-2")
    truncated(folder, seed)
    try:
        found = compare_runs(tmp_path, "run-1", "run-2")
    except GameDayError as error:
        assert isinstance(error, SpecError) and str(tmp_path) in str(error)
        return
    assert not any(one.better for one in found.differences)
    comparison_json(found, EXIT[found.change])


def test_an_empty_timeline_is_no_difference_that_could_be_told(two):
    found = two(timeline=Timeline(runs.ORIGIN, ()))
    assert all(one.problem for one in found.differences)
