"""Charts stay small whatever the run was, tell held values everywhere, and say why they are empty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from harness.model.experiment import AssertionSpec
from harness.model.record import Ending, Record, no_requests
from harness.model.signal import Harvest, Series, SignalHarvest
from harness.model.timeline import Event, Timeline
from reports import rows, series
from reports.charts import Chart, add_chart, charts, figure
from tests.unit import stored_runs as runs
from tests.unit.test_reports_text import RUNS

PLANNER = runs.experiment().scope.workloads[0]


def with_events(*told: tuple[float, str, str, dict[str, Any]]) -> Timeline:
    """Return a timeline of harness events."""
    return Timeline(runs.ORIGIN, tuple(Event(n, t, "harness", k, s, d) for n, (t, k, s, d) in enumerate(told, 1)))


def test_achieved_rate_counts_actual_starts_and_bins_without_a_request_are_zero() -> None:
    log = runs.requests().iloc[:3].assign(start_s=[10.2, 10.7, 13.1], intended_s=[10.0, 10.1, 12.0])
    achieved = series.rate_panel(runs.record(requests=log)).lines[-1]
    assert (achieved.x, achieved.y) == ([10.5, 11.5, 12.5, 13.5], [2.0, 0.0, 0.0, 1.0])


def test_success_is_told_by_intended_start_with_its_counts() -> None:
    log = (
        runs.requests()
        .iloc[:4]
        .assign(intended_s=[10.0, 10.1, 10.2, 11.0], start_s=[30.0] * 4, outcome=["ok", "timeout", "ok", "ok"])
    )
    good = series.success_panel(runs.record(requests=log)).lines[0]
    assert good.y == [pytest.approx(2 / 3, abs=1e-6), 1.0]
    assert good.notes == ["1 bad of 3", "0 bad of 1"]


def test_requests_without_an_answer_have_no_latency_and_break_nothing() -> None:
    log = runs.requests().iloc[:2].assign(latency_s=[np.nan, np.nan])
    assert series.latency_panel(runs.record(requests=log)).empty == "No request was answered."
    assert figure(runs.record(requests=log)).data


def test_a_desired_count_that_is_unknown_is_a_gap_and_never_zero() -> None:
    hpa = {"uid": "h", "namespace": "agents", "name": "planner", "target": "Deployment/planner"}
    line = with_events((1.0, "hpa", "agents/planner", {**hpa, "desired_replicas": 3}),
                       (2.0, "hpa", "agents/planner", {**hpa, "desired_replicas": None}))  # fmt: skip
    (desired,) = series.replica_panel(runs.record(timeline=line), PLANNER).lines
    assert dict(zip(desired.x, desired.y, strict=True)) == {1.0: 3, 2.0: None}


def test_steps_hold_their_value_at_every_second_to_the_end_of_the_run() -> None:
    ready = next(line for line in series.replica_panel(runs.record(), PLANNER).lines if line.role == "ready")
    at = dict(zip(ready.x, ready.y, strict=True))
    assert (at[0.5], at[60.5], at[95.0], at[130.5], at[193.0]) == (3, 3, 9, 9, 9)


def test_every_watched_workload_has_a_chart_of_its_own() -> None:
    experiment = runs.experiment()
    both = (PLANNER, replace(PLANNER, name="tool-adapter"))
    experiment = replace(experiment, scope=replace(experiment.scope, workloads=both))
    found = {chart.key: chart.panel for chart in charts(runs.record(experiment=experiment))}
    assert found["replicas-planner"].lines
    assert "tool-adapter" in found["replicas-tool-adapter"].empty


def test_what_the_generator_says_after_its_end_is_not_drawn_as_load() -> None:
    ended = replace(runs.timeline().events[-1], kind="load", subject="ended", detail={"offered_rps": 0.0})
    line = replace(runs.timeline(), events=(*runs.timeline().events, replace(ended, t_s=runs.END_S + 0.2)))
    offered = series.rate_panel(runs.record(timeline=line)).lines[0]
    assert offered.y[-1] == 10.0


def test_headroom_falls_below_zero_when_the_budget_is_broken() -> None:
    pdb = {"uid": "p", "namespace": "agents", "name": "planner", "desired_healthy": 2}
    line = with_events((1.0, "pdb", "agents/planner", {**pdb, "current_healthy": 3}),
                       (2.0, "pdb", "agents/planner", {**pdb, "current_healthy": 1}))  # fmt: skip
    (headroom,) = series.headroom_panel(runs.record(timeline=line)).lines
    assert min(v for v in headroom.y if v is not None) == -1


def test_a_queue_signal_that_failed_names_its_reason_and_nan_is_a_gap() -> None:
    whole = runs.harvest()
    depth = whole.signals["queue_depth"]
    failed = Harvest({"queue_depth": SignalHarvest(depth.signal, error="503 from the store")})
    assert "503 from the store" in series.backlog_panel(runs.record(harvest=failed), "queue_depth").empty
    values = depth.series[0].values.copy()
    values[3] = np.nan
    one = Series("queue_depth", {}, depth.series[0].t_s, values)
    odd = Harvest({"queue_depth": replace(depth, series=(one,))})
    (line,) = series.backlog_panel(runs.record(harvest=odd), "queue_depth").lines
    assert line.y[3] is None


def test_without_a_harvest_the_live_view_stands_in_and_says_so() -> None:
    line = with_events((1.0, "sample", "queue_depth", {"value": 4.0}))
    (live,) = series.backlog_panel(runs.record(timeline=line, harvest=Harvest()), "queue_depth").lines
    assert (live.y, "not judged" in live.name) == ([4.0], True)


@pytest.mark.parametrize("name", RUNS)
def test_every_chart_has_lines_or_a_reason_for_every_kind_of_run(name: str) -> None:
    record = RUNS[name]()
    for chart in charts(record):
        assert bool(chart.panel.lines) != bool(chart.panel.empty), chart.key
    assert figure(record).layout.xaxis.range[0] == 0


def test_every_chart_shares_the_one_time_axis() -> None:
    drawn = figure(runs.record())
    assert {trace.xaxis for trace in drawn.data} <= {None, "x"}
    assert [key for key in drawn.layout.to_plotly_json() if key.startswith("xaxis")] == ["xaxis"]
    assert len({trace.yaxis for trace in drawn.data}) == 8


def hovers(record: Record) -> str:
    """Return the hover texts of the faults."""
    return " ".join(told[0] for told in figure(record).data[1].customdata)


def test_faults_carry_their_victims_and_texts_are_never_markup() -> None:
    assert "Pod agents/planner-7c9f-x2x" in hovers(runs.record())
    evil = replace(runs.timeline().events[0], kind="fault", subject="<img src=x>", detail={"step": "permit"})
    assert "<b>&lt;img src=x&gt;</b>" in hovers(runs.record(timeline=Timeline(runs.ORIGIN, (evil,))))


@pytest.mark.parametrize(("span_s", "rows_count"), [(600, 6_000), (3_600, 200_000), (200_000, 50_000)])
def test_lines_stay_short_however_long_or_heavy_the_run_was(span_s: int, rows_count: int) -> None:
    rng = np.random.default_rng(1)
    intended_s = np.sort(rng.random(rows_count) * span_s)
    log = pd.DataFrame(
        {"intended_s": intended_s, "start_s": intended_s, "latency_s": 0.01, "status": 200, "outcome": "ok",
         "endpoint": "/", "worker": "w", "seq": np.arange(rows_count), "pod": ""}
    )  # fmt: skip
    t_s = np.arange(0.0, span_s, 2.0)
    depth = runs.harvest().signals["queue_depth"]
    harvest = Harvest({"queue_depth": replace(depth, series=(Series("queue_depth", {}, t_s, t_s),))})
    line = with_events((0.0, "note", "a", {}), (float(span_s), "note", "b", {}))
    record = runs.record(requests=log, timeline=line, harvest=harvest)
    for chart in charts(record):
        assert all(len(drawn.x) <= series.BINS_MAX + 2 for drawn in chart.panel.lines), chart.key
    assert series.backlog_panel(record, "queue_depth").lines[0].y[-1] == t_s[-1]


def test_an_age_limit_in_words_is_drawn_where_the_queue_comes_near_it() -> None:
    experiment = replace(runs.experiment(), assertions=(AssertionSpec("queue", "backlog", {"age_max": "20s"}),))
    limits = {chart.key: chart.limit for chart in charts(runs.record(experiment=experiment))}
    assert limits["age"] == ("limit 20 s", 20.0)


def test_the_timeline_tells_faults_gates_scaling_and_holes_but_no_routine() -> None:
    hole = Event(1, 5.0, "cluster", "watch", "pods", {"state": "hole", "gap_s": 4.0, "reason": "410 Gone"})
    opened = Event(2, 6.0, "cluster", "watch", "pods", {"state": "open"})
    told, left_out = rows.timeline_rows(runs.record(timeline=Timeline(runs.ORIGIN, (hole, opened))))
    assert [(row.text, row.level) for row in told] == [("hole of 4.0 s: 410 Gone", "bad")]
    told, left_out = rows.timeline_rows(runs.record())
    texts = [row.text for row in told]
    assert "desired 3 → 6" in texts and "eviction of planner-7c9f-ev1" in texts
    assert "effect CONFIRMED: uids gone" in texts
    assert "permit" not in texts and "begins" in texts
    assert left_out == 0


def test_a_flood_of_notes_is_left_out_and_counted_never_the_faults() -> None:
    notes = [(float(n), "note", "x", {"message": "m"}) for n in range(rows.ROWS_MAX + 1)]
    line = with_events(*notes, (1e4, "fault", "f", {"step": "failed", "reason": "r"}))
    told, left_out = rows.timeline_rows(runs.record(timeline=line))
    assert ([row.kind for row in told], left_out) == (["fault"], rows.ROWS_MAX + 1)


def test_phases_without_requests_show_a_dash_and_others_their_figures() -> None:
    found = {row.name: row.figures for row in rows.phase_rows(runs.record())}
    assert found["preflight"] == ("—",) * 6
    assert found["baseline"][:3] == ("600", "15.0 rps", "100.00 %")


def test_what_is_still_on_the_cluster_is_told_before_anything_else() -> None:
    line = with_events(
        (1.0, "undo", "cordon", {"step": "failed", "outcome": "409 conflict"}),
        (2.0, "residue", "node//general-1", {"difference": "unschedulable: true", "ours": True}),
        (3.0, "residue", "node//general-2", {"difference": "taint", "ours": False}),
    )
    told = rows.alerts(runs.record(timeline=line, requests_lost=2))
    assert len(told) == 3
    assert "409 conflict" in told[0] and "gameday recover --target local" in told[0]
    assert "general-2" not in " ".join(told)


def test_why_there_is_no_load_differs_by_how_the_run_ended() -> None:
    empty = Timeline(runs.ORIGIN, ())
    for ending, words in ((Ending.REFUSED, "refused"), (Ending.CRASHED, "broke off"), (Ending.ABORTED, "ended before")):
        record = runs.record(header=runs.header(ending=ending), timeline=empty, requests=no_requests())
        assert words in series.rate_panel(record).empty


def test_lines_of_the_same_kind_in_a_chart_can_be_told_apart() -> None:
    lines = tuple(series.Line(f"agents/{name}", "headroom", [0.0, 1.0], [1.0, 2.0]) for name in ("a", "b", "c"))
    fig = go.Figure()
    add_chart(fig, 2, Chart("headroom", "it", ".0f", series.Panel(lines)), (0.0, 1.0))
    assert len({trace.line.color for trace in fig.data}) == 3
