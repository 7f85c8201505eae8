"""From a stored run to verdicts and reports: load, judge, write. Used by the conductor's process, replay and the CLI.

A composition root's own. Must not touch a cluster, and judging a stored run again must give the same verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assertions.assumptions import ASSUMPTIONS
from harness import registries, store
from harness.effect import with_effect
from harness.judge import judge
from harness.model.record import Record
from harness.model.verdict import Assumption, Verdict
from reports.registry import REPORTERS


@dataclass(frozen=True)
class JudgedRun:
    """A judged run.

    Attributes:
        run_dir: Its folder.
        record: What was judged.
        verdicts: In the order of the experiment's assertions.
        assumptions: By name.
        exit_status: By the record (DESIGN §3).
    """

    run_dir: Path
    record: Record
    verdicts: tuple[Verdict, ...]
    assumptions: Mapping[str, Assumption]
    exit_status: int


def judge_run(run_dir: Path) -> JudgedRun:
    """Judge a stored run.

    Raises:
        SpecError: The folder holds no record that this version can read.
    """
    record = store.load_record(run_dir)
    found = judge(record, registries.assertions(), ASSUMPTIONS)
    assumptions = {assumption.name: assumption for assumption in found.assumptions}
    return JudgedRun(run_dir, record, found.verdicts, assumptions, found.exit_status)


def write_reports(judged: JudgedRun) -> tuple[Path, ...]:
    """Write the verdicts and every report into the run's folder; return the paths."""
    store.save_verdicts(judged.run_dir, judged.verdicts, judged.assumptions)
    record = with_effect(judged.run_dir, judged.record)
    written = []
    for file_name, report in REPORTERS.values():
        path = judged.run_dir / file_name
        store.write_atomically(path, report(record, judged.verdicts, judged.assumptions))
        written.append(path)
    return tuple(written)
