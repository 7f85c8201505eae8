"""Reads a stored run back into a `Record`, also one whose conductor was killed half-way.

A damaged record is never taken for a whole one: what cannot be read is named in a note of its timeline, and the run
counts as crashed, so that nothing that leans on it can pass. Writes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
from harness.request_log_files import read_requests, read_stream
from harness.store_events import fits
from harness.store_migration import Documents, migrated

VERDICTS_SCHEMA = "gameday.verdicts/1"
HARVEST_SCHEMA = "gameday.harvest/1"
SAMPLE_COLUMNS = ("signal", "labels", "t_s", "value")


@dataclass(frozen=True, slots=True)
class _StoredSignal:
    signal: Signal
    step_s: float
    warnings: tuple[str, ...]
    error: str
    series: tuple[Mapping[str, str], ...]
    infos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _StoredHarvest:
    server: str
    scrape_interval_s: float
    skew_s: float | None
    signals: Mapping[str, _StoredSignal]


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Answers:
    verdicts: tuple[Mapping[str, Any], ...]
    assumptions: tuple[Assumption, ...]


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
    head = str(run_dir / files.HEADER_FILE)
    documents, torn_journal = _documents(run_dir)
    version = files.check_schema(documents.header, RECORD_SCHEMA, head)
    documents = migrated(documents, version, head)
    header = files.decode(RunHeader, documents.header, head)
    experiment = files.decode(Experiment, documents.experiment, str(run_dir / files.EXPERIMENT_FILE))
    events, damage = _events(run_dir / files.EVENTS_FILE, documents.lines, torn_journal)
    requests, lost, torn = _read_requests(run_dir)
    notes = [note for note in (damage, torn) if note]
    fingerprint = files.decode(_Fingerprint, documents.fingerprint or {}, str(run_dir / files.FINGERPRINT_FILE))
    return Record(
        header=_with_ending(header, damage),
        experiment=experiment,
        timeline=Timeline(_origin(documents.header, header, head), _with_notes(events, notes)),
        harvest=_harvest(run_dir, documents.harvest),
        requests=requests,
        requests_lost=lost,
        fingerprint_before=fingerprint.before,
        fingerprint_after=fingerprint.after,
        undo=files.decode(tuple[Mapping[str, Any], ...], documents.undo or (), str(run_dir / files.UNDO_FILE)),
    )


def _documents(run_dir: Path) -> tuple[Documents, bool]:
    """Return the documents of a folder, and whether the last line of its journal is torn."""
    lines, torn = _read_lines(run_dir / files.EVENTS_FILE)
    documents = Documents(
        header=files.read_json(run_dir / files.HEADER_FILE),
        experiment=files.read_json(run_dir / files.EXPERIMENT_FILE),
        lines=lines,
        harvest=_optional_json(run_dir / files.HARVEST_FILE),
        fingerprint=_optional_json(run_dir / files.FINGERPRINT_FILE),
        undo=_optional_json(run_dir / files.UNDO_FILE),
    )
    return documents, torn


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
    answers = files.decode(_Answers, document, str(path))
    told = [{**one, "figures": _with_nan(one.get("figures"))} for one in answers.verdicts]
    verdicts = files.decode(tuple[Verdict, ...], told, str(path))
    return verdicts, {assumption.name: assumption for assumption in answers.assumptions}


def _with_nan(figures: Any) -> Any:
    """Return figures as they were judged: JSON has no NaN, so it was written as null."""
    return {k: math.nan if v is None else v for k, v in figures.items()} if isinstance(figures, dict) else figures


def _optional_json(path: Path) -> Any:
    return files.read_json(path) if path.exists() else None


def _origin(document: Mapping[str, Any], header: RunHeader, where: str) -> datetime:
    unix_s = document.get("origin_unix_s")
    try:
        if unix_s is None:
            return datetime.fromisoformat(header.started_at)
        return datetime.fromtimestamp(float(unix_s), UTC)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise SpecError(where, "origin_unix_s", f"not a time: {error}", "the run folder is damaged") from None


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


def _read_lines(path: Path) -> tuple[list[dict[str, Any] | None], bool]:
    """Return one entry a whole line of the journal, and whether a torn one follows."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    torn = bool(lines) and bool(lines.pop())
    return [_object_of(line) for line in lines], torn


def _object_of(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _events(path: Path, lines: Sequence[Mapping[str, Any] | None], torn: bool) -> tuple[list[Event], str]:
    """Return the readable events and what is wrong with the rest, or an empty string."""
    found = [_event_of(line) for line in lines]
    events = [event for event in found if event is not None]
    unreadable = [number for number, event in enumerate(found, 1) if event is None]
    return events, _damage(path, events, unreadable, torn)


def _event_of(line: Mapping[str, Any] | None) -> Event | None:
    try:
        event = Event(**(line or {}))
        sound = type(event.seq) is int and math.isfinite(event.t_s)
    except TypeError:
        return None
    told = isinstance(event.kind, str) and isinstance(event.subject, str) and isinstance(event.detail, dict)
    return event if sound and told and fits(event.kind, event.detail) else None


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
    path, stream = run_dir / files.REQUESTS_FILE, run_dir / files.REQUESTS_STREAM_FILE
    if path.exists():
        log = read_requests(path)
    elif stream.exists():
        log = read_stream(stream)
    else:
        return no_requests(), 0, ""
    sound = _sound(log.rows)
    return log.rows if sound.all() else log.rows[sound], log.lost + int((~sound).sum()), log.damage


def _sound(frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell which rows say when they were due and when they started; one that does not is a row that is lost."""
    times = (frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("intended_s", "start_s"))
    due, started = (np.isfinite(one) for one in times)
    return np.asarray(due & started)


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise SpecError(str(path), missing[0], "there is no such column", "the run folder is damaged")


def _read_parquet(path: Path, columns: Sequence[str], texts: Sequence[str]) -> pa.Table:
    """Read a table; its texts stay codes into a dictionary, since few of them differ."""
    try:
        table = pq.read_table(path, read_dictionary=list(texts))
    except (pa.ArrowException, OSError) as error:
        raise SpecError(str(path), "", f"not Parquet: {error}", "the run folder is damaged") from None
    _check_columns(path, table.column_names, columns)
    return table


def _harvest(run_dir: Path, document: Any) -> Harvest:
    if document is None:
        return Harvest()
    where = str(run_dir / files.HARVEST_FILE)
    files.check_schema(document, HARVEST_SCHEMA, where)
    stored = files.decode(_StoredHarvest, document, where)
    samples = _samples_by_series(run_dir / files.SERIES_FILE)
    return Harvest(
        signals={name: _signal_of(one, samples) for name, one in stored.signals.items()},
        server=stored.server,
        scrape_interval_s=stored.scrape_interval_s,
        skew_s=math.nan if stored.skew_s is None else stored.skew_s,
    )


def _samples_by_series(path: Path) -> dict[tuple[str, str], pd.DataFrame]:
    frame: pd.DataFrame = _read_parquet(path, SAMPLE_COLUMNS, ("signal", "labels")).to_pandas()
    groups = frame.groupby(["signal", "labels"], sort=False, observed=True)
    return {(str(signal), str(labels)): rows for (signal, labels), rows in groups}


def _signal_of(stored: _StoredSignal, samples: Mapping[tuple[str, str], pd.DataFrame]) -> SignalHarvest:
    name, series = stored.signal.name, []
    for labels in stored.series:
        rows = samples.get((name, files.labels_text(labels)))
        t_s, values = (np.array([]), np.array([])) if rows is None else (rows["t_s"], rows["value"])
        series.append(Series(name, labels, np.asarray(t_s, float), np.asarray(values, float)))
    return SignalHarvest(stored.signal, tuple(series), stored.step_s, stored.warnings, stored.error, stored.infos)
