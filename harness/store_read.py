"""Reads a stored run back into a `Record`, also one whose conductor was killed half-way.

A damaged record is never taken for a whole one: what cannot be read is named in a note of its timeline, and the run
counts as crashed, so that nothing that leans on it can pass. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness import store_files as files
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from harness.model.record import RECORD_SCHEMA, Ending, Record, RunHeader, no_requests
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.timeline import Event, Timeline
from harness.model.verdict import Assumption, Verdict

VERDICTS_SCHEMA = "gameday.verdicts/1"
HARVEST_SCHEMA = "gameday.harvest/1"


def load_record(run_dir: Path) -> Record:
    """Read a run folder.

    Args:
        run_dir: The folder (`find_run` finds it).

    Returns:
        The record. A run that never wrote how it ended, or whose journal is damaged, has the ending ``crashed``; a
        request log that breaks off has at least one row lost.

    Raises:
        SpecError: A file that no record can do without is missing, damaged or of a newer version.
    """
    document = files.read_json(run_dir / files.HEADER_FILE)
    files.check_schema(document, RECORD_SCHEMA, str(run_dir / files.HEADER_FILE))
    header = files.decode(RunHeader, document, str(run_dir / files.HEADER_FILE))
    experiment_file = run_dir / files.EXPERIMENT_FILE
    experiment = files.decode(Experiment, files.read_json(experiment_file), str(experiment_file))
    events, damage = _read_events(run_dir / files.EVENTS_FILE)
    requests, lost, torn = _read_requests(run_dir)
    notes = [note for note in (damage, torn) if note]
    fingerprint = _optional_json(run_dir / files.FINGERPRINT_FILE) or {}
    return Record(
        header=_with_ending(header, damage),
        experiment=experiment,
        timeline=Timeline(_origin(document, header), _with_notes(events, notes)),
        harvest=_read_harvest(run_dir),
        requests=requests,
        requests_lost=lost,
        fingerprint_before=fingerprint.get("before"),
        fingerprint_after=fingerprint.get("after"),
        undo=tuple(_optional_json(run_dir / files.UNDO_FILE) or ()),
    )


def load_verdicts(run_dir: Path) -> tuple[tuple[Verdict, ...], dict[str, Assumption]] | None:
    """Read the stored answers of a run, or None where it was never judged.

    Raises:
        SpecError: The file is damaged or of a newer version.
    """
    path = run_dir / files.VERDICTS_FILE
    document = _optional_json(path)
    if document is None:
        return None
    files.check_schema(document, VERDICTS_SCHEMA, str(path))
    for one in document["verdicts"]:
        one["figures"] = {k: float("nan") if v is None else v for k, v in one["figures"].items()}
    verdicts = files.decode(tuple[Verdict, ...], document["verdicts"], str(path))
    assumptions = files.decode(tuple[Assumption, ...], document["assumptions"], str(path))
    return verdicts, {assumption.name: assumption for assumption in assumptions}


def _optional_json(path: Path) -> Any:
    return files.read_json(path) if path.exists() else None


def _origin(document: Mapping[str, Any], header: RunHeader) -> datetime:
    unix_s = document.get("origin_unix_s")
    if unix_s is None:
        return datetime.fromisoformat(header.started_at)
    return datetime.fromtimestamp(float(unix_s), UTC)


def _with_ending(header: RunHeader, damage: str) -> RunHeader:
    if header.ending is None:
        reason = "the run never wrote how it ended: its conductor was killed, or it still runs"
        return replace(header, ending=Ending.CRASHED, reason=f"{reason}; {damage}" if damage else reason)
    if damage:
        return replace(header, ending=Ending.CRASHED, reason=f"the record is damaged: {damage}")
    return header


def _with_notes(events: list[Event], notes: list[str]) -> tuple[Event, ...]:
    last = events[-1] if events else Event(0, 0.0, "harness", "note", "store")
    added = [Event(last.seq + n, last.t_s, "harness", "note", "store", {"message": m}) for n, m in enumerate(notes, 1)]
    return (*events, *added)


def _read_events(path: Path) -> tuple[list[Event], str]:
    """Return the readable events and what is wrong with the rest, or an empty string."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    torn = bool(lines) and bool(lines.pop())
    events: list[Event] = []
    unreadable = []
    for number, line in enumerate(lines, 1):
        event = _event_of(line)
        if event is None:
            unreadable.append(number)
        else:
            events.append(event)
    return events, _damage(path, events, unreadable, torn)


def _event_of(line: bytes) -> Event | None:
    try:
        document = json.loads(line)
        return Event(**document)
    except (ValueError, TypeError):
        return None


def _damage(path: Path, events: list[Event], unreadable: list[int], torn: bool) -> str:
    problems = []
    if not path.exists():
        problems.append("there is no such file")
    if torn:
        problems.append("the last line is torn and was ignored")
    if unreadable:
        problems.append(f"lines that cannot be read: {', '.join(map(str, unreadable[:5]))}")
    holes = [e.seq for before, e in pairwise(events) if e.seq != before.seq + 1]
    if not unreadable and holes:
        problems.append(f"event numbers have holes before {', '.join(map(str, holes[:5]))}")
    return f"{path.name}: {'; '.join(problems)}" if problems else ""


def _read_requests(run_dir: Path) -> tuple[pd.DataFrame, int, str]:
    """Return the request log, the rows known to be lost, and what is wrong with it."""
    path = run_dir / files.REQUESTS_FILE
    if path.exists():
        table = _read_parquet(path)
        lost = int((table.schema.metadata or {}).get(b"gameday.requests_lost", b"0"))
        return table.to_pandas(), lost, ""
    stream = run_dir / files.REQUESTS_STREAM_FILE
    if not stream.exists():
        return no_requests(), 0, ""
    frame, torn = read_request_stream(stream)
    return frame, int(bool(torn)), torn


def read_request_stream(path: Path) -> tuple[pd.DataFrame, str]:
    """Read an Arrow IPC stream as far as it goes.

    Args:
        path: ``requests.arrow``, as the collector of the load driver writes it.

    Returns:
        The rows before the tear, and a sentence that names the loss; the sentence is empty for a whole stream.
    """
    batches: list[pa.RecordBatch] = []
    try:
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
            batches.extend(reader)
    except (pa.ArrowInvalid, OSError) as error:
        rows = sum(batch.num_rows for batch in batches)
        torn = f"{path.name}: breaks off after {rows} rows, what followed is lost ({str(error).splitlines()[0]})"
        return (pa.Table.from_batches(batches).to_pandas() if batches else no_requests()), torn
    return (pa.Table.from_batches(batches).to_pandas() if batches else no_requests()), ""


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise SpecError(str(path), "", f"not Parquet: {error}", "the run folder is damaged") from None


def _read_harvest(run_dir: Path) -> Harvest:
    path = run_dir / files.HARVEST_FILE
    document = _optional_json(path)
    if document is None:
        return Harvest()
    files.check_schema(document, HARVEST_SCHEMA, str(path))
    samples = _samples_by_series(run_dir / files.SERIES_FILE)
    return Harvest(
        signals={name: _signal_of(one, samples, str(path)) for name, one in document["signals"].items()},
        server=document["server"],
        scrape_interval_s=document["scrape_interval_s"],
        skew_s=float("nan") if document["skew_s"] is None else document["skew_s"],
    )


def _samples_by_series(path: Path) -> dict[tuple[str, str], pd.DataFrame]:
    frame: pd.DataFrame = _read_parquet(path).to_pandas()
    groups = frame.groupby(["signal", "labels"], sort=False)
    return {(str(signal), str(labels)): rows for (signal, labels), rows in groups}


def _signal_of(
    document: Mapping[str, Any], samples: Mapping[tuple[str, str], pd.DataFrame], where: str
) -> SignalHarvest:
    signal = files.decode(Signal, document["signal"], where)
    series = []
    for labels in document["series"]:
        rows = samples.get((signal.name, files.labels_text(labels)))
        t_s, values = (np.array([]), np.array([])) if rows is None else (rows["t_s"], rows["value"])
        series.append(Series(signal.name, labels, np.asarray(t_s, float), np.asarray(values, float)))
    return SignalHarvest(signal, tuple(series), document["step_s"], tuple(document["warnings"]), document["error"])
