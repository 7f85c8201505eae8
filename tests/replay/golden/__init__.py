"""Golden records: whole runs of the twin as they were stored, each with the verdicts that later versions must give.

A record is ``NAME.zip`` (a run folder), its answers are ``NAME.verdicts.json`` beside it. Records are made once: old
ones must stay readable. ``python -m tests.replay.golden`` judges them anew and prints what changed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import store
from harness.judgement import judge_run
from tests.unit import stored_folders
from tests.unit.twin_runs import rehearse

GOLDEN_DIR = Path(__file__).parent
STORED_AT = (2026, 1, 1, 0, 0, 0)
"""Time of every file inside an archive, so that the same record is the same bytes."""

MADE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bad-rollout": ("bad-rollout", {}),
    "broker-outage": ("broker-outage", {}),
    "cascade": ("cascade", {}),
    "gpu-exhaustion": ("gpu-exhaustion", {}),
    "gpu-shortage": ("gpu-shortage", {}),
    "metrics-blackout": ("metrics-blackout", {}),
    "network-policy": ("network-policy", {}),
    "node-drain-under-burst": ("node-drain-under-burst", {}),
    "node-loss": ("node-loss", {}),
    "pod-kill-under-burst": ("pod-kill-under-burst", {}),
    "prometheus-outage": ("prometheus-outage", {}),
    "queue-burst": ("queue-burst", {}),
    "scaling-failure": ("scaling-failure", {}),
    "spot-reclaim-evaluation": ("spot-reclaim-evaluation", {}),
    "tool-api-rate-limit": ("tool-api-rate-limit", {}),
    "fail-budget-spent": ("queue-burst", {"error_ratio": 0.05}),
    "fail-node-left-cordoned": ("node-drain-under-burst", {"undo_partial": True}),
    "inconclusive-adapters-stuck": ("queue-burst", {"adapters_stuck": True}),
    "inconclusive-fault-absent": ("queue-burst", {"fault_absent": True}),
    "inconclusive-metrics-end": ("queue-burst", {"scrapes_end_s": 90.0}),
}
"""What each record is a run of: the experiment, and how the twin misbehaved."""


def names() -> list[str]:
    """Return the name of every golden record, those of older versions included."""
    return sorted(path.stem for path in GOLDEN_DIR.glob("*.zip"))


def unpack(name: str, into: Path) -> Path:
    """Unpack a golden record below a folder and return its run folder."""
    with zipfile.ZipFile(GOLDEN_DIR / f"{name}.zip") as archive:
        archive.extractall(into)
    return next(path.parent for path in into.glob("*/run.json"))


def verdicts_file(name: str) -> Path:
    """Return where the expected verdicts of a record are."""
    return GOLDEN_DIR / f"{name}.verdicts.json"


def answers(run_dir: Path) -> bytes:
    """Judge a run folder with today's code; return the bytes of its verdicts file."""
    judged = judge_run(run_dir)
    store.save_verdicts(run_dir, judged.verdicts, judged.assumptions)
    return (run_dir / "verdicts.json").read_bytes()


def make(name: str, into: Path) -> Path:
    """Rehearse a golden record anew and return its run folder."""
    experiment, switches = MADE[name]
    record = rehearse(experiment, **switches).record
    header = replace(record.header, run_id=f"golden-{name}")
    here = replace(record.experiment, path=f"experiments/{experiment}.yaml")
    return stored_folders.write(replace(record, header=header, experiment=here), into)


def pack(name: str, run_dir: Path) -> None:
    """Put a run folder into the store of golden records, without reports and verdicts."""
    with zipfile.ZipFile(GOLDEN_DIR / f"{name}.zip", "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(run_dir.iterdir()):
            if path.is_file() and path.name != "verdicts.json":
                info = zipfile.ZipInfo(f"{run_dir.name}/{path.name}", STORED_AT)
                info.compress_type = zipfile.ZIP_LZMA
                archive.writestr(info, path.read_bytes())


def as_version_1(run_dir: Path) -> None:
    """Turn a record into what version 1 wrote: undo events did not say what kind of change they took back."""
    header = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps({**header, "schema": "gameday.record/1"}))
    lines = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "undo":
            del line["detail"]["operation"]
    (run_dir / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
