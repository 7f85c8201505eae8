"""Reads answers of Prometheus into series, and cuts windows into pages. Pure: no request and no clock here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.model.signal import Series, Signal
from harness.model.time import Window

POINTS_MAX = 11_000
"""Points a series that ``query_range`` returns at most (CASES C05); we cut raw pages to the same length."""

_QUOTED = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_SELECTOR = re.compile(rf"[a-zA-Z_:][\w:]*\s*(?:\{{(?:[^\"'{{}}]|{_QUOTED})*\}})?|\{{(?:[^\"'{{}}]|{_QUOTED})*\}}")

Pieces = dict[tuple[tuple[str, str], ...], list[pd.Series]]
"""Samples by label set, one piece a page; indexed by Unix seconds."""


def is_selector(query: str) -> bool:
    """Tell whether a query is a plain selector, such as ``up{job="x"}``: only those have raw samples."""
    return _SELECTOR.fullmatch(query.strip()) is not None


def pages(start_unix_s: float, end_unix_s: float, step_s: float, points_max: int = POINTS_MAX) -> Iterator[Window]:
    """Cut a span into pages of at most ``points_max`` points; neighbours share their edge."""
    length_s = step_s * (points_max - 1)
    at_s = start_unix_s
    while at_s < end_unix_s:
        yield Window(at_s, min(at_s + length_s, end_unix_s))
        at_s += length_s


def collect(pieces: Pieces, result: Any, keep_name: bool) -> None:
    """Add the series of one page.

    Args:
        pieces: What former pages brought.
        result: ``data.result`` of a matrix.
        keep_name: Keep the label ``__name__`` (where a query matches several names).

    Raises:
        ValueError: The result is not a matrix of floats.
    """
    if not isinstance(result, list) or any(not isinstance(item, dict) for item in result):
        raise ValueError("the answer is not a matrix")
    for item in result:
        if item.get("histograms"):
            raise ValueError("native histograms are not read; ask for the classic buckets")
        pieces.setdefault(label_set(item.get("metric", {}), keep_name), []).append(_piece(item.get("values", [])))


def label_set(labels: Mapping[str, str], keep_name: bool) -> tuple[tuple[str, str], ...]:
    """Return labels in order, as a key."""
    return tuple(sorted((k, str(v)) for k, v in labels.items() if keep_name or k != "__name__"))


def readable(labels: Iterable[tuple[str, str]]) -> str:
    """Return ``code="200", pod="a"``, or ``value`` for no labels."""
    return ", ".join(f'{key}="{value}"' for key, value in labels) or "value"


def _piece(values: list[list[Any]]) -> pd.Series:
    times = [float(t) for t, _ in values]
    return pd.Series([float(v) for _, v in values], index=times, dtype="float64")


def merge(signal: Signal, pieces: Pieces, origin_unix_s: float) -> tuple[Series, ...]:
    """Join pages by label set, each sample once (CASES C14, C15), on the run's clock."""
    return tuple(_merged(signal, labels, parts, origin_unix_s) for labels, parts in sorted(pieces.items()))


def _merged(
    signal: Signal, labels: tuple[tuple[str, str], ...], parts: list[pd.Series], origin_unix_s: float
) -> Series:
    whole = pd.concat(parts).sort_index()
    whole = whole[~whole.index.duplicated(keep="first")]
    t_s = np.asarray(whole.index, dtype=np.float64) - origin_unix_s
    return Series(signal.name, dict(labels), t_s, whole.to_numpy(dtype=np.float64))
