"""The curves that people watch: folded from the run's events. Symptoms only, and the same whichever fault it is."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

WINDOW_S = 15 * 60.0
GAP_S = 2.0
"""Points of a curve are no closer: a view is sent at every change."""

OFFERED, STARTED, SUCCEEDED = "offered", "started", "succeeded"
OLDEST, WAITING, WELL = "oldest task", "tasks waiting", "steady state"
SAMPLES = {
    "queue_oldest_task_age_seconds": (OLDEST, "s"),
    "queue_depth": (WAITING, "tasks"),
    "steady_state": (WELL, "1 = holds"),
}

Point = tuple[float, float | None]


@dataclass
class Curves:
    """The curves so far.

    Attributes:
        skip: Namespaces whose workloads are not shown: what a drill makes for itself is there.
    """

    skip: frozenset[str] = frozenset()
    _units: dict[str, str] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)
    _points: dict[str, deque[Point]] = field(default_factory=dict)
    _counted: tuple[int, int] = (0, 0)

    def take(self, event: Mapping[str, Any], at_unix_s: float) -> None:
        """Take in an event of the run."""
        handler = _HANDLERS.get(str(event["kind"]))
        if handler is not None:
            handler(self, str(event["subject"]), event["detail"], at_unix_s)

    def document(self) -> dict[str, Any]:
        """Return them as plain JSON by name: unit, points, and whether each value holds until the next one."""
        points = {name: list(map(list, known)) for name, known in list(self._points.items())}
        return {
            name: {"unit": self._units[name], "held": name in self._held, "points": points[name]}
            for name in sorted(points)
        }

    def _add(self, name: str, unit: str, at_unix_s: float, value: float | None) -> bool:
        """Add a point; not one that comes too soon after the last."""
        points = self._points.setdefault(name, deque())
        self._units[name] = unit
        if points and at_unix_s - points[-1][0] < GAP_S:
            return False
        points.append((round(at_unix_s, 2), value if value is not None and math.isfinite(value) else None))
        while points[0][0] < at_unix_s - WINDOW_S:
            points.popleft()
        return True

    def _load(self, subject: str, detail: Mapping[str, Any], at_unix_s: float) -> None:
        del subject
        if not self._add(OFFERED, "1/s", at_unix_s, float(detail["offered_rps"])):
            return
        self._add(STARTED, "1/s", at_unix_s, float(detail["achieved_rps"]))
        counted, before = (int(detail["requests"]), int(detail["failures"])), self._counted
        self._counted = counted
        done, failed = counted[0] - before[0], counted[1] - before[1]
        self._add(SUCCEEDED, "%", at_unix_s, 100 * (done - failed) / done if done > 0 else None)

    def _sample(self, subject: str, detail: Mapping[str, Any], at_unix_s: float) -> None:
        if subject in SAMPLES:
            name, unit = SAMPLES[subject]
            value = detail.get("value")
            self._add(name, unit, at_unix_s, None if value is None else float(value))

    def _workload(self, subject: str, detail: Mapping[str, Any], at_unix_s: float) -> None:
        namespace, _, name = subject.partition("/")
        if namespace not in self.skip:
            ready = f"{name} ready"
            points = self._points.setdefault(ready, deque())
            self._units[ready] = "pods"
            self._held.add(ready)  # told when it changes, and only then
            points.append((round(at_unix_s, 2), float(detail.get("ready_replicas") or 0)))
            while len(points) > 1 and points[1][0] < at_unix_s - WINDOW_S:  # the one before says what held since
                points.popleft()


_HANDLERS: Mapping[str, Callable[[Curves, str, Mapping[str, Any], float], None]] = {
    "load": Curves._load,
    "sample": Curves._sample,
    "workload": Curves._workload,
}
