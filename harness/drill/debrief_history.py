"""What a drill is compared with: earlier drills of the same fault, and the last run with nobody on call. Reads only.

A debrief or a run that cannot be read is no comparison: it is never taken for a good or a bad one.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import store
from harness import store_files as files
from harness.model.comparison import CONTROL_FACT
from harness.model.debrief import EarlierDrill, Reveal, Told, Unattended
from harness.model.errors import GameDayError
from harness.model.fault import Effect
from harness.model.record import Ending, Record
from harness.model.timeline import Event
from harness.model.verdict import Verdict

DEBRIEF_FILE = "debrief.json"
EARLIER_MAX = 20
_RECOVERY = "workload_recovery"


def earlier_drills(folder: Path, reveal: Reveal, began_unix_s: float | None) -> tuple[EarlierDrill, ...]:
    """Return the drills of the same fault before this one, newest first.

    Args:
        folder: This drill's folder; the others lie beside it.
        reveal: What this drill had hidden.
        began_unix_s: When it began.
    """
    if not reveal.fault or began_unix_s is None or not folder.parent.is_dir():
        return ()
    paths = [one / DEBRIEF_FILE for one in folder.parent.iterdir() if one.name != folder.name]
    told = [files.json_object(path) for path in paths if path.is_file()]
    same = [one for one in told if _same_fault(one, reveal) and 0 <= _number(one.get("began_unix_s")) < began_unix_s]
    same.sort(key=lambda one: _number(one.get("began_unix_s")), reverse=True)
    return tuple(_earlier(one) for one in same[:EARLIER_MAX])


def _same_fault(document: Mapping[str, Any], reveal: Reveal) -> bool:
    told = _object(document.get("reveal"))
    return (told.get("experiment"), told.get("fault")) == (reveal.experiment, reveal.fault)


def _earlier(document: Mapping[str, Any]) -> EarlierDrill:
    marks = document.get("marks")
    listed = [one for one in marks if isinstance(one, dict)] if isinstance(marks, list) else []
    took = {str(one.get("mark")): _number(one.get("took_s")) for one in listed}
    status = _object(document.get("verdict")).get("exit_status")
    began = datetime.fromtimestamp(_number(document.get("began_unix_s")), UTC)
    return EarlierDrill(
        drill_id=str(document.get("drill_id", "")),
        began_at=f"{began:%Y-%m-%d %H:%M}",
        end=str(document.get("end") or "not told"),
        exit_status=status if isinstance(status, int) else None,
        took_s={mark: value for mark, value in took.items() if math.isfinite(value)},
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float:
    told = isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
    return float(value) if told else math.nan


def unattended(runs_dir: Path, reveal: Reveal, target: str) -> Unattended:
    """Return what the platform did alone: the last completed run of the experiment on the same target.

    Args:
        runs_dir: Where run folders are.
        reveal: What the drill had hidden.
        target: Where it ran.
    """
    if not reveal.experiment:
        return Unattended(recovery=Told(reason="what was drilled is not known"))
    run_dir = next(_candidates(runs_dir, reveal.experiment, target), None)
    if run_dir is None:
        problem = f"no completed run of {reveal.experiment} on {target} is stored"
        return Unattended(recovery=Told(reason=f"{problem}; `gameday run {reveal.experiment}` makes one"))
    try:
        record, answers = store.load_record(run_dir), store.load_verdicts(run_dir)
    except (GameDayError, OSError) as error:
        return Unattended(run_dir.name, Told(reason=f"its record cannot be read: {error}"))
    return Unattended(run_dir.name, _recovery(record, answers[0] if answers else (), reveal.fault))


def _candidates(runs_dir: Path, experiment: str, target: str) -> Iterator[Path]:
    """Yield completed runs, newest first; a drill's own run is called otherwise (`harness.drill.drilled`)."""
    headers = [(one, files.json_object(runs_dir / one / files.HEADER_FILE)) for one in store.list_runs(runs_dir)]
    for run_id, header in sorted(headers, key=lambda one: str(one[1].get("started_at", "")), reverse=True):
        wanted = (header.get("experiment"), header.get("target"), header.get("ending"))
        control = _object(header.get("facts")).get(CONTROL_FACT)
        if wanted == (experiment, target, Ending.COMPLETED) and not control:
            yield runs_dir / run_id


def _recovery(record: Record, verdicts: tuple[Verdict, ...], fault: str) -> Told:
    """Return how long it took until all was well again: by the run's verdict, else by its own steady state."""
    name = f"{fault}_recovery_s"
    judged = [v.figures[name] for v in verdicts if v.kind == _RECOVERY and name in v.figures]
    if judged and math.isfinite(max(judged)):
        return Told(round(max(judged), 1), "from the deed until the workload was whole again")
    proof = _event(record, "fault", fault, "effect", Effect.CONFIRMED)
    if proof is None:
        return Told(reason="the fault's effect was not proven in it")
    settled = _event(record, "gate", "settle", "ok", True)
    if settled is None or settled.t_s < proof.t_s:
        return Told(reason="the steady state was not back before it ended")
    undone = _event(record, "undo", fault, "step", "done")
    taken = f"; the run itself took the fault back after {undone.t_s - proof.t_s:.0f} s" if undone else ""
    return Told(round(settled.t_s - proof.t_s, 1), f"until the steady state was back{taken}")


def _event(record: Record, kind: str, subject: str, key: str, value: object) -> Event | None:
    return next((event for event in record.timeline.of(kind, subject) if event.detail.get(key) == value), None)
