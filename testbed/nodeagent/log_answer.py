"""Answers `/containerLogs`: what the API's log options select, then, for a reader who follows, what comes after."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from testbed.nodeagent.container import Container
from testbed.nodeagent.container_log import LogQuery, older_part, stored_log
from testbed.nodeagent.objects import parse_time
from testbed.nodeagent.pod_status import Waiting

FOLLOW_POLL_S = 0.25


def log_query(options: Mapping[str, str]) -> LogQuery:
    """Return the query that PodLogOptions in a URL ask for.

    Raises:
        ValueError: an option has a value that it cannot have.
    """
    since = parse_time(options["sinceTime"]) if options.get("sinceTime") else None
    if options.get("sinceSeconds"):
        since = datetime.now(UTC) - timedelta(seconds=int(options["sinceSeconds"]))
    tail = int(options["tailLines"]) if options.get("tailLines") else None
    limit = int(options["limitBytes"]) if options.get("limitBytes") else None
    if (tail is not None and tail < 0) or (limit is not None and limit < 1):
        raise ValueError("tailLines must be at least 0 and limitBytes at least 1")
    return LogQuery(tail, since, _flag(options, "timestamps"), limit)


def _flag(options: Mapping[str, str], name: str) -> bool:
    return options.get(name, "").lower() in ("true", "1")


async def send_log(request: web.Request, container: Container) -> web.StreamResponse:
    """Send the log of a container's newest attempt, or of the one before it."""
    name = container.spec.name
    try:
        query = log_query(request.query)
    except ValueError as error:
        return web.Response(status=400, text=f"container {name}: {error}\n")
    path = _log_file(container, previous=_flag(request.query, "previous"))
    if path is None:
        return web.Response(status=400, text=f'previous terminated container "{name}" not found\n')
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    end = path.stat().st_size if path.exists() else 0
    try:
        await response.write(query.select(stored_log(path)))
        if _flag(request.query, "follow") and query.limit_bytes is None:
            await _follow(response, container, path, end, query)
        await response.write_eof()
    except ConnectionResetError:
        return response  # the reader has left, which is how a follow ends
    return response


def _log_file(container: Container, *, previous: bool) -> Path | None:
    """Return the file of an attempt; it may not exist yet. None when there was no attempt before."""
    record = container.record
    newest = container.log_path(record.restart_count)
    if not previous:
        return newest
    in_back_off = isinstance(record.state, Waiting) and record.last is not None
    earlier = newest if in_back_off else container.log_path(record.restart_count - 1)
    return earlier if earlier.exists() else None


async def _follow(
    response: web.StreamResponse, container: Container, path: Path, position: int, query: LogQuery
) -> None:
    """Send what is appended until the container's attempt is over or the reader leaves."""
    attempt = container.attempt
    rest = b""
    while True:
        over = attempt is None or container.attempt is not attempt
        appended, position = _appended(path, position)
        *lines, rest = (rest + appended).split(b"\n")
        if lines:
            await response.write(b"".join(query.rendered([line + b"\n" for line in lines])))
        if over:
            return
        await asyncio.sleep(FOLLOW_POLL_S)


def _appended(path: Path, position: int) -> tuple[bytes, int]:
    if not path.exists():
        return b"", position
    size = path.stat().st_size
    if size < position:  # rotated: the end of the older part, then the new one from its start
        with older_part(path).open("rb") as older:
            older.seek(position)
            missed = older.read()
        appended = missed + path.read_bytes()
        return appended, path.stat().st_size
    with path.open("rb") as log:
        log.seek(position)
        appended = log.read()
    return appended, position + len(appended)
