"""Signals and their series: what is asked of the metrics store and what came back. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.model.time import Window
from harness.model.verdict import Coverage

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Signal:
    """A named query of a target's pack.

    Attributes:
        name: Name that assertions know it by, such as ``gateway_requests_total``.
        query: The PromQL.
        unit: Unit of the values.
        counter: Whether the values only rise (raw counters; never rates or sums of counters).
        gap_max_s: A hole above it makes what leans on the signal inconclusive.
        code_label: Of a gateway's counters: the label that begins with the first digit of the answer's code.
    """

    name: str
    query: str
    unit: str = ""
    counter: bool = False
    gap_max_s: float = 15.0
    code_label: str = "envoy_response_code_class"


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one label set.

    Attributes:
        signal: Name of its `Signal`.
        labels: Its labels.
        t_s: Sample times in seconds since the run's origin, rising.
        values: The samples, same length; may hold NaN, which judges must reject.
    """

    signal: str
    labels: Mapping[str, str]
    t_s: Floats
    values: Floats

    def within(self, window: Window) -> Series:
        """Return the part inside the half-open window."""
        keep = (self.t_s >= window.start_s) & (self.t_s < window.end_s)
        return Series(self.signal, self.labels, self.t_s[keep], self.values[keep])

    def coverage(self, window: Window, step_s: float) -> Coverage:
        """Count samples against those expected at ``step_s``; holes include both edges of the window."""
        inside = self.within(window).t_s
        edges = np.concatenate(([window.start_s], inside, [window.end_s]))
        gap_max_s = float(np.diff(edges).max())
        return Coverage(len(inside), int(window.duration_s // step_s), gap_max_s)

    @property
    def finite(self) -> bool:
        """Tell whether there are samples and all of them are finite."""
        return bool(len(self.values)) and bool(np.isfinite(self.values).all())


def sample_times(parts: Iterable[Series]) -> Floats:
    """Return every instant at which any of some series was sampled, rising and each once."""
    times = [one.t_s for one in parts]
    return np.unique(np.concatenate(times)) if times else np.empty(0)


def coverage_of(times: Floats, window: Window, step_s: float) -> Coverage:
    """Count instants against those expected, as `Series.coverage` does."""
    return Series("", {}, times, times).coverage(window, step_s)


def joined(name: str, parts: Sequence[Series]) -> Series:
    """Join the series of one thing in order of time: what watched it was replaced, or it went from owner to owner."""
    if not parts:
        return Series(name, {}, np.empty(0), np.empty(0))
    t_s = np.concatenate([one.t_s for one in parts])
    order = np.argsort(t_s, kind="stable")
    values = np.concatenate([one.values for one in parts])[order]
    return Series(name, {}, t_s[order], np.where(np.isfinite(values), values, np.nan))


@dataclass(frozen=True, slots=True)
class SignalHarvest:
    """What one query brought back.

    Attributes:
        signal: The query.
        series: Its series; empty where there was none.
        step_s: Step that was asked for.
        warnings: What the store said besides; any of it makes the answer partial (CASES C11).
        error: Why there is no answer, or empty.
        infos: Advice of the store about the query; does not make the answer partial.
    """

    signal: Signal
    series: tuple[Series, ...] = ()
    step_s: float = 0.0
    warnings: tuple[str, ...] = ()
    error: str = ""
    infos: tuple[str, ...] = ()

    @property
    def hole_max_s(self) -> float:
        """Largest distance of two samples that is no hole: the signal's limit, but at least two missed scrapes."""
        return max(self.signal.gap_max_s, 2.5 * self.step_s)


@dataclass(frozen=True, slots=True)
class Harvest:
    """All queries of a run.

    Attributes:
        signals: By signal name.
        server: Version of the store, or empty.
        scrape_interval_s: How often it scrapes.
        skew_s: Its clock minus ours.
    """

    signals: Mapping[str, SignalHarvest] = field(default_factory=dict)
    server: str = ""
    scrape_interval_s: float = 0.0
    skew_s: float = 0.0

    def series(self, signal: str) -> tuple[Series, ...]:
        """Return the series of a signal; empty where it is unknown or failed."""
        found = self.signals.get(signal)
        return found.series if found else ()

    def problem(self, signal: str) -> str:
        """Return why a signal cannot be leaned on, or an empty string."""
        found = self.signals.get(signal)
        if found is None:
            return f"signal {signal} was not asked for: the target's query pack has none"
        if found.error:
            return f"signal {signal}: {found.error}"
        if found.warnings:
            return f"signal {signal}: partial answer ({'; '.join(found.warnings)})"
        return "" if found.series else f"signal {signal}: no series"


def increase(series: Iterable[Series], window: Window) -> float:
    """Sum what counters rose by between the last sample at or before each edge of the window.

    A value below its forerunner is a reset: the counter started anew from 0 (Prometheus, "rate()"). A series whose
    first sample lies inside the window counts from 0, since its target did not exist before.

    Args:
        series: Raw counter series, not sums and not rates.
        window: Quiescent instants on both edges (no request in flight).

    Returns:
        The rise over all series; NaN where a sample inside is not finite.
    """
    return float(sum(_increase_of(one, window) for one in series))


def _increase_of(one: Series, window: Window) -> float:
    before = one.t_s <= window.start_s
    inside = (one.t_s > window.start_s) & (one.t_s <= window.end_s)
    first = one.values[before][-1:] if before.any() else np.array([0.0])
    points = np.concatenate((first, one.values[inside]))
    steps = np.diff(points)
    return float(np.where(steps < 0, points[1:], steps).sum())
