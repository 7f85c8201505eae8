"""Judges over damaged records: never a crash, and never a PASS whose evidence is gone.

Damage is drawn with fixed seeds, so a failure repeats; `SEEDS` is small, a longer search only takes a larger number.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from harness.judge import judge
from harness.judgement import judge_run
from harness.model.errors import SpecError
from harness.model.facts import FACTS
from harness.model.record import Record
from harness.model.signal import Harvest
from harness.model.timeline import Event, Timeline
from harness.store import load_record
from reports.registry import REPORTERS
from tests.replay import golden
from tests.replay.situations import SITUATIONS

SEEDS = range(6)
RECORDS = (
    "pod-kill-under-burst", "cascade", "queue-burst", "gpu-exhaustion", "spot-reclaim-evaluation", "v1-queue-burst",
)  # fmt: skip
# ruff: noqa: S311 - draws that must repeat
PASS = "PASS"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    folder = tmp_path_factory.mktemp("golden")
    return {name: load_record(golden.unpack(name, folder / name)) for name in RECORDS}


def outcomes(record: Record) -> dict[str, str]:
    """Judge and report a record; fail where a judge crashed."""
    found = judge(record, ASSERTIONS, ASSUMPTIONS)
    crashed = [v.reason for v in found.verdicts if "the judge crashed" in v.reason]
    crashed += [a.reason for a in found.assumptions if "could not be looked at" in a.reason]
    assert not crashed
    for _, report in REPORTERS.values():
        report(record, found.verdicts, {a.name: a for a in found.assumptions})
    return {verdict.assertion: verdict.outcome.value for verdict in found.verdicts}


def with_events(record: Record, events: list[Event]) -> Record:
    numbered = tuple(replace(event, seq=number) for number, event in enumerate(events, 1))
    return replace(record, timeline=Timeline(record.timeline.origin, numbered))


def dropped(record: Record, draw: random.Random) -> Record:
    share = draw.choice([0.02, 0.3, 0.9])
    return with_events(record, [event for event in record.timeline.events if draw.random() > share])


def cut_short(record: Record, draw: random.Random) -> Record:
    events = list(record.timeline.events)
    return with_events(record, events[: draw.randrange(len(events))])


def shuffled(record: Record, draw: random.Random) -> Record:
    events = list(record.timeline.events)
    draw.shuffle(events)
    return with_events(record, events)


def doubled(record: Record, draw: random.Random) -> Record:
    return with_events(record, [event for event in record.timeline.events for _ in range(draw.choice([1, 1, 2]))])


def fewer_rows(record: Record, draw: random.Random) -> Record:
    keep = np.random.default_rng(draw.randrange(1000)).random(len(record.requests)) > draw.choice([0.05, 0.5, 1.0])
    return replace(record, requests=record.requests[keep])


def spoilt_rows(record: Record, draw: random.Random) -> Record:
    requests = record.requests.copy()
    rows = requests.sample(frac=0.1, random_state=draw.randrange(1000)).index
    requests.loc[rows, "latency_s"] = draw.choice([np.nan, -1.0])
    return replace(record, requests=requests)


def spoilt_samples(record: Record, draw: random.Random) -> Record:
    """Lose, spoil or empty signals."""
    signals = {}
    for name, one in record.harvest.signals.items():
        fate = draw.choice(["keep", "gone", "nan", "short", "inf"])
        parts = one.series
        if fate == "gone":
            continue
        if fate == "short":
            parts = tuple(replace(s, t_s=s.t_s[:2], values=s.values[:2]) for s in parts)
        elif fate in {"nan", "inf"}:
            parts = tuple(replace(s, values=np.where(s.t_s % 7 < 2, float(fate), s.values)) for s in parts)
        signals[name] = replace(one, series=parts)
    return replace(record, harvest=replace(record.harvest, signals=signals))


DAMAGES: tuple[Callable[[Record, random.Random], Record], ...] = (
    dropped, cut_short, shuffled, doubled, fewer_rows, spoilt_rows, spoilt_samples,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", RECORDS)
def test_no_damage_crashes_a_judge_or_a_report(
    records: dict[str, Record], name: str, damage: Callable[[Record, random.Random], Record]
) -> None:
    for seed in SEEDS:
        outcomes(damage(records[name], random.Random(f"{name}/{damage.__name__}/{seed}")))


@pytest.mark.parametrize("name", [name for name in SITUATIONS if name.startswith("nodes-")])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_no_damage_crashes_the_judge_of_nodes_that_come_or_go(
    name: str, damage: Callable[[Record, random.Random], Record]
) -> None:
    record = SITUATIONS[name]().record()
    for seed in SEEDS:
        outcomes(damage(record, random.Random(f"{name}/{damage.__name__}/{seed}")))


@pytest.mark.parametrize("name", RECORDS)
def test_without_any_metrics_nothing_that_leans_on_them_passes(records: dict[str, Record], name: str) -> None:
    record = replace(records[name], harvest=Harvest())
    leaning = {spec.name for spec in record.experiment.assertions if spec.kind in {"backlog", "error_budget"}}
    found = outcomes(record)
    assert leaning
    assert PASS not in {found[item] for item in leaning}


@pytest.mark.parametrize("name", RECORDS)
def test_without_any_event_nothing_but_the_undo_passes(records: dict[str, Record], name: str) -> None:
    found = outcomes(with_events(records[name], []))
    assert PASS not in {outcome for item, outcome in found.items() if item != "restored"}


@pytest.mark.parametrize("name", RECORDS)
def test_without_what_was_seen_of_the_cluster_nothing_that_leans_on_it_passes(
    records: dict[str, Record], name: str
) -> None:
    kinds = {*FACTS, "watch"}
    record = with_events(records[name], [e for e in records[name].timeline.events if e.kind not in kinds])
    found, spared = outcomes(record), {"error_budget", "backlog", "restored", "alerts", "latency"}
    leaning = {spec.name for spec in record.experiment.assertions if spec.kind not in spared}
    assert PASS not in {found[item] for item in leaning}


@pytest.mark.parametrize("name", RECORDS)
def test_without_a_request_no_answer_about_requests_passes(records: dict[str, Record], name: str) -> None:
    record = replace(records[name], requests=records[name].requests.iloc[:0])
    found = outcomes(record)
    assert found[next(s.name for s in record.experiment.assertions if s.kind == "error_budget")] != PASS


@pytest.mark.parametrize("name", RECORDS)
def test_without_a_fault_event_nothing_but_the_undo_passes(records: dict[str, Record], name: str) -> None:
    record = with_events(records[name], [e for e in records[name].timeline.events if e.kind != "fault"])
    found = outcomes(record)
    assert PASS not in {outcome for item, outcome in found.items() if item != "restored"}


ODD = (None, "", -1, [], {}, "zebra", True, {"a": 1}, ["b"])


def misread(line: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Put a value of another kind into a detail or one of its victims, or empty all of them."""
    detail = line["detail"]
    if not detail or draw.random() < 0.2:
        return {**line, "detail": {}}
    victims = detail.get("victims") or detail.get("outcomes")
    if victims and draw.random() < 0.5:
        key = "victims" if detail.get("victims") else "outcomes"
        spoilt = {} if draw.random() < 0.3 else {**victims[0], draw.choice(list(victims[0])): draw.choice(ODD)}
        return {**line, "detail": {**detail, key: [spoilt, *victims[1:]]}}
    return {**line, "detail": {**detail, draw.choice(list(detail)): draw.choice(ODD)}}


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_details_of_another_form_are_damage_and_crash_nothing(name: str, seed: int, tmp_path: Path) -> None:
    draw, run_dir = random.Random(f"{name}/{seed}"), golden.unpack(name, tmp_path)
    lines = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    changed = [misread(line, draw) if draw.random() < 0.1 else line for line in lines]
    (run_dir / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in changed))
    assert PASS not in {v for item, v in outcomes(load_record(run_dir)).items() if item != "restored"}


def test_rows_without_their_times_are_lost_rows(tmp_path: Path) -> None:
    run_dir = golden.unpack("queue-burst", tmp_path)
    whole = load_record(run_dir)
    requests = whole.requests.copy()
    requests.loc[:9, "intended_s"] = np.nan
    requests.loc[5:19, "start_s"] = np.inf
    requests.to_parquet(run_dir / "requests.parquet", index=False)
    found = load_record(run_dir)
    assert (len(found.requests), found.requests_lost) == (len(requests) - 20, 20)
    assert outcomes(found)["error-budget"] != PASS


@pytest.mark.parametrize("seed", SEEDS)
def test_a_folder_cut_at_any_byte_is_one_clear_error_or_a_run_that_cannot_pass(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    run_dir = golden.unpack("queue-burst", tmp_path)
    for path in sorted(run_dir.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[: draw.randrange(len(whole))])
        try:
            judged = judge_run(run_dir)
        except SpecError as error:
            assert error.where and error.problem
        else:
            assert not [v.reason for v in judged.verdicts if "the judge crashed" in v.reason], path.name
            if path.name in {"events.jsonl", "requests.parquet", "harvest.parquet"}:
                assert judged.exit_status != 0, path.name
        path.write_bytes(whole)
