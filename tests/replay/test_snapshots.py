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
from tests.replay.situations import SITUATIONS
from tests.replay.spoilings import SPOILINGS

WHOLE = "as it was"
SAME = "(as of the whole record)"
RECORDS = ("cascade", "gpu-exhaustion", "node-loss", "queue-burst", "spot-reclaim-evaluation")


class Said:
    """Judges records on demand, each once; made anew for every session, so that no answer of other code is kept."""

    def __init__(self, folder: Path) -> None:
        self.records = {name: load_record(golden.unpack(name, folder / name)) for name in RECORDS}
        self.records |= {name: made().record() for name, made in SITUATIONS.items()}
        self.answers = cache(self.judged)

    def judged(self, name: str, spoiling: str) -> Judgement:
        return judge(SPOILINGS[spoiling](self.records[name]), ASSERTIONS, ASSUMPTIONS)

    def verdicts(self, name: str, spoiling: str) -> list[list[str]]:
        """Return what the judges of a situation say by themselves, without what they lean on."""
        record = SPOILINGS[spoiling](self.records[name])
        said = (ASSERTIONS[spec.kind].check(record, spec) for spec in record.experiment.assertions)
        return [snapshots.facts_of(verdict) for verdict in said]

    def told_apart(self, name: str, spoiling: str) -> list[str]:
        """Return what is said of a spoilt record and not of the whole one: the answers that changed, and new facts."""
        return differences(facts(self.answers(name, spoiling)), facts(self.answers(name, WHOLE)))


def differences(spoilt: list[list[str]], whole: list[list[str]]) -> list[str]:
    pairs = zip(spoilt, whole, strict=True)
    return [line for new, old in pairs if new != old for line in snapshots.difference(new, old)] or [SAME]


def facts(found: Judgement) -> list[list[str]]:
    return [*map(snapshots.facts_of, found.verdicts), *map(snapshots.facts_assumed, found.assumptions)]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    return Said(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("spoiling", [name for name in SPOILINGS if name != WHOLE])
@pytest.mark.parametrize("name", RECORDS)
def test_what_is_said_of_a_spoilt_record(said: Said, name: str, spoiling: str) -> None:
    snapshots.compare(f"golden-{name}", spoiling, said.told_apart(name, spoiling))


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_said_of_a_situation_however_it_is_spoilt(said: Said, name: str) -> None:
    whole = said.verdicts(name, WHOLE)
    snapshots.compare(f"spoilt-{name}", WHOLE, [line for lines in whole for line in lines])
    for spoiling in SPOILINGS.keys() - {WHOLE}:
        snapshots.compare(f"spoilt-{name}", spoiling, differences(said.verdicts(name, spoiling), whole))


def test_every_spoiling_tells_at_least_one_record_apart(said: Said) -> None:
    heard = {s for s in SPOILINGS for name in RECORDS if said.answers(name, s) != said.answers(name, WHOLE)}
    files = [snapshots.situations(f"spoilt-{name}") for name in SITUATIONS]
    heard |= {spoiling for told in files for spoiling, text in told.items() if text != SAME}
    assert SPOILINGS.keys() - heard == set()


def test_snapshots_are_small_and_there_is_one_of_every_situation() -> None:
    assert max(path.stat().st_size for path in snapshots.FOLDER.glob("*.txt")) < 400_000
    for name in RECORDS:
        assert snapshots.situations(f"golden-{name}").keys() == SPOILINGS.keys() - {WHOLE}
