"""The store: writes the record of a run into ``runs/<id>/`` while it runs, and finds stored runs.

Order matters: what is known is on disk before anything leans on it, so a killed run still has a readable record
(`harness.store_read` reads it). Must not judge, and must not talk to any system but the file system.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness import store_files as files
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from harness.model.record import RECORD_SCHEMA, Ending, LoggedRequests, RunHeader
from harness.model.signal import Harvest, SignalHarvest
from harness.model.target import Target
from harness.model.timeline import Event
from harness.model.verdict import Assumption, Verdict
from harness.request_log_files import frame_to_parquet, to_parquet
from harness.store_files import Redactor, StoreError, secrets_in
from harness.store_read import VERDICTS_SCHEMA, load_record, load_verdicts

LATEST = "latest"
SYNCED_KINDS = frozenset({"fault", "undo", "residue", "refusal", "stop", "phase"})
"""Events that are synced to the disk, not only handed to the kernel: they say what was done to a cluster."""

PENDING_MAX = 100_000
"""Events kept in memory while the disk refuses them; beyond it the newest are dropped and counted."""


def new_run_id(experiment: str, started_at: datetime, seed: int) -> str:
    """Return the id of a run, such as ``20261125-0141-pod-kill-under-burst-7f3a``; sorts by time, pure.

    Args:
        experiment: Name of the experiment.
        started_at: Aware time of the start.
        seed: Seed of the run.
    """
    moment = started_at.astimezone(UTC)
    digest = hashlib.sha256(f"{experiment}|{moment.isoformat()}|{seed}".encode()).hexdigest()
    return f"{moment:%Y%m%d-%H%M}-{experiment}-{digest[:4]}"


def find_run(runs_dir: Path, name: str) -> Path:
    """Find a stored run.

    Args:
        runs_dir: Where run folders are.
        name: ``latest``, an id, the beginning or a part of exactly one id, or the path of a run folder.

    Returns:
        Its folder.

    Raises:
        SpecError: There is none, or more than one.
    """
    for folder in (runs_dir / name, Path(name)):
        if name and (folder / files.HEADER_FILE).is_file():
            return folder.resolve()
    ids = list_runs(runs_dir)
    fitting = [run_id for run_id in ids if name and name in run_id]
    if len(fitting) == 1:
        return (runs_dir / fitting[0]).resolve()
    known = ", ".join((fitting or ids)[-5:]) or "none yet; `gameday run` makes one"
    problem = f"{len(fitting)} runs are called like {name!r}" if fitting else f"there is no run {name!r}"
    raise SpecError(str(runs_dir), "", problem, f"newest: {known}")


def list_runs(runs_dir: Path) -> list[str]:
    """Return the ids of the stored runs, oldest first."""
    if not runs_dir.is_dir():
        return []
    return sorted(d.name for d in runs_dir.iterdir() if not d.is_symlink() and (d / files.HEADER_FILE).is_file())


class RunStore:
    """The folder of one run, while it is written.

    Attributes:
        run_dir: The folder.
        failure: The first refusal of the disk, or an empty string.
        unwritten: Events that the disk has not taken yet.
        dropped: Events that are lost for good.
    """

    def __init__(
        self,
        run_dir: Path,
        origin_unix_s: float,
        environ: Mapping[str, str],
        on_failure: Callable[[str], None] | None,
    ) -> None:
        self.run_dir = run_dir
        self.failure = ""
        self.dropped = 0
        self._origin_unix_s = origin_unix_s
        self._environ = environ
        self._redact = Redactor(secrets_in(environ))
        self._on_failure = on_failure
        self._pending: list[bytes] = []
        try:
            (run_dir / files.LOGS_DIR).mkdir(parents=True)
            self._events = (run_dir / files.EVENTS_FILE).open("xb", buffering=0)
        except FileExistsError:
            raise StoreError("store", "create", f"{run_dir} exists already", "start the run again") from None
        except OSError as error:
            raise files.store_error("create the run folder", run_dir.parent, error) from error
        self._good_bytes = 0

    @classmethod
    def create(
        cls,
        runs_dir: Path,
        header: RunHeader,
        experiment: Experiment,
        *,
        origin_unix_s: float | None = None,
        environ: Mapping[str, str] | None = None,
        on_failure: Callable[[str], None] | None = None,
    ) -> RunStore:
        """Make the folder with header and experiment, and point ``latest`` to it.

        Args:
            runs_dir: Parent of all run folders; made where it is missing.
            header: Who, what, where; ``run_id`` names the folder.
            experiment: As it will be run.
            origin_unix_s: Wall clock of second 0; by default the header's ``started_at``.
            environ: Environment whose secrets are kept out of every file; `os.environ` where None.
            on_failure: Called once with one sentence when the disk refuses an event, usually the run's stop request.
                Without it the first such `append` raises. Either way later events never raise, so that an undo runs on.

        Raises:
            StoreError: The folder cannot be made or written, or exists already.
        """
        started_unix_s = datetime.fromisoformat(header.started_at).timestamp()
        origin = started_unix_s if origin_unix_s is None else origin_unix_s
        store = cls(runs_dir / header.run_id, origin, os.environ if environ is None else environ, on_failure)
        store.set_header(header)
        store._write_text(files.EXPERIMENT_TEXT_FILE, experiment.text)
        store._write_json(files.EXPERIMENT_FILE, files.encode(Experiment, experiment))
        _point_latest(runs_dir, header.run_id)
        return store

    # the journal ----------------------------------------------------------------------------------------------------

    @property
    def unwritten(self) -> int:
        """Events that the disk has not taken yet."""
        return len(self._pending)

    def append(self, event: Event) -> None:
        """Store one event; it is on disk when this returns, unless the disk refuses.

        Raises:
            StoreError: The disk refused for the first time, and nobody else is told (see `create`). The event is kept
                and written as soon as there is room again.
        """
        line = self._redact(files.dump_line(asdict(event))) + "\n"
        if len(self._pending) < PENDING_MAX:
            self._pending.append(line.encode("utf-8"))
        else:
            self.dropped += 1
        try:
            self._flush()
            if event.kind in SYNCED_KINDS:
                os.fsync(self._events.fileno())
        except OSError as error:
            self._fail(files.store_error("append an event", self.run_dir, error))

    def _flush(self) -> None:
        while self._pending:
            try:
                self._write_whole(self._pending[0])
            except OSError:
                self._events.truncate(self._good_bytes)
                self._events.seek(self._good_bytes)
                raise
            self._good_bytes += len(self._pending.pop(0))

    def _write_whole(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._events.write(view) or 0 :]

    def _fail(self, error: StoreError) -> None:
        first = not self.failure
        self.failure = self.failure or str(error)
        if not first:
            return
        if self._on_failure is None:
            raise error
        self._on_failure(str(error))

    def close(self) -> None:
        """Close the journal, after one more try for what the disk refused. Idempotent.

        Raises:
            StoreError: Events are still not on disk; they are lost now.
        """
        if self._events.closed:
            return
        try:
            self._flush()
            os.fsync(self._events.fileno())
        except OSError as error:
            raise files.store_error(f"write the last {self.unwritten} events", self.run_dir, error) from error
        finally:
            self._events.close()

    # the rest of the record -----------------------------------------------------------------------------------------

    def set_header(self, header: RunHeader) -> None:
        """Write who, what, where and, at the end, how it ended.

        Raises:
            StoreError: The disk refused.
        """
        document = {"schema": RECORD_SCHEMA, "origin_unix_s": self._origin_unix_s, **files.encode(RunHeader, header)}
        self._write_json(files.HEADER_FILE, document)

    def finish(self, header: RunHeader, ending: Ending, reason: str, facts: Mapping[str, Any]) -> None:
        """Write how the run ended and close the journal; the last write of a record, so its mark of being whole.

        Raises:
            StoreError: The disk refused, or events are still not on it.
        """
        whole = replace(header, ending=ending, reason=reason, facts={**header.facts, **facts})
        self.close()
        self.set_header(whole)

    def save_target(self, target: Target) -> None:
        """Write the target without anything secret, and keep the values of its secrets out of all later files."""
        self._redact = Redactor(files.secrets_of(target, self._environ))
        self._write_json(files.TARGET_FILE, {"schema": "gameday.run-target/1", **asdict(target)})

    def save_requests(self, requests: LoggedRequests, lost: int = 0) -> None:
        """Write the request log as Parquet, with the number of rows known to be lost, and drop the stream.

        Args:
            requests: The rows, or the stream that holds them.
            lost: Rows known to be lost.

        Raises:
            StoreError: The disk refused; the stream is still there then.
        """
        path = self.run_dir / files.REQUESTS_FILE
        try:
            if isinstance(requests, Path):
                to_parquet(requests, path, lost)
            else:
                frame_to_parquet(requests, path, lost)
        except OSError as error:
            raise files.store_error(f"write {path.name}", self.run_dir, error) from error
        (self.run_dir / files.REQUESTS_STREAM_FILE).unlink(missing_ok=True)

    def save_harvest(self, harvest: Harvest) -> None:
        """Write what the metrics store said: samples as Parquet, the rest as JSON.

        Raises:
            StoreError: The disk refused.
        """
        self._write_parquet(files.SERIES_FILE, _samples_table(harvest))
        signals = {name: _signal_document(one) for name, one in harvest.signals.items()}
        head = {k: getattr(harvest, k) for k in ("server", "scrape_interval_s", "skew_s")}
        self._write_json(files.HARVEST_FILE, {"schema": "gameday.harvest/1", **head, "signals": signals})

    def save_fingerprint(self, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """Write the state that faults can touch, before and after."""
        self._write_json(files.FINGERPRINT_FILE, {"before": before, "after": after})

    def save_undo(self, undo: Sequence[Mapping[str, Any]]) -> None:
        """Write the undo records with their outcome."""
        self._write_json(files.UNDO_FILE, list(undo))

    def _write_json(self, name: str, document: Any) -> None:
        self._write_text(name, files.dump_text(document))

    def _write_text(self, name: str, text: str) -> None:
        files.write_atomic(self.run_dir / name, self._redact(text))

    def _write_parquet(self, name: str, table: pa.Table) -> None:
        buffer = BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        files.write_atomic(self.run_dir / name, buffer.getvalue())


def save_verdicts(run_dir: Path, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]) -> None:
    """Write the answers into a run's folder; a later judgement of the same record replaces them.

    Raises:
        StoreError: The disk refused.
    """
    write_atomically(run_dir / files.VERDICTS_FILE, files.dump_text(_verdicts_document(verdicts, assumptions)))


def write_atomically(path: Path, text: str) -> None:
    """Write a report whole or not at all, without the secrets of this process's environment.

    Raises:
        StoreError: The disk refused.
    """
    files.write_atomic(path, Redactor(secrets_in(os.environ))(text))


def _verdicts_document(verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]) -> dict[str, Any]:
    return {
        "schema": VERDICTS_SCHEMA,
        "verdicts": files.encode(tuple[Verdict, ...], tuple(verdicts)),
        "assumptions": files.encode(tuple[Assumption, ...], tuple(assumptions.values())),
    }


def _signal_document(one: SignalHarvest) -> dict[str, Any]:
    return {
        "signal": asdict(one.signal),
        "step_s": one.step_s,
        "warnings": list(one.warnings),
        "infos": list(one.infos),
        "error": one.error,
        "series": [dict(series.labels) for series in one.series],
    }


def _samples_table(harvest: Harvest) -> pa.Table:
    """Return one row a sample. ``labels`` is sorted JSON; NaN stays NaN, never null."""
    series = [s for one in harvest.signals.values() for s in one.series]
    columns = {
        "signal": pa.array([s.signal for s in series for _ in s.t_s], pa.string()),
        "labels": pa.array([text for s in series for text in [files.labels_text(s.labels)] * len(s.t_s)], pa.string()),
        "t_s": pa.array([t for s in series for t in s.t_s], pa.float64()),
        "value": pa.array([v for s in series for v in s.values], pa.float64()),
    }
    return pa.table(columns)


def _point_latest(runs_dir: Path, run_id: str) -> None:
    link, fresh = runs_dir / LATEST, runs_dir / f".{LATEST}.{os.getpid()}"
    try:
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(run_id, target_is_directory=True)
        os.replace(fresh, link)
    except OSError as error:
        raise files.store_error(f"point {LATEST} to {run_id}", runs_dir, error) from error


def move_run(from_dir: Path, runs_dir: Path) -> Path | None:
    """Move the one run that is in a folder of its own to where runs are, and point ``latest`` to it.

    Returns:
        Its folder there; None where there is none to move.

    Raises:
        StoreError: The disk refused.
    """
    ids = list_runs(from_dir)
    if not ids:
        return None
    try:
        os.replace(from_dir / ids[-1], runs_dir / ids[-1])
        (from_dir / LATEST).unlink(missing_ok=True)
    except OSError as error:
        raise files.store_error(f"move {ids[-1]}", runs_dir, error) from error
    _point_latest(runs_dir, ids[-1])
    return runs_dir / ids[-1]


__all__ = [
    "LATEST",
    "Redactor",
    "RunStore",
    "StoreError",
    "find_run",
    "list_runs",
    "load_record",
    "load_verdicts",
    "move_run",
    "new_run_id",
    "save_verdicts",
    "secrets_in",
    "write_atomically",
]
