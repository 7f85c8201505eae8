"""What can be done with a drill that is over: write its debrief anew, or end one whose process died."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.drill.debrief import drill_exit_status, read_debrief, write_debrief
from harness.drill.folders import find_drill, running_drill
from harness.drill.journal import Journal, read_drill
from harness.drill.seal import read_hidden, seal_problem, unseal_run
from harness.drill.session import DRILL
from harness.model.drill import Drill, DrillEnd, DrillError, DrillState

DIED = "its process died; the run beneath took everything back by itself, or the reaper did"


def debrief_anew(runs_dir: Path, name: str, tell: Callable[[str], None]) -> int:
    """Write the debrief of a drill and return the drill's exit status.

    Raises:
        DrillError: There is no such drill, or it still runs.
    """
    folder = find_drill(runs_dir, name)
    drill = read_drill(folder)
    target = str(drill.opened().get("target", ""))
    if drill.end is None:
        if folder.name in {running_drill(runs_dir, one) for one in (target, "")}:
            raise DrillError(f"drill {folder.name} still runs", "wait until it is over, or `gameday drill stop`")
        _end(folder, runs_dir)
        drill = read_drill(folder)
    run_dir = _run_dir(drill)
    tell(f"wrote {write_debrief(folder, run_dir)}")
    return drill_exit_status(read_debrief(folder, run_dir))


def _end(folder: Path, runs_dir: Path) -> None:
    """Reveal and end a drill that nobody holds any more."""
    hidden, journal = read_hidden(folder), Journal(folder)
    run_dir = unseal_run(folder, runs_dir)
    wrong = seal_problem(journal.drill, hidden)
    if wrong:
        journal.append(("trouble", DRILL, {"message": wrong, "remedy": "this drill proves nothing"}))
    journal.append(("revealed", DRILL, hidden.revealed))
    status = drill_exit_status(read_debrief(folder, run_dir, DrillEnd.RUN_ENDED, DIED))
    told = {"end": DrillEnd.RUN_ENDED.value, "reason": DIED, "run_dir": str(run_dir or ""), "exit_status": status}
    journal.append(("ended", DRILL, told), ("state", DRILL, {"state": DrillState.OVER.value}))


def _run_dir(drill: Drill) -> Path | None:
    written = str(drill.end.detail.get("run_dir", "")) if drill.end else ""
    return Path(written) if written and Path(written).is_dir() else None
