"""Trends and the index page: worse only beyond the noise of enough earlier runs; one page that asks no network."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import trend
from harness.model.comparison import Change
from harness.model.errors import SpecError
from harness.model.record import Ending
from harness.model.trend import EARLIER_MIN, ExperimentTrend, Figure, RunRow, trend_of
from harness.model.verdict import Outcome
from reports.index import index_page, overall, sentence, trend_text
from tests.unit import stored_runs as runs
from tests.unit.stored_folders import log, stored, truncated
from tests.unit.test_cli import status_of
from tests.unit.test_report_page import Document

GOOD = Figure("success_ratio", "Good requests", more_is_better=True, relevant=0.001)
SLOW = Figure("latency_p95_s", "p95", more_is_better=False, relevant=0.005, relevant_ratio=0.1)
BEGIN = datetime(2026, 11, 25, tzinfo=UTC)


def followed(figure, *values):
    return trend_of(figure, [f"run-{n}" for n in range(len(values))], values)


def hour(number):
    return {"started_at": (BEGIN + timedelta(hours=number)).isoformat()}


@pytest.mark.parametrize(
    ("figure", "values", "change"),
    [
        (SLOW, (0.040, 0.042, 0.039, 0.041, 0.040, 0.041), "same"),
        (SLOW, (0.040, 0.042, 0.039, 0.041, 0.040, 0.060), "worse"),
        (SLOW, (0.040, 0.042, 0.039, 0.041, 0.040, 0.020), "better"),
        (SLOW, (0.040, 0.080, 0.020, 0.060, 0.030, 0.070), "same"),  # as noisy as ever
        (SLOW, (0.040, 0.040, 0.040, 0.040, 0.040, 0.044), "same"),  # no noise at all, and less than what matters
        (SLOW, (0.040, 0.040, 9.000, 0.040, 0.040, 0.060), "worse"),  # one odd run hides nothing
        (GOOD, (1.0, 0.9995, 1.0, 0.9998, 1.0, 0.99), "worse"),
        (GOOD, (0.99, 0.991, 0.989, 0.99, 0.99, 1.0), "better"),
        (SLOW, (0.040, 0.042, 0.039, 0.041, 0.060), "unclear"),  # four earlier ones are too few
        (SLOW, (0.040, math.nan, 0.039, 0.041, math.inf, 0.040, 0.060), "unclear"),
        (SLOW, (0.040, 0.042, 0.039, 0.041, 0.040, math.nan), "unclear"),
    ],
)
def test_the_last_run_is_told_from_the_noise_of_the_earlier_ones(figure, values, change):
    assert followed(figure, *values).change == change


def test_too_few_runs_say_how_many_are_needed():
    assert followed(SLOW, 0.04, 0.05).reason == "1 earlier runs are too few to know the noise, 5 are needed"


@given(st.lists(st.floats() | st.sampled_from([0.0, 1.0]), min_size=1, max_size=12))
def test_whatever_the_values_a_trend_is_told_and_worse_needs_enough_runs(values):
    found = followed(SLOW, *values)
    enough = sum(map(math.isfinite, values[:-1])) >= EARLIER_MIN and math.isfinite(values[-1])
    assert (found.change is Change.UNCLEAR) is not enough or not math.isfinite(found.noise)
    trend_text(found)


def test_the_last_runs_of_an_experiment_are_judged_and_followed(tmp_path):
    for number in range(EARLIER_MIN + 1):
        worse = number == EARLIER_MIN
        stored(tmp_path, f"run-{number}", requests=log(0.03 * worse, 1 + worse, number), header=hour(number))
    found = trend.index_of(tmp_path)
    assert [row.run_id for row in found.rows] == [f"run-{n}" for n in reversed(range(EARLIER_MIN + 1))]
    by_name = {one.figure.name: one for one in found.trends}
    assert by_name["success_ratio"].change is Change.WORSE
    assert by_name["latency_p95_s"].change is Change.WORSE
    assert "recovery_max_s" not in by_name  # nothing of that kind is asked
    assert "Good requests of pod-kill-under-burst" in sentence(found.experiments)


def test_control_runs_and_runs_that_did_not_complete_count_for_no_trend(tmp_path):
    stored(tmp_path, "run-0", facts={"control": True}, header=hour(0))
    stored(tmp_path, "run-1", ending=Ending.STOPPED, header=hour(1))
    stored(tmp_path, "run-2", header=hour(2))
    found = trend.index_of(tmp_path)
    rows = {row.run_id: row for row in found.rows}
    assert rows["run-0"].control and "run_completed is not so" in rows["run-1"].problem and not rows["run-1"].values
    (good, *_) = found.trends
    assert good.runs == ("run-1", "run-2") and math.isnan(good.values[0])


def test_runs_on_another_kind_of_target_are_followed_apart_and_another_load_is_left_out(tmp_path):
    stored(tmp_path, "run-0", experiment=replace(runs.experiment(), load_options={"tool_calls": 9}), header=hour(0))
    stored(tmp_path, "run-1", kind="kind", header=hour(1))
    stored(tmp_path, "run-2", header=hour(2))
    found = {one.kind: one for one in trend.index_of(tmp_path).experiments}
    assert set(found) == {"local", "kind"} and found["local"].left_out == 1
    assert found["local"].trends[0].runs == ("run-2",)


def test_only_so_many_runs_of_each_experiment_and_only_the_one_that_is_asked_for(tmp_path):
    for number in range(3):
        stored(tmp_path, f"run-{number}", header=hour(number))
    stored(tmp_path, "other-1", header={"experiment": "cascade", **hour(0)})
    assert [row.run_id for row in trend.index_of(tmp_path, last=2).rows] == ["run-2", "run-1", "other-1"]
    assert [row.run_id for row in trend.index_of(tmp_path, "cascade").rows] == ["other-1"]


@pytest.mark.parametrize(
    ("arguments", "told"), [(("cascade",), "there is no run of 'cascade'"), (("--last", "0"), "0 is less than 1")]
)
def test_a_mistake_is_one_clear_error(tmp_path, capsys, arguments, told):
    stored(tmp_path, "run-0")
    assert status_of("trend", *arguments, "--runs-dir", str(tmp_path)) == 4
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said and not (tmp_path / "index.html").exists()


def test_a_folder_without_runs_is_one_clear_error(tmp_path):
    with pytest.raises(SpecError, match="there is no run"):
        trend.index_of(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("last", "status", "said"),
    [
        (log(seed=9), 0, "Nothing is worse beyond noise in"),
        (log(0.03, seed=9), 1, "Worse in the last run: Good requests of pod-kill-under-burst"),
    ],
)
def test_the_command_writes_the_page_and_its_status_is_that_of_the_trends(tmp_path, capsys, last, status, said):
    for number in range(EARLIER_MIN):
        stored(tmp_path, f"run-{number}", requests=log(seed=number), header=hour(number))
    stored(tmp_path, "run-9", requests=last, header=hour(9))
    (tmp_path / "run-9" / "report.html").write_text("a page")
    assert status_of("trend", "--runs-dir", str(tmp_path)) == status
    assert said in capsys.readouterr().out
    document = Document((tmp_path / "index.html").read_text())
    assert said in document.text
    assert document.links == ["#runs", "./run-9/report.html"]


def test_too_few_runs_are_no_silent_green(tmp_path):
    stored(tmp_path, "run-0")
    assert status_of("trend", "--runs-dir", str(tmp_path)) == 20


def test_the_page_fetches_nothing_and_reads_no_text_as_markup():
    evil = '<script>alert(1)</script>"&</table>'
    row = RunRow(evil, evil, evil, evil, evil, Outcome.PASS, values={"success_ratio": 1.0}, problem=evil, report=True)
    told = trend_of(GOOD, [evil] * 7, [1.0] * 6 + [0.5])
    html = index_page([row, RunRow("damaged", problem=evil)], [ExperimentTrend(evil, evil, (told,), 2)], [GOOD, SLOW])
    document = Document(html)
    assert document.fetched == ["data:,"] and len(document.scripts) == 2
    assert document.policy.startswith("default-src 'none'; script-src ")
    assert all(not re.match(r"(?i)https?:|//|javascript:", link) for link in document.links)
    assert "<script>alert" not in html


@pytest.mark.parametrize("trends", [(), (followed(GOOD, math.nan),)])
def test_a_page_without_a_figure_still_says_so(trends):
    experiments = [ExperimentTrend("x", "local", trends)]
    assert overall(trends) is Change.UNCLEAR
    assert "</html>" in index_page([RunRow("run-0", problem="damaged")], experiments, [GOOD])
    assert "</html>" in index_page([], [], [GOOD])


@pytest.mark.parametrize("seed", range(15))
def test_truncated_runs_are_rows_that_say_so_and_never_a_traceback(tmp_path, seed):
    stored(tmp_path, "run-0", header=hour(0))
    truncated(shutil.copytree(tmp_path / "run-0", tmp_path / "run-1"), seed)
    assert status_of("trend", "--runs-dir", str(tmp_path)) == 20
    assert "run-1" in Document((tmp_path / "index.html").read_text()).text
