"""``index.html``: the stored runs, newest first, and where the figures of each experiment go. Pure; one file.

Like the page of a run it asks no network for anything (`page.policy`). Judges nothing: what changed is told to it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from harness.model.comparison import Change
from harness.model.trend import EARLIER_MIN, ExperimentTrend, Figure, RunRow, Trend
from reports.charts import BLUE, GREY, RED
from reports.figures import figure_text
from reports.page import TEMPLATES, environment, plain_script, policy

INDEX_FILE = "index.html"
HEIGHT_PX = 250
GAP_RATIO = 0.06

_SIGN = {Change.WORSE: "✗", Change.UNCLEAR: "?", Change.SAME: "✓", Change.BETTER: "✓"}
_LOOK = {Change.WORSE: "fail", Change.UNCLEAR: "inconclusive", Change.SAME: "pass", Change.BETTER: "pass"}


def index_page(rows: Sequence[RunRow], experiments: Sequence[ExperimentTrend], columns: Sequence[Figure]) -> str:
    """Return ``index.html``.

    Args:
        rows: Runs, newest first.
        experiments: Trends by experiment and kind of target.
        columns: Figures of the table.
    """
    plotly = plain_script(get_plotlyjs())
    script = plain_script((TEMPLATES / "index.js").read_text("utf-8"))
    figures = [figure(one).to_plotly_json() for one in experiments]
    context = {
        "style": (TEMPLATES / "report.css").read_text("utf-8"),
        "plotly": plotly,
        "script": script,
        "policy": policy(plotly, script),
        "figures": json.dumps(figures, allow_nan=False).replace("<", "\\u003c"),
        "rows": rows,
        "columns": columns,
        "experiments": experiments,
        "overall": overall([trend for one in experiments for trend in one.trends]),
        "sentence": sentence(experiments),
        "earlier_min": EARLIER_MIN,
        "LOOK": _LOOK,
        "CHANGE_SIGN": _SIGN,
    }
    return environment().get_template("index.html.j2").render(context)


def overall(trends: Sequence[Trend]) -> Change:
    """Return what all trends come to; none at all is unclear."""
    found = {trend.change for trend in trends}
    return next((c for c in (Change.WORSE, Change.UNCLEAR, Change.BETTER, Change.SAME) if c in found), Change.UNCLEAR)


def sentence(experiments: Sequence[ExperimentTrend]) -> str:
    """Return the trends in one sentence: what got worse, by name; else what cannot be told."""
    worse = [f"{t.figure.title} of {e.experiment}" for e in experiments for t in e.trends if t.change is Change.WORSE]
    if worse:
        return f"Worse in the last run: {'; '.join(worse)}."
    followed = [trend for one in experiments for trend in one.trends]
    unclear = sum(trend.change is Change.UNCLEAR for trend in followed)
    if not followed:
        return "No run has a figure that can be followed."
    if unclear:
        return f"Nothing is worse beyond noise; {unclear} of {len(followed)} trends cannot be told yet."
    return f"Nothing is worse beyond noise in {len(followed)} trends."


def trend_lines(experiments: Sequence[ExperimentTrend]) -> list[str]:
    """Return the trends for a terminal, a line a figure."""
    return [f"{one.experiment} on {one.kind}: {trend_text(trend)}" for one in experiments for trend in one.trends]


def trend_text(trend: Trend) -> str:
    """Return one trend, such as ``p95 of the burst 80 ms, usually 44 ms ± 6 ms: worse (above the noise of …)``."""
    name, last = trend.figure.name, trend.values[-1]
    usual = f", usually {figure_text(name, trend.usual)} ± {_noise(trend)}" if math.isfinite(trend.usual) else ""
    return f"{trend.figure.title} {figure_text(name, last)}{usual}: {trend.change.value} ({trend.reason})"


def _noise(trend: Trend) -> str:
    if trend.figure.name.endswith("_ratio"):
        return f"{100 * trend.noise:.2f} points"
    return figure_text(trend.figure.name, trend.noise)


def figure(one: ExperimentTrend) -> go.Figure:
    """Return the charts of an experiment side by side: runs as points, what is usual as a band."""
    fig = go.Figure(layout=_layout())
    width = (1 + GAP_RATIO) / max(1, len(one.trends)) - GAP_RATIO
    for number, trend in enumerate(one.trends, 1):
        left = (number - 1) * (width + GAP_RATIO)
        _add(fig, number, trend, (max(0.0, left), min(1.0, left + width)))
    return fig


def _layout() -> dict[str, Any]:
    return {
        "template": "none",
        "height": HEIGHT_PX,
        "margin": {"l": 64, "r": 12, "t": 34, "b": 28},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }


def _add(fig: go.Figure, number: int, trend: Trend, domain: tuple[float, float]) -> None:
    suffix = "" if number == 1 else str(number)
    ratio = trend.figure.name.endswith("_ratio")
    count = len(trend.values)
    fig.update_layout(
        {
            f"xaxis{suffix}": {
                "domain": domain, "anchor": f"y{suffix}", "range": [0.5, count + 0.5], "showticklabels": False,
                "zeroline": False, "showgrid": False,
                "title": {"text": "1 run" if count == 1 else f"{count} runs →", "standoff": 4},
            },
            f"yaxis{suffix}": {
                "anchor": f"x{suffix}", "zeroline": False, "nticks": 5, "tickformat": "~%" if ratio else "~g",
                "ticksuffix": "" if ratio else " s", "range": _range(trend),
            },
        }
    )  # fmt: skip
    _add_band(fig, suffix, trend)
    fig.add_trace(_points(trend, suffix))
    fig.add_annotation(
        text=f"<b>{trend.figure.title}</b>", x=domain[0], xref="paper", xanchor="left", y=1, yref="paper",
        yanchor="bottom", showarrow=False, font={"size": 13},
    )  # fmt: skip


def _range(trend: Trend) -> list[float]:
    """Return the values that an axis spans: from 0, but of ratios only where runs lie, which is close to 1."""
    shown = (*trend.values, trend.usual - trend.noise, trend.usual + trend.noise)
    known = [value for value in shown if math.isfinite(value)]
    if not trend.figure.name.endswith("_ratio"):
        return [0.0, 1.1 * max(known, default=0.0) or 1.0]
    low = min(known, default=0.0)
    pad = max(0.0005, 0.1 * (1 - low))
    return [max(0.0, low - pad), 1 + pad]


def _points(trend: Trend, suffix: str) -> go.Scatter:
    count = len(trend.values)
    last = RED if trend.change is Change.WORSE else BLUE
    texts = [
        f"{_plain(run)}<br>{figure_text(trend.figure.name, v)}" for run, v in zip_longest(trend.runs, trend.values)
    ]
    return go.Scatter(
        x=list(range(1, count + 1)),
        y=[value if math.isfinite(value) else None for value in trend.values],
        mode="lines+markers",
        connectgaps=False,
        xaxis=f"x{suffix}",
        yaxis=f"y{suffix}",
        line={"color": BLUE, "width": 1.5},
        marker={"color": [BLUE] * (count - 1) + [last], "size": [7] * (count - 1) + [11]},
        customdata=texts,
        hovertemplate="%{customdata}<extra></extra>",
    )


def _plain(text: str) -> str:
    """Escape what Plotly's text markup would read."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _add_band(fig: go.Figure, suffix: str, trend: Trend) -> None:
    """Add what is usual: a dashed line with the band in which a run is not told from noise."""
    if not math.isfinite(trend.usual):
        return
    place = {"xref": f"x{suffix} domain", "yref": f"y{suffix}", "x0": 0, "x1": 1, "layer": "below"}
    low, high = trend.usual - trend.noise, trend.usual + trend.noise
    fig.add_shape(type="rect", y0=low, y1=high, fillcolor="rgba(128,138,150,0.16)", line={"width": 0}, **place)
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    fig.add_shape(type="line", y0=trend.usual, y1=trend.usual, line=line, **place)
