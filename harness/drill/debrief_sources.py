"""What a debrief is made from, read from disk: the journal, the run's record with its verdicts, the runbook.

Reads only. Whatever cannot be read is told by its reason: a debrief is written all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registries, store
from harness.drill.books import one_of
from harness.drill.entry_shapes import OtherShape, entry_of
from harness.drill.journal import JOURNAL_FILE, read_drill
from harness.model.drill import Drill, DrillError, DrillFault, DrillPlan, Entry
from harness.model.errors import GameDayError
from harness.model.record import Record
from harness.model.verdict import Verdict
from harness.runbook import Step, read_runbook


@dataclass(frozen=True, slots=True)
class Sources:
    """What is known of a drill.

    Attributes:
        drill_id: Name of its folder.
        drill: What its journal tells, as far as it can be read.
        journal_problem: What of it cannot be read, or empty.
        record: The run beneath it, or None.
        record_problem: Why there is none, or empty.
        verdicts: Of that run; None where it was never judged.
        steps: Of its runbook, the right one of several; empty where it cannot be read.
        runbook_problem: Why it cannot be read, or empty.
    """

    drill_id: str
    drill: Drill
    journal_problem: str = ""
    record: Record | None = None
    record_problem: str = ""
    verdicts: tuple[Verdict, ...] | None = None
    steps: tuple[Step, ...] = ()
    runbook_problem: str = ""

    @property
    def plan(self) -> DrillPlan | None:
        """What the experiment's file says of drills."""
        return self.record.experiment.drill if self.record else None

    @property
    def fault(self) -> DrillFault | None:
        """The fault that was hidden, as the file has it; None where it was not revealed or is not known."""
        revealed = next((entry.detail for entry in self.drill.of("revealed")), {})
        return self.plan.fault(str(revealed.get("fault", ""))) if self.plan else None


def read_sources(folder: Path, run_dir: Path | None) -> Sources:
    """Read what is known of a drill.

    Args:
        folder: The drill's folder.
        run_dir: The record of the run beneath it; None where there is none.
    """
    drill, journal_problem = _drill(folder)
    record, verdicts, record_problem = _record(run_dir)
    steps, runbook_problem = _steps(_runbooks(drill), record.experiment.runbook if record else "")
    return Sources(folder.name, drill, journal_problem, record, record_problem, verdicts, steps, runbook_problem)


def _drill(folder: Path) -> tuple[Drill, str]:
    """Return the drill, and what is wrong with its journal; of a damaged one what stands before the damage."""
    try:
        return read_drill(folder), ""
    except DrillError as error:
        return Drill(tuple(_readable(folder / JOURNAL_FILE))), str(error)


def _readable(path: Path) -> Iterator[Entry]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield entry_of(line)
        except OtherShape:
            continue  # what another version wrote hides nothing of what comes after it
        except ValueError:
            return


def _record(run_dir: Path | None) -> tuple[Record | None, tuple[Verdict, ...] | None, str]:
    if run_dir is None:
        return None, None, "no run was stored beneath the drill"
    try:
        record, answers = store.load_record(run_dir), store.load_verdicts(run_dir)
    except (GameDayError, OSError) as error:
        return None, None, f"the run's record cannot be read: {error}"
    return record, answers[0] if answers else None, ""


def _runbooks(drill: Drill) -> Any:
    """Return the paths of the runbooks that people had; until the reveal their names would say too much."""
    return next((entry.detail.get("runbook") for entry in drill.of("revealed")), None)


def _steps(named: Any, right: str) -> tuple[tuple[Step, ...], str]:
    """Return the steps that people had; of several runbooks those of the right one alone count as left undone.

    Args:
        named: Paths of all runbooks that people had, as the reveal names them.
        right: The runbook of the experiment that was hidden, or empty.
    """
    paths = [str(one) for one in named] if isinstance(named, list) else []
    if not paths:
        return (), "the reveal names no runbook"
    try:
        books = [read_runbook(registries.PROJECT_DIR / path) for path in paths]
    except (GameDayError, OSError) as error:
        return (), f"the runbook cannot be read: {error}"
    steps = one_of(books).steps
    ordered = [book.path for book in sorted(books, key=lambda book: book.title)]
    if len(books) == 1 or registries.PROJECT_DIR / right not in ordered:
        return steps, ""
    number = ordered.index(registries.PROJECT_DIR / right) + 1
    return tuple(step for step in steps if step.step.startswith(f"{number}.")), ""
