"""Decoding of watch streams, and list-and-watch against a scripted API."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from testbed.nodeagent.api import ApiError
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.watching import EventDecoder, follow


def obj(name: str, version: int) -> Obj:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def line(kind: str, body: Obj) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_events_are_found_however_the_stream_is_cut_and_however_long_a_line_is(size: int) -> None:
    big = {**obj("big", 2), "data": "x" * 70_000}  # longer than the 64 KiB that StreamReader.readline takes
    stream = line("ADDED", obj("a", 1)) + line("MODIFIED", big) + b"\n" + line("DELETED", obj("a", 3))
    decoder = EventDecoder()
    events = [event for at in range(0, len(stream), size) for event in decoder.feed(stream[at : at + size])]
    assert [(event.kind, event.obj["metadata"]["name"]) for event in events] == [
        ("ADDED", "a"), ("MODIFIED", "big"), ("DELETED", "a"),
    ]  # fmt: skip


class ScriptedApi:
    """Answers lists and watches in turn; the last watch hangs until the test is over."""

    def __init__(self, lists: list[Obj | ApiError], watches: list[list[bytes | ApiError]]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str] = []
        self.exhausted = asyncio.Event()

    async def request(self, _method: str, _path: str, params: Mapping[str, str] | None = None) -> Obj:
        self.asked.append("list")
        answer = self.lists.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    @asynccontextmanager
    async def stream(self, _path: str, params: Mapping[str, str], _silence_s: float) -> AsyncIterator[Any]:
        self.asked.append(f"watch {params['resourceVersion']}")
        assert params["allowWatchBookmarks"] == "true"
        yield self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        if not self.watches:
            self.exhausted.set()
            await asyncio.sleep(60)
        for chunk in self.watches.pop(0):
            if isinstance(chunk, ApiError):
                raise chunk
            yield chunk


class Recorder:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def synced(self, objects: list[Obj]) -> None:
        self.seen.append("synced " + ",".join(found["metadata"]["name"] for found in objects))

    def changed(self, kind: str, found: Obj) -> None:
        self.seen.append(f"{kind} {found['metadata']['name']}")


def listing(version: int, *names: str) -> Obj:
    return {"metadata": {"resourceVersion": str(version)}, "items": [obj(name, version) for name in names]}


def followed(lists: list[Obj | ApiError], watches: list[list[bytes | ApiError]]) -> tuple[list[str], list[str]]:
    async def run() -> tuple[list[str], list[str]]:
        api, recorder = ScriptedApi(lists, watches), Recorder()
        task = asyncio.create_task(follow(api, "/x", recorder))  # type: ignore[arg-type]
        await asyncio.wait_for(api.exhausted.wait(), 10)
        task.cancel()
        return api.asked, recorder.seen

    return asyncio.run(run())


def test_a_watch_that_ends_resumes_from_the_newest_version_also_of_a_bookmark() -> None:
    watches: list[list[bytes | ApiError]] = [[line("ADDED", obj("b", 7)), line("BOOKMARK", obj("", 9))]]
    asked, seen = followed([listing(5, "a")], watches)
    assert asked == ["list", "watch 5", "watch 9"]
    assert seen == ["synced a", "ADDED b"]


def test_an_expired_version_inside_a_good_answer_leads_to_a_new_list() -> None:
    gone = line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    asked, seen = followed([listing(5, "a"), listing(20, "c")], [[gone]])
    assert asked == ["list", "watch 5", "list", "watch 20"]
    assert seen == ["synced a", "synced c"]


def test_a_refused_version_leads_to_a_new_list() -> None:
    asked, _ = followed([listing(5), listing(6)], [[ApiError(410, "Gone", "too old")]])
    assert asked == ["list", "watch 5", "list", "watch 6"]


def test_a_broken_connection_resumes_without_a_new_list() -> None:
    asked, seen = followed([listing(5)], [[line("ADDED", obj("b", 7)), ApiError(0, "Unreachable", "reset")]])
    assert asked == ["list", "watch 5", "watch 7"]
    assert seen == ["synced ", "ADDED b"]


def test_a_list_that_fails_is_tried_again() -> None:
    asked, _ = followed([ApiError(0, "Unreachable", "refused"), listing(5)], [])
    assert asked == ["list", "list", "watch 5"]
