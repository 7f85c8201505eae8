"""Status PATCHes of a pod: one at a time, retried, repaired, never to a namesake."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from testbed.nodeagent.api import ApiError
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.pod_status import ContainerRecord, Running
from testbed.nodeagent.status_writer import PodView, StatusWriter

NOW = "2026-01-01T00:00:00Z"


def pod(version: int = 1, **status: Any) -> Obj:
    meta = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": str(version), "generation": 3}
    return {"metadata": meta, "spec": {"containers": [{"name": "c"}]}, "status": status}


class FakeApi:
    """Takes PATCHes like the API server; `failures` are raised first."""

    def __init__(self, failures: list[ApiError] | None = None, answer_s: float = 0.0) -> None:
        self.failures, self.answer_s = failures or [], answer_s
        self.bodies: list[Obj] = []
        self.open = self.open_max = 0
        self.version = 10
        self.overtaken = False

    async def request(self, method: str, path: str, body: Obj, *, content_type: str) -> Obj:
        assert (method, path) == ("PATCH", "/api/v1/namespaces/n/pods/p/status")
        assert "strategic" in content_type
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        await asyncio.sleep(self.answer_s)
        self.open -= 1
        if self.failures:
            raise self.failures.pop(0)
        self.bodies.append(body)
        self.version += 1
        if self.overtaken:
            self.overtaken = False
            self.version = 60
            return pod(49, **body["status"])  # somebody else wrote 50 after this
        return pod(self.version, **body["status"])


def with_writer(api: FakeApi, check: Callable[[StatusWriter, ContainerRecord], Awaitable[None]]) -> None:
    async def run() -> None:
        record = ContainerRecord("c", "i", "main", Running(NOW), ready=True, started=True)
        view = PodView(pod(), "198.18.1.1", "127.45.0.1", "Always", {"c": record})
        await asyncio.wait_for(check(StatusWriter(api, view), record), 20)  # type: ignore[arg-type]

    asyncio.run(run())


def ready(body: Obj) -> str:
    return next(str(c["status"]) for c in body["status"]["conditions"] if c["type"] == "Ready")


def test_changes_while_a_patch_is_under_way_wait_for_its_answer_and_go_in_one() -> None:
    api = FakeApi(answer_s=0.05)

    async def check(writer: StatusWriter, record: ContainerRecord) -> None:
        writer.mark()
        await asyncio.sleep(0.02)
        for value in (False, True, False):
            record.ready = value
            writer.mark()
        await writer.flush()

    with_writer(api, check)
    assert [ready(body) for body in api.bodies] == ["True", "False"]
    assert api.open_max == 1


def test_a_transient_failure_is_tried_again_with_the_newest_state() -> None:
    # a restarted API server forbids everything until it has read its roles
    api = FakeApi([ApiError(0, "Unreachable", "x"), ApiError(403, "Forbidden", "x")])

    async def check(writer: StatusWriter, record: ContainerRecord) -> None:
        writer.mark()
        await asyncio.sleep(0.05)
        record.ready = False
        await writer.flush()

    with_writer(api, check)
    assert [ready(body) for body in api.bodies] == ["False"]


def test_the_patch_names_the_uid_and_a_pod_that_is_gone_or_a_namesake_is_left_alone() -> None:
    api = FakeApi([ApiError(409, "Conflict", "uid")])

    async def check(writer: StatusWriter, _record: ContainerRecord) -> None:
        assert writer.view.body(NOW)["metadata"] == {"uid": "u"}
        writer.mark()
        await writer.flush()
        writer.mark()
        await writer.flush()

    with_writer(api, check)
    assert api.bodies == []


def test_ready_is_written_again_when_somebody_else_overwrote_it() -> None:
    api = FakeApi()

    async def check(writer: StatusWriter, _record: ContainerRecord) -> None:
        writer.mark()
        await writer.flush()
        overwritten = pod(50, phase="Running", conditions=[{"type": "Ready", "status": "False"}])
        api.version = 50
        writer.seen(overwritten)
        await writer.flush()

    with_writer(api, check)
    assert [ready(body) for body in api.bodies] == ["True", "True"]


def test_our_own_write_seen_by_the_watch_is_not_taken_for_somebody_elses() -> None:
    api = FakeApi()

    async def check(writer: StatusWriter, _record: ContainerRecord) -> None:
        writer.mark()
        await writer.flush()
        writer.seen(pod(11, **api.bodies[0]["status"]))
        writer.seen(pod(2, phase="Pending"))  # an older event that comes late
        await writer.flush()

    with_writer(api, check)
    assert len(api.bodies) == 1


def test_a_write_of_somebody_else_during_our_own_is_repaired_after_the_answer() -> None:
    api = FakeApi(answer_s=0.05)
    api.overtaken = True

    async def check(writer: StatusWriter, _record: ContainerRecord) -> None:
        writer.mark()
        await asyncio.sleep(0.02)
        writer.seen(pod(50, phase="Running", conditions=[{"type": "Ready", "status": "False"}]))
        await writer.flush()

    with_writer(api, check)
    assert len(api.bodies) == 2


def test_a_silenced_writer_says_nothing() -> None:
    api = FakeApi()

    async def check(writer: StatusWriter, _record: ContainerRecord) -> None:
        writer.silence()
        writer.mark()
        await writer.flush()

    with_writer(api, check)
    assert api.bodies == []


def test_a_new_address_replaces_the_old_one_instead_of_being_added() -> None:
    view = PodView(
        pod(podIP="198.18.1.9"), "198.18.1.1", "127.45.0.1", "Always", {"c": ContainerRecord("c", "i", "main")}
    )
    assert view.body(NOW)["status"]["podIPs"] == [{"$patch": "replace"}, {"ip": "198.18.1.1"}]
    view.obj = pod(podIP="198.18.1.1")
    assert view.body(NOW)["status"]["podIPs"] == [{"ip": "198.18.1.1"}]


def test_a_terminal_phase_is_never_left() -> None:
    view = PodView(pod(phase="Failed"), "198.18.1.1", "127.45.0.1", "Always", {"c": ContainerRecord("c", "i", "main")})
    assert view.body(NOW)["status"]["phase"] == "Failed"


def test_a_pod_that_failed_as_a_whole_says_why() -> None:
    view = PodView(pod(), "198.18.1.1", "127.45.0.1", "Always", {"c": ContainerRecord("c", "i", "main")})
    view.ended, view.reason, view.message = True, "DeadlineExceeded", "too long"
    status = view.body(NOW)["status"]
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too long")
