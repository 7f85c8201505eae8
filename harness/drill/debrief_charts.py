"""The debrief's figure: what people said and did in lanes, and the platform's curves below, over one time axis.

Turns a debrief and a record into Plotly's JSON; decides nothing. Colours of text and grid are set by the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from harness.drill.debrief_sources import Sources
from harness.model.debrief import Debrief, MarkOutcome, MarkScore
from harness.model.drill import MARKS, Mark, Origin
from harness.model.record import Record
from reports.charts import (
    BLUE,
    BOTTOM_PX,
    GAP_PX,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    TOP_PX,
    Chart,
    add_chart,
    band,
    charts,
    layout_of,
    plain,
)
from reports.series import Line, Number, Panel

LANE_PX = 25
LANES = ("fault", *(mark.value for mark in MARKS), "pages", "people", "runbook")
CURVES = ("rate", "success", "replicas", "age", "depth")
"""Of a run's charts, by the beginning of their keys."""

CPU_SIGNAL = "pod_cpu_seconds"
CPU_BIN_S = 5.0
_MARK_COLOURS = {MarkOutcome.MET: GREEN, MarkOutcome.MISSED: RED}
_RUNBOOK_KINDS = {"step", "command", "hint", "note"}


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis: seconds from the run's second 0, or from the drill's first entry where there is no run."""

    origin_unix_s: float
    from_s: float
    to_s: float

    def at(self, unix_s: float) -> float:
        """Return an instant as seconds on this axis."""
        return round(unix_s - self.origin_unix_s, 3)


def axis_of(debrief: Debrief, record: Record | None) -> Axis:
    """Return the axis that holds both the drill and its run."""
    began, ended = debrief.began_unix_s or 0.0, debrief.ended_unix_s or 0.0
    origin = record.timeline.origin.timestamp() if record else began
    end_s = record.timeline.end_s if record else 0.0
    known = debrief.began_unix_s is not None
    first_s, last_s = (began - origin, ended - origin) if known else (0.0, 0.0)
    return Axis(origin, min(0.0, first_s), max(1.0, end_s, last_s))


def figure(debrief: Debrief, sources: Sources) -> go.Figure:
    """Return the figure."""
    axis, rows = axis_of(debrief, sources.record), curves(sources)
    lanes_px = LANE_PX * len(LANES)
    total_px = TOP_PX + lanes_px + sum(GAP_PX + row.height_px for row in rows) + BOTTOM_PX
    since = "seconds since the start of " + ("the run" if sources.record else "the drill")
    fig = go.Figure(layout=layout_of(since, (axis.from_s, axis.to_s), total_px))
    plot_px = float(total_px - TOP_PX - BOTTOM_PX)
    below_px = plot_px - lanes_px
    _add_lanes(fig, debrief, axis, (below_px / plot_px, 1.0))
    for number, row in enumerate(rows, 2):
        top_px = below_px - GAP_PX
        below_px = top_px - row.height_px
        add_chart(fig, number, row, (max(0.0, below_px / plot_px), top_px / plot_px))
    _shade(fig, debrief, axis)
    return fig


def curves(sources: Sources) -> list[Chart]:
    """Return the charts below the lanes; without a record there is one that says why."""
    record = sources.record
    steady = Chart("steady", "Steady state: 1 holds, 0 does not", ".1f", _steady_panel(sources))
    if record is None:
        return [steady, Chart("curves", "Curves of the platform", ".0f", Panel(empty=f"{sources.record_problem}."))]
    shown = [chart for chart in charts(record) if chart.key.startswith(CURVES)]
    return [steady, *shown, Chart("cpu", "CPU used, in cores", ".2f", _cpu_panel(record), unit=" cores")]


def _steady_panel(sources: Sources) -> Panel:
    record = sources.record
    points: list[tuple[float, Number]] = []
    if record is not None:
        points = [(e.t_s, _known(e.detail.get("value"))) for e in record.timeline.of("sample", "steady_state")]
    if not points:
        entries = sources.drill.entries
        origin = record.timeline.origin.timestamp() if record else entries[0].at_unix_s if entries else 0.0
        seen = [entry for entry in entries if entry.kind == "steady"]
        points = [(entry.at_unix_s - origin, _known(entry.detail.get("ok"))) for entry in seen]
        points += [(entries[-1].at_unix_s - origin, points[-1][1])] if points else []
    if not points:
        return Panel(empty="The steady state was not looked at while the drill ran.")
    line = Line("steady state", "ready", [round(t, 3) for t, _ in points], [value for _, value in points])
    return Panel((line,))


def _known(value: object) -> Number:
    return float(value) if isinstance(value, (bool, int, float)) else None


def _cpu_panel(record: Record) -> Panel:
    """Return the cores that each workload's pods used, from their counters; a counter that restarts is no use."""
    problem = record.harvest.problem(CPU_SIGNAL)
    lines = [] if problem else [line for ref in record.experiment.scope.workloads if (line := _cores(record, ref.name))]
    if lines:
        return Panel(tuple(lines))
    return Panel(empty=f"No samples: {problem or 'no counter of a pod of the workloads rose'}.")


def _cores(record: Record, workload: str) -> Line | None:
    total: dict[float, float] = {}
    for one in record.harvest.series(CPU_SIGNAL):
        if not one.labels.get("pod", "").startswith(f"{workload}-") or len(one.t_s) < 2:  # noqa: PLR2004 - one step
            continue
        bins = np.unique(one.t_s // CPU_BIN_S)
        values = np.interp(bins * CPU_BIN_S, one.t_s, one.values)
        for left, used in zip(bins[:-1], np.diff(values), strict=True):
            if np.isfinite(used) and used >= 0:
                total[float(left)] = total.get(float(left), 0.0) + float(used) / CPU_BIN_S
    points = sorted(total.items())
    if not points:
        return None
    return Line(workload, "achieved", [(t + 0.5) * CPU_BIN_S for t, _ in points], [round(v, 4) for _, v in points])


def _add_lanes(fig: go.Figure, debrief: Debrief, axis: Axis, domain: tuple[float, float]) -> None:
    fig.update_layout(
        yaxis={
            "domain": domain,
            "range": [len(LANES) - 0.4, -0.6],
            "fixedrange": True,
            "zeroline": False,
            "showspikes": False,
            "showgrid": True,
            "tickvals": list(range(len(LANES))),
            "ticktext": list(LANES),
            "automargin": True,
        }
    )
    _add_fault(fig, debrief, axis)
    for one in debrief.marks:
        _add_mark(fig, debrief, one, axis)
    _add_points(fig, "pages", ORANGE, "star-triangle-up", list(_page_points(debrief, axis)))
    _add_points(fig, "people", PURPLE, "square", list(_people_points(debrief, axis)))
    _add_points(fig, "runbook", BLUE, "line-ns-open", list(_runbook_points(debrief, axis)))


Point = tuple[float, str]


def _page_points(debrief: Debrief, axis: Axis) -> Iterator[Point]:
    return ((axis.at(row.at_unix_s), row.text) for row in debrief.rows if row.kind == "page")


def _people_points(debrief: Debrief, axis: Axis) -> Iterator[Point]:
    for one in debrief.actions:
        if one.origin not in {Origin.CONTROLLER, Origin.GAMEDAY}:
            yield axis.at(one.at_unix_s), f"{one.object}: {one.what} ({one.manager or 'no name'}, {one.origin})"


def _runbook_points(debrief: Debrief, axis: Axis) -> Iterator[Point]:
    return ((axis.at(row.at_unix_s), row.text) for row in debrief.rows if row.kind in _RUNBOOK_KINDS)


def _add_fault(fig: go.Figure, debrief: Debrief, axis: Axis) -> None:
    window = debrief.effect.window_unix_s
    if window is None:
        return
    text = plain(debrief.reveal.fault or "the fault")
    fig.add_trace(_bar(LANES.index("fault"), axis.at(window[0]), window[1] - window[0], RED, text))
    if debrief.effect.at_unix_s is not None:
        what = f"{debrief.effect.basis.value}: {debrief.effect.reason}"
        _add_points(fig, "fault", RED, "triangle-down", [(axis.at(debrief.effect.at_unix_s), what)])


def _bar(lane: int, start_s: float, duration_s: float, colour: str, text: str = "") -> go.Bar:
    return go.Bar(
        base=[start_s],
        x=[duration_s],
        y=[lane],
        text=[text],
        orientation="h",
        width=0.8 if text else 0.3,
        textposition="inside",
        textangle=0,
        insidetextanchor="middle",
        constraintext="inside",
        hoverinfo="skip",
        showlegend=False,
        marker={"color": colour, "opacity": 1.0 if text else 0.55},
        textfont={"color": "#ffffff", "size": 11},
    )


def _add_mark(fig: go.Figure, debrief: Debrief, one: MarkScore, axis: Axis) -> None:
    """Add a mark: a bar from the effect to it, itself, and its target as an open diamond."""
    since, lane = debrief.effect.at_unix_s, LANES.index(one.mark.value)
    if since is None:
        return
    colour = _MARK_COLOURS.get(one.outcome, GREY)
    if one.took_s is not None:
        fig.add_trace(_bar(lane, axis.at(since), one.took_s, colour))
        text = f"{one.mark.value} after {one.took_s:.0f} s by {one.by}: {one.outcome.value}"
        _add_points(fig, one.mark.value, colour, "circle", [(axis.at(since + one.took_s), text)])
        _line(fig, axis.at(since + one.took_s), colour, "dot")
    if one.target_s is not None and axis.at(since + one.target_s) <= axis.to_s:
        wanted = f"{one.mark.value} wanted within {one.target_s:.0f} s"
        _add_points(fig, one.mark.value, GREY, "diamond-open", [(axis.at(since + one.target_s), wanted)])


def _add_points(fig: go.Figure, lane: str, colour: str, symbol: str, points: Sequence[Point]) -> None:
    if not points:
        return
    fig.add_trace(
        go.Scatter(
            x=[t_s for t_s, _ in points],
            y=[LANES.index(lane) for _ in points],
            mode="markers",
            name=lane,
            customdata=[[plain(text)] for _, text in points],
            hovertemplate="%{customdata[0]}<extra></extra>",
            marker={"symbol": symbol, "size": 12, "color": colour, "line": {"color": colour, "width": 2}},
            showlegend=False,
        )
    )


def _shade(fig: go.Figure, debrief: Debrief, axis: Axis) -> None:
    """Shade the fault through all charts, with a line at its effect."""
    window = debrief.effect.window_unix_s
    if window is not None:
        band(fig, axis.at(window[0]), axis.at(window[1]), "rgba(214,69,69,0.13)")
    if debrief.effect.at_unix_s is not None:
        _line(fig, axis.at(debrief.effect.at_unix_s), RED, "solid")


def _line(fig: go.Figure, t_s: float, colour: str, dash: str) -> None:
    line = {"color": colour, "width": 1.5, "dash": dash}
    fig.add_shape(type="line", x0=t_s, x1=t_s, y0=0, y1=1, xref="x", yref="paper", layer="below", line=line)


def spans(debrief: Debrief, axis: Axis) -> list[tuple[str, float, float]]:
    """Return the spans that the zoom buttons show."""
    found = [("Whole drill", axis.from_s, axis.to_s)]
    since = debrief.effect.at_unix_s
    if since is None:
        return found
    last = max((one.took_s for one in debrief.marks if one.took_s is not None), default=60.0)
    found.append(("From the fault to the last mark", axis.at(since) - 15, min(axis.to_s, axis.at(since) + last + 30)))
    if any(one.mark is Mark.ACKNOWLEDGED and one.took_s is not None for one in debrief.marks):
        first = next(one.took_s or 0.0 for one in debrief.marks if one.mark is Mark.ACKNOWLEDGED)
        found.append(("To the acknowledgement", axis.at(since) - 15, axis.at(since) + first + 15))
    return found
