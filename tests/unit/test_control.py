"""A control run is the experiment without its faults, says so everywhere, and its run's reports tell the effect."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from harness import conductor_main, registries, store
from harness.client import Job
from harness.control import after_control, rest_s
from harness.effect import with_effect
from harness.judgement import judge_run, write_reports
from harness.model.comparison import EFFECT_FACT
from harness.model.record import Ending
from harness.pulse import StopFlag
from tests.unit import stored_runs
from tests.unit.stored_folders import log, stored, timeline, truncated
from tests.unit.test_cli import status_of
from tests.unit.test_conductor_main import Stream

JOB = Job("e.yaml", "gameday.toml", "local", 7, "runs")
SCHEMA = json.loads((registries.PROJECT_DIR / "reports/schema/summary.json").read_text())


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """Return the folders of a control run and of the run after it, against the twin."""
    runs_dir = tmp_path_factory.mktemp("runs")
    job = Job(str(registries.experiment_path("pod-kill-under-burst")), "gameday.toml", "", 7, str(runs_dir), True)
    _, control = conductor_main._run(replace(job, control=True), Stream(), StopFlag())
    status, run = conductor_main._run(replace(job, control_run=control.name), Stream(), StopFlag())
    assert status == 0
    return control, run


@pytest.fixture
def pair(tmp_path):
    """Write a control run and a run that names it, with bad answers in the run."""
    bare = replace(stored_runs.experiment(), faults=())
    stored(tmp_path, "run-1-control", facts={"control": True}, experiment=bare, requests=log(seed=1))
    return stored(tmp_path, "run-1", facts={"control_run": "run-1-control"}, requests=log(bad_ratio=0.02, seed=2))


def test_a_control_run_has_the_load_and_no_fault_and_says_so(rehearsed):
    control, run = (store.load_record(folder) for folder in rehearsed)
    assert control.experiment.faults == () and not list(control.timeline.of("fault")) and not control.undo
    assert control.experiment.load == run.experiment.load and control.header.seed == run.header.seed
    assert control.header.facts["control"] is True and "-control-" in control.header.run_id
    assert len(run.timeline.injections()) == 2
    assert run.header.facts["control_run"] == control.header.run_id
    assert "control run, without its faults" in (rehearsed[0] / "report.html").read_text()
    assert rehearsed[0].parent.joinpath("latest").resolve() == rehearsed[1]


def test_the_reports_of_the_run_tell_the_effect_with_its_interval(rehearsed):
    control, run = rehearsed
    effect = with_effect(run, store.load_record(run)).header.facts[EFFECT_FACT]
    assert effect.control_run == control.name and not effect.problem
    assert [(one.name, one.problem) for one in effect.differences] == [
        ("success_ratio", ""),
        ("burst_latency_p95_s", ""),
    ]
    summary = json.loads((run / "summary.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    assert [one["name"] for one in summary["effect"]["differences"]] == ["success_ratio", "burst_latency_p95_s"]
    assert "What the faults did" in (run / "report.html").read_text()
    assert control.name in (run / "brief.md").read_text()
    assert EFFECT_FACT not in (run / "run.json").read_text()  # the record itself stays as it was written


def test_a_run_without_a_control_run_tells_no_effect(tmp_path):
    folder = stored(tmp_path)
    write_reports(judge_run(folder))
    summary = json.loads((folder / "summary.json").read_text())
    jsonschema.validate(summary, SCHEMA)
    assert "effect" not in summary and "What the faults did" not in (folder / "report.html").read_text()


def test_faults_that_cost_requests_are_worse_than_the_control_run(pair):
    effect = with_effect(pair, store.load_record(pair)).header.facts[EFFECT_FACT]
    assert effect.differences[0].worse and not effect.differences[1].worse


def test_a_control_run_that_is_gone_is_told_and_the_verdicts_stay(pair):
    before = judge_run(pair).verdicts
    shutil.rmtree(pair.parent / "run-1-control")
    judged = judge_run(pair)
    assert judged.verdicts == before
    write_reports(judged)
    effect = json.loads((pair / "summary.json").read_text())["effect"]
    assert "the control run cannot be read" in effect["problem"] and effect["differences"] == []
    assert "Nothing can be told: the control run cannot be read" in (pair / "report.html").read_text()


@pytest.mark.parametrize("seed", range(12))
def test_a_truncated_control_run_never_costs_the_report_of_its_run(pair, seed):
    truncated(pair.parent / "run-1-control", seed)
    assert len(write_reports(judge_run(pair))) == 4


@pytest.mark.parametrize("ending", [Ending.STOPPED, Ending.REFUSED, Ending.ABORTED, None])
def test_no_fault_follows_a_control_run_that_did_not_complete(tmp_path, ending):
    found = after_control(stored(tmp_path, ending=ending), JOB)
    assert found.problem.startswith("the control run did not complete, so no fault was injected: ")


def test_autoscalers_that_are_up_after_a_control_run_get_the_time_that_they_ask_for(tmp_path):
    """9 replicas asked at the end and 3 at the start; 300 s down, 60 s to act, and 17 s have gone by."""
    folder = stored(tmp_path)
    assert after_control(folder, JOB).rest_s == pytest.approx(300 + 60 - (193 - stored_runs.END_S))
    assert after_control(folder, replace(JOB, rehearse=True)).rest_s == 0


def test_autoscalers_that_are_back_need_no_rest():
    whole = timeline()
    calm = tuple(e for e in whole.events if e.kind != "workload" or e.t_s < stored_runs.FIRST_S)
    assert rest_s(stored_runs.record(timeline=replace(whole, events=calm))) == 0


def test_a_run_that_begins_scaled_up_tells_no_effect(pair):
    record = store.load_record(pair)
    events = tuple(
        replace(e, detail={**e.detail, "spec_replicas": 9}) if e.kind == "workload" else e
        for e in record.timeline.events
    )
    scaled_up = replace(record, timeline=replace(record.timeline, events=events))
    effect = with_effect(pair, scaled_up).header.facts[EFFECT_FACT]
    assert all("began with 3 and 9 replicas of agents/planner" in one.problem for one in effect.differences)


def test_the_command_runs_both_and_a_failed_control_run_is_the_end_of_it(tmp_path, monkeypatch, capsys):
    command = ("run", "pod-kill-under-burst", "--rehearse", "--control", "--seed", "7", "--runs-dir")
    assert status_of(*command, str(tmp_path / "good")) == 0
    assert len(store.list_runs(tmp_path / "good")) == 2
    assert "against the control run" in capsys.readouterr().out
    monkeypatch.setenv("GAMEDAY_TWIN", '{"hpa_missing": true}')
    assert status_of(*command, str(tmp_path / "bad")) == 1
    (only,) = store.list_runs(tmp_path / "bad")
    assert "-control-" in only
    assert "no fault was injected" in capsys.readouterr().err


def test_a_control_run_of_a_folder_name_from_a_record_stays_beside_the_run(tmp_path):
    """A record that came from elsewhere cannot make the report read outside the folder of runs."""
    outside = stored(tmp_path / "elsewhere", "secret")
    folder = stored(tmp_path / "runs", "run-1", facts={"control_run": f"../elsewhere/{outside.name}"})
    effect = with_effect(folder, store.load_record(folder)).header.facts[EFFECT_FACT]
    assert "is not the id of a run" in effect.problem and Path(outside).exists()
