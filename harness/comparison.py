"""Two stored runs, judged again by today's code, answer by answer and figure by figure. A composition root's own.

Must not write anything. A regression is what lies beyond noise *and* matters; what cannot be compared is said, never
left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from harness import differences, exits, store
from harness import store_files as files
from harness.judgement import JudgedRun, judge_run
from harness.model.comparison import CONTROL_FACT, Change, Comparison, VerdictChange, change_of
from harness.model.errors import SpecError
from harness.model.experiment import AssertionSpec
from harness.model.verdict import Outcome, Verdict

TWIN = "twin"
EXIT = {
    Change.SAME: exits.HELD,
    Change.BETTER: exits.HELD,
    Change.WORSE: exits.BROKEN,
    Change.UNCLEAR: exits.INCONCLUSIVE,
}


def compare_runs(runs_dir: Path, first: str, second: str) -> Comparison:
    """Compare two stored runs.

    Args:
        runs_dir: Where run folders are.
        first: The run that is leaned on: ``latest``, an id, a part of one, or a path.
        second: The run that is asked about.

    Raises:
        SpecError: One of them is not there, cannot be read, or they are one and the same.
    """
    folders = store.find_run(runs_dir, first), store.find_run(runs_dir, second)
    if folders[0] == folders[1]:
        raise SpecError(str(folders[0]), "", "both names are of this run", "name two runs; `ls runs` shows them")
    return compare(judge_run(folders[0]), judge_run(folders[1]))


def compare(before: JudgedRun, after: JudgedRun) -> Comparison:
    """Compare two judged runs."""
    ids = before.record.header.run_id, after.record.header.run_id
    problems = (*_targets(before, after), *differences.incomparable(before.record, after.record))
    if problems:
        return Comparison(*ids, problems=problems)
    return Comparison(
        *ids,
        notes=tuple(_notes(before, after)),
        differences=differences.differences(before.record, after.record),
        changes=tuple(_changes(before, after)),
    )


def target_kind(run: JudgedRun) -> str:
    """Return the kind of a run's target (``local``, ``kind``, ``cluster``), the twin's own, or ``unknown``."""
    if run.record.header.target == TWIN:
        return TWIN
    try:
        document = files.read_json(run.run_dir / files.TARGET_FILE)
    except SpecError:
        return "unknown"
    return str(document.get("kind") or "unknown") if isinstance(document, dict) else "unknown"


def _targets(before: JudgedRun, after: JudgedRun) -> Iterator[str]:
    kinds = target_kind(before), target_kind(after)
    if "unknown" in kinds:
        which = "first" if kinds[0] == "unknown" else "second"
        yield f"the {which} run does not say what kind of target it ran on (target.json)"
    elif kinds[0] != kinds[1]:
        yield f"they ran on two kinds of target: {kinds[0]} and {kinds[1]}"


def _notes(before: JudgedRun, after: JudgedRun) -> Iterator[str]:
    first, second = before.record.header, after.record.header
    for which, header in (("first", first), ("second", second)):
        if header.facts.get(CONTROL_FACT):
            yield f"the {which} run is a control run, without the faults: what differs is their effect"
    if first.target != second.target:
        yield f"the targets are two of one kind: {first.target} and {second.target}"
    if first.seed != second.seed:
        yield f"the seeds differ: {first.seed} and {second.seed}"
    if first.versions != second.versions:
        names = sorted(set(first.versions) | set(second.versions))
        changed = [name for name in names if first.versions.get(name) != second.versions.get(name)]
        yield f"the versions differ of: {', '.join(changed)}"


def _changes(before: JudgedRun, after: JudgedRun) -> Iterator[VerdictChange]:
    old, new = ({verdict.assertion: verdict for verdict in run.verdicts} for run in (before, after))
    first, second = ({spec.name: spec for spec in run.record.experiment.assertions} for run in (before, after))
    for name in dict.fromkeys((*new, *old)):
        found = _change(name, old.get(name), new.get(name))
        yield _by_other_limits(found, first.get(name), second.get(name))


def _change(name: str, before: Verdict | None, after: Verdict | None) -> VerdictChange:
    outcomes = before.outcome if before else None, after.outcome if after else None
    note = ""
    if before is None or after is None:
        note = f"asked in the {'second' if before is None else 'first'} run only"
    elif after.outcome is Outcome.INCONCLUSIVE:
        note = after.reason
    figures = {**(before.figures if before else {}), **(after.figures if after else {})}
    sides = [one.figures if one else {} for one in (before, after)]
    pairs = {figure: (sides[0].get(figure, math.nan), sides[1].get(figure, math.nan)) for figure in figures}
    return VerdictChange(name, *outcomes, change_of(*outcomes), note, pairs)


def _by_other_limits(found: VerdictChange, first: AssertionSpec | None, second: AssertionSpec | None) -> VerdictChange:
    """Turn a change unclear whose two answers were asked for by other limits: they answer two questions."""
    if first is None or second is None or (first.kind, first.params) == (second.kind, second.params):
        return found
    return replace(found, change=Change.UNCLEAR, note="its limits differ between the runs: the experiment was changed")
