"""The GPU mock against a kubelet's double over real gRPC sockets: it registers, tells its devices, hands them out."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
import requests

from testbed.kind.device_api import KUBELET_SOCKET, VERSION, message

LIMIT_S = 20.0


class KubeletDouble:
    """Serves Registration, and asks the plugin as the kubelet does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self._server = grpc.aio.server()

    async def _register(self, request: Any, _context: Any) -> Any:
        self.requests.put_nowait(request)
        return message("Empty")()

    async def start(self) -> None:
        handler = grpc.unary_unary_rpc_method_handler(
            self._register,
            request_deserializer=message("RegisterRequest").FromString,
            response_serializer=message("Empty").SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(f"{VERSION}.Registration", {"Register": handler})
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(f"unix://{self.folder / KUBELET_SOCKET}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)

    async def registration(self) -> Any:
        return await asyncio.wait_for(self.requests.get(), LIMIT_S)


class PluginClient:
    """The kubelet's side of one plugin."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.stream = channel.unary_stream(
            f"/{VERSION}.DevicePlugin/ListAndWatch",
            request_serializer=message("Empty").SerializeToString,
            response_deserializer=message("ListAndWatchResponse").FromString,
        )(message("Empty")())

    async def devices(self) -> dict[str, str]:
        answer = await asyncio.wait_for(self.stream.read(), LIMIT_S)
        return {one.ID: one.health for one in answer.devices}

    async def allocate(self, *uuids: str, timeout_s: float = LIMIT_S) -> dict[str, str]:
        call = self._channel.unary_unary(
            f"/{VERSION}.DevicePlugin/Allocate",
            request_serializer=message("AllocateRequest").SerializeToString,
            response_deserializer=message("AllocateResponse").FromString,
        )
        asked = message("ContainerAllocateRequest")(devices_ids=list(uuids))
        answer = await call(message("AllocateRequest")(container_requests=[asked]), timeout=timeout_s)
        return {entry.key: entry.value for entry in answer.container_responses[0].envs}


@asynccontextmanager
async def asked(folder: Path, endpoint: str) -> AsyncIterator[PluginClient]:
    async with grpc.aio.insecure_channel(f"unix://{folder / endpoint}") as channel:
        yield PluginClient(channel)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class World:
    """A plugin's process, its folder and its order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._order = folder / "order.json"

    def order(self, **order: Any) -> None:
        part = self._order.with_suffix(".part")
        part.write_text(json.dumps(order))
        part.rename(self._order)

    def start(self) -> subprocess.Popen[str]:
        environment = {
            **os.environ, "NODE_NAME": "gpu-1", "PLUGINS_DIR": str(self.folder), "DEVICES_FILE": str(self._order),
            "BIND_IP": "127.0.0.1", "PORT": str(self.port),
        }  # fmt: skip
        command = [sys.executable, "-m", "testbed.kind.device_plugin"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def metrics(self) -> str:
        session = requests.Session()
        session.trust_env = False
        return session.get(f"http://127.0.0.1:{self.port}/metrics", timeout=LIMIT_S).text


@pytest.fixture
def world() -> Iterator[World]:
    with TemporaryDirectory(prefix="gd-") as short:  # the path of a unix socket has 107 bytes at most
        yield World(Path(short))


@contextmanager
def running(world: World) -> Iterator[subprocess.Popen[str]]:
    process = world.start()
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, f"{out}\n{err}"
        assert "Traceback" not in err, err


def played(world: World, play: Any) -> None:
    """Run `play(kubelet)` with a plugin that has registered."""

    async def scene() -> None:
        kubelet = KubeletDouble(world.folder)
        await kubelet.start()
        with running(world):
            request = await kubelet.registration()
            assert (request.version, request.resource_name) == ("v1beta1", "nvidia.com/gpu")
            await play(kubelet, request.endpoint)
        await kubelet.stop()

    asyncio.run(scene())


def test_devices_are_told_turn_sick_and_well_and_are_handed_out_by_name(world: World) -> None:
    world.order(count=3)

    async def play(kubelet: KubeletDouble, endpoint: str) -> None:
        async with asked(kubelet.folder, endpoint) as plugin:
            whole = await plugin.devices()
            assert len(whole) == 3 and set(whole.values()) == {"Healthy"}
            first, second, third = whole
            assert await plugin.allocate(first, third) == {"NVIDIA_VISIBLE_DEVICES": f"{first},{third}"}
            world.order(count=3, sick=[1])
            assert await plugin.devices() == {**whole, second: "Unhealthy"}
            assert f'UUID="{second}"' in world.metrics() and "DCGM_FI_DEV_XID_ERRORS" in world.metrics()
            world.order(count=3)
            assert await plugin.devices() == whole

    played(world, play)


def test_devices_drop_to_fewer_and_one_that_is_gone_is_not_handed_out(world: World) -> None:
    world.order(count=4)

    async def play(kubelet: KubeletDouble, endpoint: str) -> None:
        async with asked(kubelet.folder, endpoint) as plugin:
            *_, last = await plugin.devices()
            world.order(count=2)
            assert len(await plugin.devices()) == 2
            with pytest.raises(grpc.aio.AioRpcError, match="no such device"):
                await plugin.allocate(last)

    played(world, play)


def test_a_plugin_that_hangs_answers_nothing_until_it_is_told_to_go_on(world: World) -> None:
    world.order(count=1)

    async def play(kubelet: KubeletDouble, endpoint: str) -> None:
        async with asked(kubelet.folder, endpoint) as plugin:
            (only,) = await plugin.devices()
            world.order(count=1, mode="hang")
            while "hang" not in await asyncio.to_thread(_mode_of, world):
                await asyncio.sleep(0.1)
            waiting = asyncio.ensure_future(plugin.allocate(only))
            done, _ = await asyncio.wait([waiting], timeout=1.0)
            assert not done
            world.order(count=1)
            assert await waiting == {"NVIDIA_VISIBLE_DEVICES": only}

    played(world, play)


def _mode_of(world: World) -> str:
    return next(
        line for line in world.metrics().splitlines() if line.startswith("gpu_mock_mode{") and line.endswith(" 1.0")
    )


def test_g02_a_plugin_that_vanishes_takes_its_socket_away_and_registers_again(world: World) -> None:
    world.order(count=2)

    async def play(kubelet: KubeletDouble, endpoint: str) -> None:
        async with asked(kubelet.folder, endpoint) as plugin:
            assert len(await plugin.devices()) == 2
            world.order(count=2, mode="gone")
            with pytest.raises(grpc.aio.AioRpcError):
                await plugin.devices()
        assert not (kubelet.folder / endpoint).exists()
        world.order(count=2)
        again = await kubelet.registration()
        async with asked(kubelet.folder, again.endpoint) as plugin:
            assert len(await plugin.devices()) == 2

    played(world, play)


def test_g01_a_kubelet_that_starts_anew_clears_the_folder_and_is_registered_with_again(world: World) -> None:
    async def play(kubelet: KubeletDouble, endpoint: str) -> None:
        (kubelet.folder / endpoint).unlink()
        again = await kubelet.registration()
        async with asked(kubelet.folder, again.endpoint) as plugin:
            assert len(await plugin.devices()) == 4, "no order: the default"

    played(world, play)


def test_an_order_that_makes_no_sense_leaves_the_last_one_standing(world: World) -> None:
    world.order(count=2)

    async def play(kubelet: KubeletDouble, endpoint: str) -> None:
        async with asked(kubelet.folder, endpoint) as plugin:
            assert len(await plugin.devices()) == 2
            world.order(count=-1)
            await asyncio.sleep(2.0)
            world.order(count=3)
            assert len(await plugin.devices()) == 3

    played(world, play)
