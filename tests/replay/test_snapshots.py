"""What judges say of golden records that were spoilt in fixed ways, word for word (see `tests.replay.snapshots`).

Stored is only what differs from the answers to the whole record, which are in its ``verdicts.json``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from harness.judge import Judgement, judge
from harness.store import load_record
from tests.replay import golden, snapshots
from tests.replay.spoilings import SPOILINGS

WHOLE = "as it was"
RECORDS = (
    "cascade", "fail-node-left-cordoned", "gpu-exhaustion", "metrics-blackout", "node-loss", "queue-burst",
    "spot-reclaim-evaluation", "tool-api-rate-limit",
)  # fmt: skip


class Said:
    """Judges records on demand, each once; made anew for every session, so that no answer of other code is kept."""

    def __init__(self, folder: Path) -> None:
        self.records = {name: load_record(golden.unpack(name, folder / name)) for name in RECORDS}
        self.answers = cache(self.judged)

    def judged(self, name: str, spoiling: str) -> Judgement:
        return judge(SPOILINGS[spoiling](self.records[name]), ASSERTIONS, ASSUMPTIONS)

    def told_apart(self, name: str, spoiling: str) -> list[str]:
        """Return what is said of a spoilt record and not of the whole one: the answers that changed, and new facts."""
        pairs = zip(facts(self.answers(name, spoiling)), facts(self.answers(name, WHOLE)), strict=True)
        told = [line for new, old in pairs if new != old for line in snapshots.difference(new, old)]
        return told or ["(as of the whole record)"]


def facts(found: Judgement) -> list[list[str]]:
    return [*map(snapshots.facts_of, found.verdicts), *map(snapshots.facts_assumed, found.assumptions)]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    return Said(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("spoiling", [name for name in SPOILINGS if name != WHOLE])
@pytest.mark.parametrize("name", RECORDS)
def test_what_is_said_of_a_spoilt_record(said: Said, name: str, spoiling: str) -> None:
    snapshots.compare(f"golden-{name}", spoiling, said.told_apart(name, spoiling))


def test_every_spoiling_tells_at_least_one_record_apart(said: Said) -> None:
    silent = [s for s in SPOILINGS if all(said.answers(name, s) == said.answers(name, WHOLE) for name in RECORDS)]
    assert silent == [WHOLE]


def test_snapshots_are_small_and_there_is_one_of_every_situation() -> None:
    assert max(path.stat().st_size for path in snapshots.FOLDER.glob("*.txt")) < 400_000
    for name in RECORDS:
        assert snapshots.situations(f"golden-{name}").keys() == SPOILINGS.keys() - {WHOLE}
