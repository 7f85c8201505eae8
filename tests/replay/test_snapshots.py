"""What judges say of golden records that were spoilt in fixed ways, word for word (see `tests.replay.snapshots`).

Stored is only what differs from the answers to the whole record, which are in its ``verdicts.json``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from harness.judge import Judgement, judge
from harness.model.record import Record
from harness.store import load_record
from tests.replay import golden, snapshots
from tests.replay.spoilings import SPOILINGS

RECORDS = (
    "cascade", "fail-node-left-cordoned", "gpu-exhaustion", "metrics-blackout", "node-loss", "queue-burst",
    "spot-reclaim-evaluation", "tool-api-rate-limit",
)  # fmt: skip


@cache
def whole(name: str) -> Record:
    with TemporaryDirectory() as folder:
        return load_record(golden.unpack(name, Path(folder)))


@cache
def answers(name: str, spoiling: str) -> Judgement:
    return judge(SPOILINGS[spoiling](whole(name)), ASSERTIONS, ASSUMPTIONS)


def told_apart(name: str, spoiling: str) -> list[str]:
    """Return what is said of a spoilt record and not of the whole one: every answer that changed, and its new facts."""
    pairs = zip(facts(answers(name, spoiling)), facts(answers(name, "as it was")), strict=True)
    said = [line for new, old in pairs if new != old for line in snapshots.difference(new, old)]
    return said or ["(as of the whole record)"]


def facts(found: Judgement) -> list[list[str]]:
    return [*map(snapshots.facts_of, found.verdicts), *map(snapshots.facts_assumed, found.assumptions)]


@pytest.mark.parametrize("spoiling", [name for name in SPOILINGS if name != "as it was"])
@pytest.mark.parametrize("name", RECORDS)
def test_what_is_said_of_a_spoilt_record(name: str, spoiling: str) -> None:
    snapshots.compare(f"golden-{name}", spoiling, told_apart(name, spoiling))


def test_every_spoiling_tells_at_least_one_record_apart() -> None:
    silent = [s for s in SPOILINGS if all(answers(name, s) == answers(name, "as it was") for name in RECORDS)]
    assert silent == ["as it was"]


def test_snapshots_are_small_and_there_is_one_of_every_situation() -> None:
    assert max(path.stat().st_size for path in snapshots.FOLDER.glob("*.txt")) < 400_000
    for name in RECORDS:
        assert snapshots.situations(f"golden-{name}").keys() == SPOILINGS.keys() - {"as it was"}
