"""Output of containers: read from a pipe, stored as the container runtime interface has it, read back for the API.

A line is `<time> stdout F <text>`, as below /var/log/pods on a real node; standard output and error share a pipe, so
both are `stdout`. A file is rotated at 10 MiB as the kubelet does, with one older part kept.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from testbed.nodeagent.objects import parse_time

READ_BYTES = 65536
LINE_BYTES_MAX = 16384
FILE_BYTES_MAX = 10 * 2**20


class OutputPipe:
    """A pipe whose read end feeds a sink from the event loop.

    Attributes:
        write_end: descriptor to hand to a process; whoever launches closes it.
        drained: done when every writer has closed its end.
    """

    def __init__(self, sink: Callable[[bytes], None], at_end: Callable[[], None] = lambda: None) -> None:
        loop = asyncio.get_running_loop()
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._sink, self._at_end = sink, at_end
        self.drained: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._read_end, self._readable)

    def _readable(self) -> None:
        try:
            chunk = os.read(self._read_end, READ_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._sink(chunk)
        else:
            self.close()

    def close(self) -> None:
        """Stop reading; what is written later is lost."""
        if not self.drained.done():
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)
            self._at_end()
            self.drained.set_result(None)


class LogWriter:
    """Writes the output of one attempt of a container."""

    def __init__(self, path: Path, bytes_max: int = FILE_BYTES_MAX) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._bytes_max = path, bytes_max
        self._rest = b""
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, chunk: bytes) -> None:
        """Store the lines that `chunk` completes; a line over 16 KiB is stored in parts, as a runtime does."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        stamp = _stamp()
        stored = [entry for line in lines for entry in _entries(stamp, line, b"F")]
        while len(self._rest) > LINE_BYTES_MAX:
            part, self._rest = self._rest[:LINE_BYTES_MAX], self._rest[LINE_BYTES_MAX:]
            stored += _entries(stamp, part, b"P")
        self._store(b"".join(stored))

    def close(self) -> None:
        """Store a last line without its end, and close the file."""
        if self._rest:
            self._store(b"".join(_entries(_stamp(), self._rest, b"F")))
            self._rest = b""
        self._file.close()

    def _store(self, data: bytes) -> None:
        if not data:
            return
        if self._size + len(data) > self._bytes_max:
            self._file.close()
            self._path.replace(older_part(self._path))
            self._file = self._path.open("ab", buffering=0)
            self._size = 0
        self._file.write(data)
        self._size += len(data)


def older_part(path: Path) -> Path:
    """Return where a log file is moved when it is full."""
    return path.with_name(f"{path.name}.1")


def _stamp() -> bytes:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


def _entries(stamp: bytes, line: bytes, tag: bytes) -> Iterator[bytes]:
    while len(line) > LINE_BYTES_MAX:
        yield b"%s stdout P %s\n" % (stamp, line[:LINE_BYTES_MAX])
        line = line[LINE_BYTES_MAX:]
    yield b"%s stdout %s %s\n" % (stamp, tag, line)


@dataclass(frozen=True)
class LogQuery:
    """Which part of a log the API asks for (PodLogOptions).

    Attributes:
        tail_lines: only that many last lines; None for all.
        since: only what was written at that moment or later.
        timestamps: each line begins with its time.
        limit_bytes: at most that many bytes.
    """

    tail_lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None

    def select(self, stored: bytes) -> bytes:
        """Return what the query selects from stored log lines."""
        entries = [entry for entry in stored.splitlines(keepends=True) if self._recent(entry)]
        if self.tail_lines is not None:
            entries = _last_lines(entries, self.tail_lines)
        text = b"".join(self.rendered(entries))
        return text if self.limit_bytes is None else text[: self.limit_bytes]

    def rendered(self, entries: list[bytes]) -> Iterator[bytes]:
        """Yield stored lines as the reader gets them; parts of one line are joined."""
        continued = False
        for entry in entries:
            stamp, _, tag, text = entry.split(b" ", 3)
            partial = tag == b"P"
            start = stamp + b" " if self.timestamps and not continued else b""
            yield start + (text.rstrip(b"\n") if partial else text)
            continued = partial

    def _recent(self, entry: bytes) -> bool:
        return self.since is None or parse_time(entry[:26].decode() + "+00:00") >= self.since


def _last_lines(entries: list[bytes], count: int) -> list[bytes]:
    """Return the entries of the last `count` lines, of which each may be stored in several parts."""
    first = len(entries)
    while first > 0 and count > 0:
        first -= 1
        while first > 0 and entries[first - 1].split(b" ", 3)[2] == b"P":
            first -= 1
        count -= 1
    return entries[first:]


def stored_log(path: Path) -> bytes:
    """Return the whole of a log, the older part first; empty when nothing was written."""
    return b"".join(part.read_bytes() for part in (older_part(path), path) if part.exists())
