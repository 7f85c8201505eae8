"""From a stored run to verdicts and reports: load, judge, write. Used by the conductor's process, replay and the CLI.

A composition root's own. Must not touch a cluster, and judging a stored run again must give the same verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assertions.assumptions import ASSUMPTIONS
from reports.registry import REPORTERS

from harness import registries, store
from harness.judge import exit_status, judge
from harness.model.record import Record
from harness.model.verdict import Assumption, Verdict


@dataclass(frozen=True)
class Judgement:
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


def judge_run(run_dir: Path) -> Judgement:
    """Judge a stored run.

    Raises:
        SpecError: The folder holds no record that this version can read.
    """
    record = store.load_record(run_dir)
    assumptions = {name: assume(record) for name, assume in ASSUMPTIONS.items()}
    verdicts = judge(record, registries.assertions(), ASSUMPTIONS)
    return Judgement(run_dir, record, verdicts, assumptions, exit_status(record, verdicts))


def write_reports(judgement: Judgement) -> tuple[Path, ...]:
    """Write the verdicts and every report into the run's folder; return the paths."""
    store.save_verdicts(judgement.run_dir, judgement.verdicts, judgement.assumptions)
    written = []
    for file_name, report in REPORTERS.values():
        path = judgement.run_dir / file_name
        store.write_atomically(path, report(judgement.record, judgement.verdicts, judgement.assumptions))
        written.append(path)
    return tuple(written)
