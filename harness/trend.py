"""The last runs of each experiment, judged again by today's code, and where their figures go. A composition root's own.

Must not change a run folder. A folder that cannot be read is a row that says so; a run that did not complete, or whose
load was not what it should be, is in the table and counts for no trend.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assertions import backlog, recovery
from harness import store
from harness import store_files as files
from harness.comparison import target_kind
from harness.differences import (
    RELEVANT_LATENCY_RATIO,
    RELEVANT_LATENCY_S,
    RELEVANT_RATIO,
    differently_made,
    doubt,
    latency_p95_s,
    success_ratio,
)
from harness.judgement import JudgedRun, judge_run
from harness.model.comparison import CONTROL_FACT
from harness.model.errors import SpecError
from harness.model.record import Record
from harness.model.trend import ExperimentTrend, Figure, RunRow, Trend, trend_of
from harness.model.verdict import combine

LAST_DEFAULT = 20

FIGURES = (
    Figure("success_ratio", "Good requests", more_is_better=True, relevant=RELEVANT_RATIO),
    Figure("latency_p95_s", "p95 of the burst", False, RELEVANT_LATENCY_S, RELEVANT_LATENCY_RATIO),
    Figure("backlog_age_max_s", "Oldest task in the queue", False, 5.0, 0.1),
    Figure("recovery_max_s", "Longest recovery", False, 2.0, 0.1),
)


@dataclass(frozen=True)
class Index:
    """All that the index page shows.

    Attributes:
        rows: Newest first.
        experiments: Trends, one an experiment and kind of target.
    """

    rows: tuple[RunRow, ...]
    experiments: tuple[ExperimentTrend, ...]

    @property
    def trends(self) -> Iterator[Trend]:
        """Yield every trend."""
        return (trend for one in self.experiments for trend in one.trends)


def index_of(runs_dir: Path, experiment: str = "", last: int = LAST_DEFAULT) -> Index:
    """Judge the last runs again and follow their figures.

    Args:
        runs_dir: Where run folders are.
        experiment: Only this one; all of them where empty.
        last: How many runs of each experiment, control runs among them.

    Raises:
        SpecError: There is no such run, or the number makes no sense.
    """
    if last < 1:
        raise SpecError("--last", "", f"{last} is less than 1", f"--last {LAST_DEFAULT}")
    chosen = _chosen(runs_dir, experiment, last)
    if not chosen:
        what = f"no run of {experiment!r}" if experiment else "no run"
        raise SpecError(str(runs_dir), "", f"there is {what}", "`gameday run` makes one; `gameday list` has the names")
    rows: list[RunRow] = []
    groups: dict[tuple[str, str], _Group] = {}
    for path in chosen:  # newest first: what the others are compared with comes first
        row, record = _row(path)
        rows.append(row)
        if record is not None and not row.control:
            groups.setdefault((row.experiment, row.kind), _Group(record)).add(row, record)
    return Index(tuple(rows), tuple(group.trend() for _, group in sorted(groups.items())))


def _chosen(runs_dir: Path, experiment: str, last: int) -> list[Path]:
    """Return the folders, newest first, at most so many of an experiment."""
    headers = {run_id: files.json_object(runs_dir / run_id / files.HEADER_FILE) for run_id in store.list_runs(runs_dir)}
    ids = sorted(headers, key=lambda run_id: (str(headers[run_id].get("started_at", "")), run_id), reverse=True)
    taken: dict[str, int] = {}
    chosen = []
    for run_id in ids:
        name = str(headers[run_id].get("experiment", ""))
        taken[name] = taken.get(name, 0) + 1
        if taken[name] <= last and experiment in {"", name}:
            chosen.append(runs_dir / run_id)
    return chosen


def _row(path: Path) -> tuple[RunRow, Record | None]:
    try:
        judged = judge_run(path)
    except SpecError as error:
        return RunRow(path.name, problem=str(error)), None
    record = judged.record
    problem = doubt(record)
    row = RunRow(
        run_id=path.name,
        experiment=record.header.experiment,
        target=record.header.target,
        kind=target_kind(judged),
        started_at=record.header.started_at,
        outcome=combine(verdict.outcome for verdict in judged.verdicts),
        control=bool(record.header.facts.get(CONTROL_FACT)),
        values={} if problem else dict(_values(judged)),
        problem=problem,
        report=(path / "report.html").is_file(),
    )
    return row, record


def _values(judged: JudgedRun) -> Iterator[tuple[str, float]]:
    found = {
        "success_ratio": success_ratio(judged.record),
        "latency_p95_s": latency_p95_s(judged.record),
        "backlog_age_max_s": _worst(judged, backlog.KIND, "backlog_age_max_s"),
        "recovery_max_s": _worst(judged, recovery.KIND, "_recovery_s"),
    }
    return ((name, value) for name, value in found.items() if math.isfinite(value))


def _worst(judged: JudgedRun, kind: str, ending: str) -> float:
    """Return the largest figure of a kind of assertion whose name ends so, or NaN; an unknown one hides the others."""
    found = [
        v for one in judged.verdicts if one.kind == kind for name, v in one.figures.items() if name.endswith(ending)
    ]
    return max(found) if found and all(map(math.isfinite, found)) else math.nan


class _Group:
    """Runs of one experiment on one kind of target, as they come, newest first."""

    def __init__(self, newest: Record) -> None:
        self._newest = newest
        self._rows: list[RunRow] = []
        self._kind = ""
        self._left_out = 0

    def add(self, row: RunRow, record: Record) -> None:
        self._kind = row.kind
        if differently_made(record, self._newest):
            self._left_out += 1
        else:
            self._rows.insert(0, row)

    def trend(self) -> ExperimentTrend:
        trends = tuple(self._follow(figure) for figure in FIGURES if self._has(figure))
        return ExperimentTrend(self._newest.header.experiment, self._kind, trends, self._left_out)

    def _has(self, figure: Figure) -> bool:
        return any(figure.name in row.values for row in self._rows)

    def _follow(self, figure: Figure) -> Trend:
        values = [row.values.get(figure.name, math.nan) for row in self._rows]
        return trend_of(figure, [row.run_id for row in self._rows], values)
