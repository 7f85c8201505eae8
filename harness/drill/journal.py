"""A drill's journal on disk: one JSON line an entry, synced before anybody is told of it. Decides nothing.

Reading it again gives the same drill. A last line that was torn by a crash is no entry; anything else that cannot be
read is an error, never left out.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.drill.entry_shapes import entry_of
from harness.model.drill import Drill, DrillError, Entry
from harness.store import Redactor, secrets_in

JOURNAL_FILE = "journal.jsonl"

Said = tuple[str, str, Mapping[str, Any]]
"""Kind, by whom, detail."""


def read_drill(folder: Path) -> Drill:
    """Read the drill in a folder.

    Raises:
        DrillError: There is none, or its journal is damaged.
    """
    path = folder / JOURNAL_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DrillError(f"{path} cannot be read ({error.strerror})", "`gameday drill list` names the drills") from None
    return Drill(tuple(_entries(path, data[: _whole_bytes(data)])))


def _whole_bytes(data: bytes) -> int:
    return data.rfind(b"\n") + 1


def _entries(path: Path, data: bytes) -> Iterator[Entry]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = entry_of(line)
            if entry.seq != number:
                raise ValueError(f"entry {entry.seq} stands where {number} is due")
        except ValueError as error:
            raise DrillError(f"{path.name}:{number} is no entry: {error}", "mend or remove that line") from None
        yield entry


class Journal:
    """The journal of one drill, while it is written. Any thread may append.

    Attributes:
        folder: The drill's folder.
        drill: What is on disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now_unix_s: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
        secrets: Sequence[str] = (),
    ) -> None:
        """Open it, or begin it where there is none; a torn last line is cut off.

        Args:
            folder: The drill's folder.
            now_unix_s: Dates the entries.
            environ: Environment whose secrets are kept out of every entry.
            secrets: Others that are kept out, such as those that were read from files.

        Raises:
            DrillError: It cannot be written, or is damaged.
        """
        self.folder, self._now_unix_s = folder, now_unix_s
        self._redact, self._lock = Redactor((*secrets_in(environ), *secrets)), threading.Lock()
        self._path = folder / JOURNAL_FILE
        try:
            self._path.touch()
            self._good_bytes = _whole_bytes(self._path.read_bytes())
            os.truncate(self._path, self._good_bytes)
        except OSError as error:
            raise self._unwritable(error) from error
        self.drill = read_drill(folder)

    def append(self, *said: Said) -> Sequence[Entry]:
        """Append entries, all or none; they are on disk when this returns.

        Raises:
            DrillError: The disk refused, or what is said has not the shape of an entry; the journal is as it was.
        """
        with self._lock:
            first, at_unix_s = len(self.drill.entries) + 1, self._now_unix_s()
            entries = [Entry(first + n, at_unix_s, kind, by, dict(detail)) for n, (kind, by, detail) in enumerate(said)]
            lines = [self._redact(json.dumps(asdict(entry), ensure_ascii=False)) for entry in entries]
            data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
            stored = [self._entry(line) for line in data.splitlines()]
            self._write(data)
            self.drill = Drill((*self.drill.entries, *stored))
            return stored

    def _entry(self, line: bytes) -> Entry:
        """Return what will be read again: what could not be read must not be written."""
        try:
            return entry_of(line)
        except ValueError as error:
            raise DrillError(
                f"the journal takes no such entry: {error}", "report it: a part of the drill said it"
            ) from None

    def _write(self, data: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            os.truncate(self._path, self._good_bytes)
            raise self._unwritable(error) from error
        self._good_bytes += len(data)

    def _unwritable(self, error: OSError) -> DrillError:
        return DrillError(f"the journal in {self.folder} cannot be written ({error.strerror})", "make room on the disk")
