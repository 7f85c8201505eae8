"""What a pod leaves behind when the agent itself fails, over a real short process and without an API server."""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from testbed.layout import Layout
from testbed.nodeagent.container import Container
from testbed.nodeagent.environment import PodFacts
from testbed.nodeagent.launcher import Launcher
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.pod import Pod, PodMeans
from testbed.nodeagent.runtime import PodPlace, Runtime

LIMIT_S = 30.0
META = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1", "generation": 1}
OBJ: Obj = {
    "metadata": META,
    "spec": {"nodeName": "general-1", "containers": [{"name": "c", "command": ["sleep", "600"]}]},
    "status": {"phase": "Pending"},
}


class FakeApi:
    """Takes every PATCH of the status."""

    async def request(self, _method: str, _path: str, body: Obj, **_: Any) -> Obj:
        return {**OBJ, "status": body.get("status", {})}


async def _broken(container: Container) -> None:
    while container.attempt is None:
        await asyncio.sleep(0.01)
    raise RuntimeError("a fault of the agent's own")


def test_a_pod_that_fails_in_the_agent_leaves_no_process_that_holds_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Container, "finished", _broken)
    released: list[bool] = []

    async def run() -> tuple[Pod, list[int]]:
        launcher, http = Launcher(), aiohttp.ClientSession()
        place = PodPlace("u", "n", "p", "general-1", "198.18.1.1", tmp_path / "pod")
        runtime = Runtime(Layout("test", 0, 21000, tmp_path), launcher, None, http)
        means = PodMeans(place, runtime, FakeApi(), lambda: released.append(_alive(pids) == []))  # type: ignore[arg-type]
        pids: list[int] = []
        pod = Pod(OBJ, PodFacts(OBJ, "198.18.1.1", "127.45.0.1", {}), means)
        try:
            while pod.containers[0].attempt is None:
                await asyncio.sleep(0)
            pids.append(pod.containers[0].attempt.process.pid)
            with pytest.raises(RuntimeError, match="agent's own"):
                await asyncio.wait_for(pod.done, LIMIT_S)
        finally:
            await launcher.close()
            await http.close()
        return pod, pids

    pod, pids = asyncio.run(run())
    assert len(pids) == 1
    assert pids[0] != os.getpid()
    assert released == [True]  # the address was free only after the process was gone
    assert pod.containers[0].attempt is None


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid)]
