"""Figures for people: numbers with their units, and the few that sum a run up. Pure; judges nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from harness.model.load import RequestOutcome
from harness.model.record import Record

_MIB = 1024.0 * 1024.0
_SUFFIXES = ("_ratio", "_rps", "_bytes", "_s")


def figure_text(name: str, value: float) -> str:
    """Return a figure with the unit that its name ends with; what is not finite reads ``not known``."""
    if not math.isfinite(value):
        return "not known"
    if name.endswith("_ratio"):
        return f"{100 * value:.2f} %"
    if name.endswith("_rps"):
        return f"{value:.1f} rps"
    if name.endswith("_bytes"):
        return f"{value / _MIB:.1f} MiB"
    if name.endswith("_s"):
        return seconds_text(value)
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3g}"


def figure_label(name: str) -> str:
    """Return a figure's name without its unit, as words."""
    suffix = next((s for s in _SUFFIXES if name.endswith(s)), "")
    return name.removesuffix(suffix).replace("_", " ")


def seconds_text(value_s: float) -> str:
    """Return a span: milliseconds below one second, minutes from two minutes on."""
    if not math.isfinite(value_s):
        return "not known"
    if abs(value_s) < 1:
        return f"{1000 * value_s:.0f} ms"
    if abs(value_s) < 120:  # noqa: PLR2004 - two minutes
        return f"{value_s:.1f} s"
    minutes, rest = divmod(round(value_s), 60)
    return f"{minutes} min {rest} s"


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """The request log in a few numbers; None where there is nothing to tell.

    Attributes:
        requests: Rows of the log.
        lost: Rows known to be lost.
        bad: Of the rows, those whose outcome is not ``ok``.
        success_ratio: Good over all.
        p50_s, p95_s, p99_s: Latency of the answers that came.
        achieved_peak_rps: Most requests started within one second.
        dropped: Arrivals that the generator could not start.
    """

    requests: int
    lost: int
    bad: int
    success_ratio: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    achieved_peak_rps: float | None = None
    dropped: int | None = None


def load_figures(record: Record) -> LoadFigures:
    """Sum up the request log of a run."""
    log = record.requests
    told = [int(e.detail.get("dropped") or 0) for e in record.timeline.of("load")]
    dropped = told[-1] if told else None
    if log.empty:
        return LoadFigures(0, record.requests_lost, 0, dropped=dropped)
    bad = int((log["outcome"] != RequestOutcome.OK.value).sum())
    p50, p95, p99 = (_quantile(log["latency_s"], q) for q in (0.5, 0.95, 0.99))
    peak = float((log["start_s"] // 1).value_counts().max())
    return LoadFigures(len(log), record.requests_lost, bad, 1 - bad / len(log), p50, p95, p99, peak, dropped)


def _quantile(values: pd.Series, q: float) -> float | None:
    found = float(values.quantile(q))
    return found if math.isfinite(found) else None
