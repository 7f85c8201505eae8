"""The charts of the page: one Plotly figure, every chart over the same time axis, so that a zoom moves them all.

Turns `series` into Plotly's JSON; decides nothing about what is drawn. Colours of text and grid are set by the page,
which knows whether it is light or dark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from harness.model.fault import Effect, Injection
from harness.model.record import Record
from harness.model.time import Phase, PhaseName, parse_duration_s
from reports import series
from reports.series import Line, Panel

ROW_PX, EMPTY_ROW_PX, GAP_PX, LANE_PX, TOP_PX, BOTTOM_PX = 150, 46, 46, 58, 34, 48
VICTIMS_MAX = 10
WORKLOADS_MAX = 6

BLUE, GREEN, ORANGE, PURPLE, GREY, RED = "#2f7ed8", "#1a9d6c", "#d98200", "#8e5bd0", "#8a8f98", "#d64545"
_STYLES: Mapping[str, dict[str, Any]] = {
    "offered": {"color": GREY, "dash": "dash", "width": 2},
    "achieved": {"color": BLUE, "width": 2},
    "success": {"color": GREEN, "width": 2},
    "limit": {"color": RED, "dash": "dot", "width": 1.5},
    "p50": {"color": GREEN, "width": 1.5},
    "p95": {"color": BLUE, "width": 2},
    "p99": {"color": PURPLE, "width": 1.5},
    "desired": {"color": ORANGE, "dash": "dot", "width": 2.5},
    "asked": {"color": GREY, "dash": "dash", "width": 2},
    "ready": {"color": GREEN, "width": 2.5},
    "headroom": {"color": BLUE, "width": 2.5},
    "queue_depth": {"color": BLUE, "width": 2},
    "queue_oldest_task_age_seconds": {"color": ORANGE, "width": 2},
}
_ALIKE = (ORANGE, PURPLE, GREEN, GREY)
_STEPS = {"desired", "asked", "ready", "headroom"}


@dataclass(frozen=True)
class Chart:
    """One row of the figure: title, format and unit of its values, what it draws, a limit as ``(text, value)``."""

    key: str
    title: str
    value_format: str
    panel: Panel
    limit: tuple[str, float] | None = None
    unit: str = ""

    @property
    def tick_format(self) -> str:
        """Return the value format without trailing zeros (d3-format's ``~``)."""
        return f"{self.value_format[:-1]}~{self.value_format[-1]}"

    @property
    def height_px(self) -> int:
        """Height of its plot; a chart without data is only as high as its reason."""
        return ROW_PX if self.panel.lines else EMPTY_ROW_PX


def charts(record: Record) -> list[Chart]:
    """Return the charts in the order in which a reader asks: load, answers, reaction, queue, budget."""
    age, depth = "queue_oldest_task_age_seconds", "queue_depth"
    return [
        Chart("rate", "Load: offered and achieved, requests per second", ".1f", series.rate_panel(record), unit=" rps"),
        Chart("success", "Good requests, by intended start", ".2%", series.success_panel(record)),
        Chart("latency", "Latency, by intended start, in seconds", ".3f", series.latency_panel(record), unit=" s"),
        *_replica_charts(record),
        Chart(
            "age",
            "Age of the oldest task in the queue, in seconds",
            ".1f",
            series.backlog_panel(record, age),
            _age_limit(record),
            " s",
        ),
        Chart("depth", "Tasks waiting in the queue", ".0f", series.backlog_panel(record, depth)),
        Chart(
            "headroom",
            "Disruption budget: healthy minus desired",
            ".0f",
            series.headroom_panel(record),
            ("broken below 0", 0.0),
            " above the budget",
        ),
    ]


def _replica_charts(record: Record) -> list[Chart]:
    return [
        Chart(f"replicas-{ref.name}", f"Replicas of {ref.name}: desired, asked, Ready", ".0f", panel)
        for ref in record.experiment.scope.workloads[:WORKLOADS_MAX]
        for panel in [series.replica_panel(record, ref)]
    ]


def _age_limit(record: Record) -> tuple[str, float] | None:
    spec = record.experiment.assertion("backlog")
    written = spec.params.get("age_max") if spec else None
    if not isinstance(written, (str, int, float)):
        return None
    limit_s = parse_duration_s(written)
    highest = max(
        (
            float(v)
            for line in series.backlog_panel(record, "queue_oldest_task_age_seconds").lines
            for v in line.y
            if v is not None
        ),
        default=0.0,
    )
    return (f"limit {limit_s:g} s", limit_s) if highest > limit_s / 4 else None


def figure_json(record: Record) -> str:
    """Return the figure as JSON for Plotly.js."""
    return str(figure(record).to_json())


def figure(record: Record) -> go.Figure:
    """Return all charts as one figure over one time axis."""
    rows = charts(record)
    total_px = TOP_PX + LANE_PX + sum(GAP_PX + row.height_px for row in rows) + BOTTOM_PX
    since = f"seconds since the start of the run ({record.timeline.origin:%H:%M:%S} UTC)"
    fig = go.Figure(layout=layout_of(since, (0, max(record.timeline.end_s, 1.0)), total_px))
    below_px = total_px - TOP_PX - BOTTOM_PX
    plot_px = float(below_px)
    below_px -= LANE_PX
    _add_lane(fig, record, (below_px / plot_px, 1.0))
    for number, row in enumerate(rows, 2):
        top_px = below_px - GAP_PX
        below_px = top_px - row.height_px
        add_chart(fig, number, row, (max(0.0, below_px / plot_px), top_px / plot_px))
    _shade(fig, record)
    return fig


def layout_of(time_axis: str, span_s: tuple[float, float], height_px: int) -> dict[str, Any]:
    """Return a figure's layout: one time axis below all charts.

    Args:
        time_axis: What its seconds count from, in words.
        span_s: What it shows at first; nothing lies before.
        height_px: Of the whole figure.
    """
    axis = {
        "range": list(span_s),
        "autorange": False,
        "minallowed": span_s[0],
        "ticksuffix": " s",
        "showgrid": True,
        "zeroline": False,
        "hoverformat": "+.1f",
        "anchor": "free",
        "position": 0,
        "nticks": 14,
        "showspikes": True,
        "spikemode": "across",
        "spikesnap": "cursor",
        "spikethickness": 1,
        "spikedash": "solid",
        "title": {"text": time_axis, "standoff": 8},
    }
    return {
        "template": "none",
        "height": height_px,
        "margin": {"l": 64, "r": 18, "t": TOP_PX, "b": BOTTOM_PX},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverdistance": 30,
        "dragmode": "zoom",
        "xaxis": axis,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "barmode": "overlay",
        "uniformtext": {"mode": "hide", "minsize": 10},
        "modebar": {"bgcolor": "rgba(0,0,0,0)"},
    }


def _add_lane(fig: go.Figure, record: Record, domain: tuple[float, float]) -> None:
    """Add the lane on top: the phases as a bar, the faults as markers with their victims."""
    fig.update_layout(
        yaxis={
            "domain": domain,
            "range": [-0.6, 1.6],
            "fixedrange": True,
            "zeroline": False,
            "showspikes": False,
            "tickvals": [0, 1],
            "ticktext": ["faults", "phases"],
            "showgrid": False,
        }
    )
    phases = _phases(record)
    fig.add_trace(
        go.Bar(
            base=[p.window.start_s for p in phases],
            x=[p.window.duration_s for p in phases],
            y=[1 for _ in phases],
            text=[p.name.value for p in phases],
            orientation="h",
            width=0.8,
            textposition="inside",
            textangle=0,
            insidetextanchor="middle",
            constraintext="inside",
            cliponaxis=True,
            hoverinfo="skip",
            showlegend=False,
            marker={"color": [_PHASE_COLOURS[n % 2] for n, _ in enumerate(phases)]},
            textfont={"color": "#ffffff", "size": 11},
        )
    )
    injections = record.timeline.injections()
    fig.add_trace(
        go.Scatter(
            x=[i.window.start_s for i in injections],
            y=[0 for _ in injections],
            mode="markers",
            name="fault",
            customdata=[[_victims_text(i)] for i in injections],
            hovertemplate="%{customdata[0]}<extra></extra>",
            marker={"symbol": "triangle-down", "size": 13, "color": [_EFFECT_COLOURS[i.effect] for i in injections]},
            showlegend=False,
        )
    )


_PHASE_COLOURS = ("#5f6b7a", "#7d8896")
_EFFECT_COLOURS = {Effect.CONFIRMED: RED, Effect.ABSENT: GREY, Effect.UNCLEAR: ORANGE}


def _phases(record: Record) -> list[Phase]:
    found = (record.timeline.phase(name) for name in PhaseName)
    return [phase for phase in found if phase is not None and phase.window.duration_s > 0]


def _victims_text(injection: Injection) -> str:
    """Return the hover text of a fault: what, whom, and whether it bit."""
    names = [f"{v.get('kind', '')} {v.get('namespace', '')}/{v.get('name', '')}" for v in injection.victims]
    more = [f"… and {len(names) - VICTIMS_MAX} more"] if len(names) > VICTIMS_MAX else []
    lines = [
        f"<b>{plain(injection.fault)}</b>: {injection.loss.value}, {len(names)} of {injection.asked} victims",
        *map(plain, [*names[:VICTIMS_MAX], *more]),
        f"effect {injection.effect.value}" + (f": {plain(injection.reason)}" if injection.reason else ""),
    ]
    return "<br>".join(lines)


def plain(text: str) -> str:
    """Escape what Plotly's text markup would read."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def add_chart(fig: go.Figure, number: int, row: Chart, domain: tuple[float, float]) -> None:
    """Add a chart as axis ``number``, over a part of the figure's height."""
    axis, legend = f"y{number}", f"legend{number}"
    axis_layout = {
        "domain": domain,
        "fixedrange": True,
        "zeroline": False,
        "showspikes": False,
        "tickformat": row.tick_format,
        "nticks": 5,
        "rangemode": "tozero",
        "title": {"text": ""},
        "automargin": False,
    }
    axis_layout |= _value_range(row)
    place = {"orientation": "h", "x": 1, "xanchor": "right", "y": domain[1], "yanchor": "bottom", "yref": "paper"}
    fig.update_layout({f"yaxis{number}": axis_layout, legend: {**place, "bgcolor": "rgba(0,0,0,0)"}})
    fig.add_annotation(
        text=f"<b>{plain(row.title)}</b>",
        x=0,
        xref="paper",
        xanchor="left",
        y=domain[1],
        yref="paper",
        yanchor="bottom",
        showarrow=False,
        font={"size": 13},
    )
    for nth, line in enumerate(row.panel.lines):
        alike = sum(before.role == line.role for before in row.panel.lines[:nth])
        fig.add_trace(_trace(line, axis, legend, f"%{{y:{row.value_format}}}{row.unit}", alike))
    if row.limit and row.panel.lines:
        _add_limit(fig, axis, *row.limit)
    if not row.panel.lines:
        _add_reason(fig, number, row.panel.empty, domain)


def _value_range(row: Chart) -> dict[str, Any]:
    if not row.panel.lines:
        return {"range": [0, 1], "showticklabels": False, "showgrid": False}
    values = [float(v) for line in row.panel.lines for v in line.y if v is not None]
    if row.key == "success" and values:
        low = min(values)
        pad = max(0.002, (1 - low) * 0.12)
        return {"range": [max(0.0, low - pad), 1 + pad / 3], "rangemode": "normal", "maxallowed": 1.05}
    if row.key == "headroom" and values:
        return {"range": [min(-1.0, *values) - 0.3, max(values) + 1], "rangemode": "normal"}
    return {} if any(values) else {"range": [0, 1]}


def _trace(line: Line, axis: str, legend: str, value: str, alike: int) -> go.Scatter:
    look = dict(_STYLES.get(line.role, {"color": BLUE}))
    if alike:  # another line of this chart shows the same of something else: the two must be told apart
        look["color"] = _ALIKE[(alike - 1) % len(_ALIKE)]
    template = f"{plain(line.name)}: {value}" + (" (%{customdata})" if line.notes else "")
    return go.Scatter(
        x=line.x,
        y=line.y,
        name=plain(line.name),
        yaxis=axis,
        legend=legend,
        mode="lines",
        connectgaps=False,
        line={**look, "shape": "hv" if line.role in _STEPS else "linear"},
        customdata=line.notes or None,
        hovertemplate=f"{template}<extra></extra>",
    )


def _add_limit(fig: go.Figure, axis: str, text: str, value: float) -> None:
    fig.add_shape(type="line", x0=0, x1=1, xref="x domain", y0=value, y1=value, yref=axis, line=_STYLES["limit"])
    fig.add_annotation(
        text=text,
        x=1,
        xref="x domain",
        xanchor="right",
        y=value,
        yref=axis,
        yanchor="bottom",
        showarrow=False,
        font={"size": 11, "color": RED},
    )


def _add_reason(fig: go.Figure, number: int, reason: str, domain: tuple[float, float]) -> None:
    fig.add_trace(go.Scatter(x=[], y=[], yaxis=f"y{number}", showlegend=False))
    fig.add_annotation(
        text=f"<i>{plain(reason)}</i>",
        x=0.5,
        xref="paper",
        y=sum(domain) / 2,
        yref="paper",
        yanchor="middle",
        showarrow=False,
        font={"size": 13},
        name="reason",
    )


def _shade(fig: go.Figure, record: Record) -> None:
    """Shade every second phase faintly, each fault in red and each hole of a watch in grey, through all charts."""
    for n, phase in enumerate(_phases(record)):
        if n % 2:
            band(fig, phase.window.start_s, phase.window.end_s, "rgba(128,138,150,0.09)")
    for injection in record.timeline.injections():
        band(fig, injection.window.start_s, injection.window.end_s, "rgba(214,69,69,0.16)")
        fig.add_shape(
            type="line",
            x0=injection.window.start_s,
            x1=injection.window.start_s,
            y0=0,
            y1=1,
            xref="x",
            yref="paper",
            layer="below",
            line={"color": RED, "width": 1.5},
        )
    for event in record.timeline.of("watch"):
        if event.detail.get("state") in {"hole", "lost"}:
            gap_s = float(event.detail.get("gap_s") or 1.0)
            band(fig, max(0.0, event.t_s - gap_s), event.t_s, "rgba(128,128,128,0.35)")


def band(fig: go.Figure, start_s: float, end_s: float, colour: str) -> None:
    """Shade a span of time through all charts."""
    fig.add_shape(
        type="rect",
        x0=start_s,
        x1=end_s,
        y0=0,
        y1=1,
        xref="x",
        yref="paper",
        layer="below",
        fillcolor=colour,
        line={"width": 0},
    )
