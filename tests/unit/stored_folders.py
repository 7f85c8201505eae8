"""Run folders on disk for tests of what works over many of them: comparison, trend, retention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.model.record import Ending, Record
from harness.model.target import Target
from harness.model.timeline import Event, Timeline
from harness.store import RunStore
from tests.unit import stored_runs as runs


def target(kind: str = "local") -> Target:
    """Return a target of a kind, as far as a stored run needs one."""
    nothing = dict.fromkeys(("context", "kubeconfig", "api_server", "kube_system_uid", "opt_in_label"), "")
    return Target(
        name=kind, kind=kind, namespaces=("agents",), gateway_url="", prometheus_url="", rate_max_rps=1.0, **nothing
    )


def log(bad_ratio: float = 0.0, slower: float = 1.0, seed: int = 1) -> pd.DataFrame:
    """Return a request log with bad answers scattered over it, and answers that take ``slower`` times as long."""
    requests = runs.requests()
    bad = np.random.default_rng(seed).random(len(requests)) < bad_ratio
    return requests.assign(
        status=np.where(bad, 503, 200),
        outcome=np.where(bad, "http_error", "ok"),
        latency_s=requests["latency_s"] * slower,
    )


def timeline() -> Timeline:
    """Return the events of the run, with the generator's words about each stage where they belong."""
    whole = runs.timeline()
    return replace(whole, events=tuple(replace(e, subject=_stage(e)) for e in whole.events))


def _stage(event: Event) -> str:
    if event.kind != "load":
        return event.subject
    return "baseline" if event.t_s <= runs.BURST_S else "ramp" if event.t_s <= runs.BURST_S + 4 else _late_stage(event)


def _late_stage(event: Event) -> str:
    return "burst" if event.t_s <= runs.COOL_S else "cooldown"


def stored(
    runs_dir: Path,
    run_id: str = runs.RUN_ID,
    *,
    kind: str = "local",
    facts: Mapping[str, Any] | None = None,
    ending: Ending | None = Ending.COMPLETED,
    **changes: Any,
) -> Path:
    """Write a run folder the way the conductor does.

    Args:
        runs_dir: Where.
        run_id: Its name.
        kind: Of its target.
        facts: Further facts of its header.
        ending: How it ended, or None for a run that never wrote it.
        changes: Other parts of its `Record`; ``header`` changes are given as a mapping.
    """
    record = runs.record(**{"requests": log(), "timeline": timeline(), **changes, "header": runs.header()})
    header = replace(record.header, run_id=run_id, ending=None, **changes.get("header", {}))
    folder = RunStore.create(runs_dir, header, record.experiment, environ={})
    folder.save_target(target(kind))
    _fill(folder, record)
    folder.close()
    if ending is not None:
        folder.finish(header, ending, "" if ending is Ending.COMPLETED else "told", facts or {})
    return folder.run_dir


def write(record: Record, runs_dir: Path) -> Path:
    """Store a whole record the way the conductor does; return its folder."""
    header = record.header
    assert header.ending is not None
    folder = RunStore.create(runs_dir, replace(header, ending=None, reason=""), record.experiment, environ={})
    _fill(folder, record)
    folder.finish(header, header.ending, header.reason, {})
    return folder.run_dir


def _fill(folder: RunStore, record: Record) -> None:
    for event in record.timeline.events:
        folder.append(event)
    folder.save_requests(record.requests, record.requests_lost)
    folder.save_harvest(record.harvest)
    folder.save_fingerprint(record.fingerprint_before, record.fingerprint_after)
    folder.save_undo(record.undo)


def truncated(folder: Path, seed: int) -> str:
    """Cut one file of a run folder off at any byte; return its name."""
    generator = np.random.default_rng(seed)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.stat().st_size)
    path = files[generator.integers(len(files))]
    data = path.read_bytes()
    path.write_bytes(data[: generator.integers(len(data))])
    return path.name
