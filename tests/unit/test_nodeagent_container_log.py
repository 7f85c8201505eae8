"""Stored container logs and what the API's log options select from them."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from testbed.nodeagent.container_log import LINE_BYTES_MAX, LogQuery, LogWriter, OutputPipe, older_part, stored_log
from testbed.nodeagent.log_answer import log_query

STORED = b"".join(b"2026-01-01T00:00:0%d.000000000Z stdout F line %d\n" % (second, second) for second in range(5))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (LogQuery(), b"line 0\nline 1\nline 2\nline 3\nline 4\n"),
        (LogQuery(tail_lines=2), b"line 3\nline 4\n"),
        (LogQuery(tail_lines=0), b""),
        (LogQuery(tail_lines=99), b"line 0\nline 1\nline 2\nline 3\nline 4\n"),
        (LogQuery(since=datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)), b"line 3\nline 4\n"),
        (LogQuery(tail_lines=1, timestamps=True), b"2026-01-01T00:00:04.000000000Z line 4\n"),
        (LogQuery(limit_bytes=9), b"line 0\nli"),
    ],
)
def test_log_options_select_what_the_api_promises(query: LogQuery, expected: bytes) -> None:
    assert query.select(STORED) == expected


def test_lines_are_stored_whole_however_they_are_written(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "c" / "0.log")
    for chunk in (b"on", b"e\ntwo\nthr", b"ee"):
        writer.write(chunk)
    writer.close()
    assert LogQuery().select(stored_log(tmp_path / "c" / "0.log")) == b"one\ntwo\nthree\n"


def test_a_very_long_line_is_stored_in_parts_and_read_back_whole(tmp_path: Path) -> None:
    long = b"x" * (2 * LINE_BYTES_MAX + 5)
    writer = LogWriter(tmp_path / "0.log")
    writer.write(b"first\n" + long[:20_000])
    writer.write(long[20_000:] + b"\nlast\n")
    writer.close()
    stored = stored_log(tmp_path / "0.log")
    assert LogQuery().select(stored) == b"first\n" + long + b"\nlast\n"
    assert LogQuery(tail_lines=2).select(stored) == long + b"\nlast\n"
    assert LogQuery(tail_lines=2, timestamps=True).select(stored).count(b"Z ") == 2


def test_a_full_file_is_rotated_and_read_together_with_its_older_part(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    writer = LogWriter(path, bytes_max=200)
    for number in range(10):
        writer.write(b"line %d\n" % number)
    writer.close()
    assert older_part(path).exists()
    assert path.stat().st_size <= 200
    assert LogQuery(tail_lines=2).select(stored_log(path)) == b"line 8\nline 9\n"


def test_a_log_without_output_is_empty(tmp_path: Path) -> None:
    assert stored_log(tmp_path / "none.log") == b""


def test_a_pipe_is_drained_when_its_last_writer_closes() -> None:
    async def run() -> bytes:
        said = bytearray()
        pipe = OutputPipe(said.extend)
        other = os.dup(pipe.write_end)
        os.write(pipe.write_end, b"abc")
        os.close(pipe.write_end)
        await asyncio.sleep(0.05)
        assert not pipe.drained.done()
        os.write(other, b"def")
        os.close(other)
        await asyncio.wait_for(pipe.drained, 5)
        return bytes(said)

    assert asyncio.run(run()) == b"abcdef"


def test_log_options_are_read_from_the_url() -> None:
    query = log_query({"tailLines": "5", "timestamps": "true", "limitBytes": "9", "sinceTime": "2026-01-01T00:00:00Z"})
    assert query == LogQuery(5, datetime(2026, 1, 1, tzinfo=UTC), True, 9)
    assert log_query({"sinceSeconds": "60"}).since is not None


@pytest.mark.parametrize(
    "options", [{"tailLines": "x"}, {"tailLines": "-1"}, {"limitBytes": "0"}, {"sinceTime": "now"}]
)
def test_a_wrong_log_option_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        log_query(options)
