"""The simulated metrics store: keeps what was scraped, answers queries by signal name. It knows no PromQL.

The one exception is the query that the probe `gateway_answers` builds: an increase by code class over a range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from harness.fakes.clock import FakeClock
from harness.fakes.switches import Switches, passed
from harness.model.errors import PortError
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.time import Window, parse_duration_s

SCRAPE_S = 2.0
NAN_S = 10.0
SYSTEM = "twin's metrics store"
TASKS_WAIT = "ToolTasksWait"
"""The one alert that can fire here."""

_INCREASE = re.compile(r"sum by \((\w+)\) \(increase\(.*\[(\w+)\]\)\)")

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Mapping[str, str], float]
"""``(signal, labels, value)``."""

_COUNTERS = {
    "gateway_requests_total", "gateway_latency_bucket", "gateway_faults_injected", "planner_requests_total",
    "planner_queue_unavailable_total",
}  # fmt: skip
_UNITS = {
    "gateway_requests_total": "requests", "gateway_latency_bucket": "requests", "gateway_faults_injected": "requests",
    "planner_requests_total": "requests", "planner_queue_unavailable_total": "requests",
    "queue_oldest_task_age_seconds": "s", "queue_depth": "tasks", "queue_lag": "tasks", "queue_pending": "tasks",
    "queue_up": "1", "tasks_unique_enqueued": "tasks", "tasks_unique_done": "tasks", "tasks_dead": "tasks",
    "tasks_duplicate": "tasks", "tasks_late": "tasks", "targets_up": "1", "alert_rules": "rules", "alerts_firing": "1",
}  # fmt: skip
SIGNALS: Mapping[str, Signal] = {
    name: Signal(name, name, unit, counter=name in _COUNTERS) for name, unit in _UNITS.items()
}
"""The twin's query pack: the names of the shipped ones, queried by themselves."""


class FakeMetrics:
    """A `MetricsSource` over the history of scrapes."""

    def __init__(self, clock: FakeClock, switches: Switches, up: Callable[[], bool] = lambda: True) -> None:
        self._up = up
        self._clock, self._switches = clock, switches
        self._history: dict[str, dict[Labels, list[tuple[float, float]]]] = {}
        self._next_s = 0.0
        self._last: list[Sample] = []

    @property
    def due(self) -> bool:
        """Tell whether it is time for a scrape."""
        now_s = self._clock.now_s()
        return now_s >= self._next_s and not passed(self._switches.scrapes_end_s, now_s) and self._up()

    def scrape(self, samples: Iterable[Sample]) -> None:
        """Keep one scrape."""
        now_s = self._clock.now_s()
        self._next_s = now_s + SCRAPE_S
        if not (self._last and passed(self._switches.metrics_frozen_at_s, now_s)):
            self._last = list(samples)
        at_s = self._switches.metrics_nan_at_s
        spoilt = at_s is not None and at_s <= now_s < at_s + NAN_S
        for signal, labels, sampled in self._last:
            value = math.nan if spoilt else sampled
            kept = self._history.setdefault(signal, {})
            kept.setdefault(tuple(sorted(labels.items())), []).append((now_s, value))

    def _answer(self, what: str) -> None:
        if passed(self._switches.store_down_s, self._clock.now_s()) or not self._up():
            raise PortError(SYSTEM, what, "connection refused", "start it again")

    def identify(self) -> str:
        """Return the version."""
        self._answer("identify")
        return "twin"

    def skew_s(self) -> float:
        """Return no skew, or the one that was asked for."""
        self._answer("time")
        return self._switches.store_skew_s

    def instant(self, signal: Signal) -> Mapping[str, float]:
        """Return the newest values by label string."""
        self._answer(f"query {signal.query}")
        rises = _INCREASE.search(signal.query)
        found = self._history.get(signal.name, {})
        if rises:
            return self._rises(found, rises[1], parse_duration_s(rises[2]))
        return {_readable(labels): points[-1][1] for labels, points in found.items()}

    def _rises(
        self, found: Mapping[Labels, Sequence[tuple[float, float]]], by: str, range_s: float
    ) -> Mapping[str, float]:
        since_s = self._clock.now_s() - range_s
        sums: dict[str, float] = {}
        for labels, points in found.items():
            inside = [value for t_s, value in points if t_s >= since_s]
            name = _readable([(key, value) for key, value in labels if key == by])
            sums[name] = sums.get(name, 0.0) + (inside[-1] - inside[0] if inside else 0.0)
        return sums

    def harvest(self, signals: Sequence[Signal], window: Window) -> Harvest:
        """Return the history of each signal over the window, plus one scrape either side."""
        try:
            server, skew_s = self.identify(), self.skew_s()
        except PortError as error:
            lost = {s.name: SignalHarvest(s, step_s=SCRAPE_S, error=str(error)) for s in signals}
            return Harvest(lost, "", SCRAPE_S, float("nan"))
        wider = Window(window.start_s - SCRAPE_S, window.end_s + SCRAPE_S)
        return Harvest({s.name: self._one(s, wider) for s in signals}, server, SCRAPE_S, skew_s)

    def alert_rules(self) -> Mapping[str, str]:
        """Return the twin's one rule, unless it is lost."""
        self._answer("rules")
        return {} if self._switches.alert_rule_missing else {TASKS_WAIT: ""}

    def _one(self, signal: Signal, window: Window) -> SignalHarvest:
        found = self._history.get(signal.name, {})
        series = (
            Series(signal.name, dict(labels), *np.array(points, dtype=np.float64).T) for labels, points in found.items()
        )
        inside = tuple(part for one in series if len((part := one.within(window)).t_s))
        return SignalHarvest(signal, inside, SCRAPE_S)


def _readable(labels: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f'{key}="{value}"' for key, value in labels) or "value"
