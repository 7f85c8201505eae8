"""Back-off, grace and the life of one container over real short processes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from testbed.layout import Layout
from testbed.nodeagent.container import Backoff, Container, Grace, Surroundings
from testbed.nodeagent.environment import ContainerConfigError
from testbed.nodeagent.images import ImageError, need_image
from testbed.nodeagent.launcher import Launcher
from testbed.nodeagent.pod_spec import ContainerSpec
from testbed.nodeagent.pod_status import ContainerRecord, Running, Terminated, Waiting
from testbed.nodeagent.runtime import Attempt, Command, PodPlace, Runtime

LIMIT_S = 30.0


def test_the_first_restart_is_at_once_then_the_pause_doubles_up_to_five_minutes() -> None:
    backoff = Backoff()
    assert [backoff.after(0.0) for _ in range(8)] == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_ten_minutes_of_running_forget_the_back_off() -> None:
    backoff = Backoff()
    for _ in range(4):
        backoff.after(1.0)
    assert [backoff.after(600.0), backoff.after(1.0)] == [0.0, 10.0]


def test_a_grace_can_be_shortened_while_it_is_waited_for_but_never_prolonged() -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        grace, never = Grace(30.0), loop.create_future()
        loop.call_later(0.05, grace.shorten, 0.05)
        loop.call_later(0.06, grace.shorten, 60.0)
        began_s = loop.time()
        assert not await grace.wait_for(never)
        return loop.time() - began_s

    assert asyncio.run(run()) < LIMIT_S


def test_a_grace_wait_ends_as_soon_as_what_it_waits_for() -> None:
    async def run() -> bool:
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, done.set_result, None)
        return await Grace(30.0).wait_for(done)

    assert asyncio.run(run())


class Bench:
    """A container over a real launcher, without an API."""

    def __init__(self, folder: Path, command: list[str], policy: str = "Always", **raw: Any) -> None:
        self.folder, self.command, self.raw = folder, command, raw
        self.policy = policy
        self.states: list[str] = []
        self.refusals: list[str | ContainerConfigError] = []
        self.record = ContainerRecord("c", "image", "main")

    async def resolve(self, _spec: ContainerSpec) -> Command:
        if self.refusals:
            refusal = self.refusals.pop(0)
            raise refusal if isinstance(refusal, ContainerConfigError) else ContainerConfigError(refusal)
        return Command(self.command, {"PATH": os.environ["PATH"]}, str(self.folder))

    def changed(self) -> None:
        state = self.record.state
        reason = getattr(state, "reason", "Running")
        if not self.states or self.states[-1] != reason:
            self.states.append(reason)

    def run(self, check: Callable[[Container], Awaitable[None]], **around: Any) -> None:
        asyncio.run(asyncio.wait_for(self._run(check, around), LIMIT_S))

    async def _run(self, check: Callable[[Container], Awaitable[None]], around: dict[str, Any]) -> None:
        launcher, http = Launcher(), aiohttp.ClientSession()
        layout = Layout("test", 0, 21000, self.folder)
        place = PodPlace("uid", "ns", "pod", "general-1", "198.18.1.1", self.folder / "pod")
        spec = ContainerSpec("c", "main", {"name": "c", "image": "image", **self.raw})
        surroundings = Surroundings(
            place, Runtime(layout, launcher, None, http), self.policy, self.changed, self.resolve, nothing, no_hook
        )
        try:
            await check(Container(spec, self.record, replace(surroundings, **around)))
        finally:
            await launcher.close()
            await http.close()


async def nothing(_container: Container, _attempt: Attempt) -> None:
    return


async def no_hook(_container: Container, _attempt: Attempt, _grace: Grace) -> None:
    return


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("policy", "code", "restarted"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 3, True), ("Never", 3, False)],
)
def test_a_container_restarts_as_its_policy_says(tmp_path: Path, policy: str, code: int, restarted: bool) -> None:
    bench = Bench(tmp_path, ["sh", "-c", f"exit {code}"], policy)

    async def check(container: Container) -> None:
        container.start()
        if restarted:
            await until(lambda: isinstance(bench.record.state, Waiting) and bench.record.last is not None)
            await container.kill()
        else:
            await container.finished()

    bench.run(check)
    if restarted:
        assert isinstance(bench.record.state, Waiting)
        assert bench.record.state.reason == "CrashLoopBackOff"
        assert "back-off 10s restarting failed container=c pod=pod_ns(uid)" in bench.record.state.message
        assert bench.record.restart_count == 1  # the second restart waits for its back-off
    else:
        assert isinstance(bench.record.state, Terminated)
        assert (bench.record.state.exit_code, bench.record.restart_count) == (code, 0)


def test_each_attempt_has_its_own_log(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["sh", "-c", "echo hello; exit 1"])

    async def check(container: Container) -> None:
        container.start()
        await until(lambda: isinstance(bench.record.state, Waiting) and bench.record.last is not None)
        await container.kill()
        for attempt in (0, 1):
            assert b"hello" in container.log_path(attempt).read_bytes()

    bench.run(check)


def test_what_is_not_yet_configured_waits_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.nodeagent.container.CONFIG_RETRY_S", 0.01)
    bench = Bench(tmp_path, ["sleep", "60"])
    bench.refusals = ['configmap "later" not found'] * 2

    async def check(container: Container) -> None:
        container.start()
        await until(lambda: isinstance(bench.record.state, Running))
        await container.kill()

    bench.run(check)
    assert bench.states == ["CreateContainerConfigError", "Running", "Error"]
    assert bench.record.restart_count == 0


def image(name: str, **raw: Any) -> ContainerSpec:
    return ContainerSpec("c", "main", {"name": "c", "image": name, **raw})


@pytest.mark.parametrize(
    "name", ["gameday-platform:dev", "docker.io/library/gameday-platform:dev", "sleep", "x/y:z", ""]
)
def test_images_that_the_nodes_can_have(name: str) -> None:
    need_image(image(name))


@pytest.mark.parametrize("name", ["gameday-platform:v2", "gameday-platform", "gameday-platform@sha256:abc"])
def test_a_tag_of_the_platform_that_does_not_exist_is_not_found_in_the_runtimes_words(name: str) -> None:
    with pytest.raises(
        ImageError, match=r'failed to resolve reference "docker\.io/library/gameday-platform.*not found'
    ):
        need_image(image(name))


def test_an_image_that_must_not_be_pulled_is_not_tried() -> None:
    with pytest.raises(ImageError, match="pull policy of Never") as failed:
        need_image(image("gameday-platform:v2", imagePullPolicy="Never"))
    assert not failed.value.pulls


def test_a_container_without_its_image_shows_the_pull_then_the_wait_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("testbed.nodeagent.container.PULL_SHOWN_S", 0.01)
    monkeypatch.setattr("testbed.nodeagent.container.BACKOFF_FIRST_S", 0.01)
    bench = Bench(tmp_path, ["sleep", "60"])
    bench.refusals = [ImageError("i:1", "not found", pulls=True), ImageError("i:1", "never", pulls=False)]
    monkeypatch.setattr("testbed.nodeagent.container.CONFIG_RETRY_S", 0.01)

    async def check(container: Container) -> None:
        container.start()
        await until(lambda: isinstance(bench.record.state, Running))
        await container.kill()

    bench.run(check)
    assert bench.states == ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "Running", "Error"]
    assert bench.record.restart_count == 0


def test_a_program_that_is_not_there_backs_off_like_one_that_fails(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["no-such-program"])

    async def check(container: Container) -> None:
        container.start()
        await until(lambda: isinstance(bench.record.state, Waiting) and bench.record.last is not None)
        await container.kill()

    bench.run(check)
    assert bench.record.last is not None
    assert (bench.record.last.exit_code, bench.record.last.reason) == (128, "StartError")
    assert bench.record.restart_count == 1


@pytest.mark.parametrize(
    ("on_term", "grace_s", "code"), [("exit 0", 10.0, 0), ("", 0.1, 137)], ids=["it ends", "it ignores SIGTERM"]
)
def test_stopping_sends_sigterm_first_and_kills_when_the_grace_is_over(
    tmp_path: Path, on_term: str, grace_s: float, code: int
) -> None:
    bench = Bench(tmp_path, ["sh", "-c", f"trap '{on_term}' TERM; echo up; while true; do sleep 0.05; done"])

    async def check(container: Container) -> None:
        container.start()
        await until(lambda: container.log_path(0).exists() and b"up" in container.log_path(0).read_bytes())
        await container.stop(Grace(grace_s))

    bench.run(check)
    assert isinstance(bench.record.state, Terminated)
    assert bench.record.state.exit_code == code
    assert code or bench.record.state.reason == "Completed"


def test_a_container_stopped_while_its_fork_is_in_flight_does_not_stay(tmp_path: Path) -> None:
    # a leaked process would hold the pod's address and answer the next pod's probes
    bench = Bench(tmp_path, ["sleep", "60"])

    async def check(container: Container) -> None:
        container.start()
        await asyncio.sleep(0)
        await container.kill()
        assert container.attempt is None
        assert not isinstance(bench.record.state, Running)

    bench.run(check)


def test_a_container_with_a_startup_probe_is_not_started_until_it_passed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["sleep", "60"], startupProbe={"exec": {"command": ["true"]}})

    async def check(container: Container) -> None:
        container.start()
        await until(lambda: isinstance(bench.record.state, Running))
        assert not bench.record.started
        assert not bench.record.ready
        container.mark_started()
        await container.has_started()
        await container.kill()

    bench.run(check)


def test_a_frozen_container_makes_no_progress_until_it_is_thawed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["sh", "-c", "while true; do echo tick; sleep 0.02; done"])

    async def check(container: Container) -> None:
        container.start()
        log = container.log_path(0)
        await until(lambda: log.exists() and log.stat().st_size > 0)
        container.freeze()
        await asyncio.sleep(0.3)  # what was already in the pipe
        size = log.stat().st_size
        await asyncio.sleep(0.3)
        assert log.stat().st_size == size
        container.thaw()
        await until(lambda: log.stat().st_size > size)
        await container.kill()

    bench.run(check)


def test_a_crash_is_restarted_as_the_policy_says_and_none_is_told_without_a_process(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["sleep", "60"])

    async def check(container: Container) -> None:
        assert not container.crash()
        container.start()
        await until(lambda: container.attempt is not None)
        assert container.crash()
        await until(lambda: bench.record.restart_count == 1 and container.attempt is not None)
        assert bench.record.last is not None
        assert bench.record.last.exit_code == 137
        await container.kill()
        assert not container.crash()

    bench.run(check)
