"""The fork server with real processes: modules, programs, exits, signals, and that nothing outlives it."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from testbed.nodeagent.container_log import OutputPipe
from testbed.nodeagent.launcher import LOST, Launch, Launcher, LaunchError, Process, resolve, runs_as_module

LIMIT_S = 30.0
Check = Callable[[Launcher], Awaitable[None]]


def with_launcher(check: Check) -> None:
    async def run() -> None:
        launcher = Launcher()
        await launcher.start()
        try:
            await asyncio.wait_for(check(launcher), LIMIT_S)
        finally:
            await launcher.close()

    asyncio.run(run())


async def ran(launcher: Launcher, argv: list[str], cwd: Path, **env: str) -> tuple[int, str]:
    said = bytearray()
    pipe = OutputPipe(said.extend)
    given = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}", **env}
    process = await launcher.launch(Launch(argv, given, str(cwd)), pipe.write_end)
    status = await process.exited
    await pipe.drained
    return status, said.decode()


async def sleeping(launcher: Launcher, *argv: str) -> Process:
    pipe = OutputPipe(lambda _: None)
    command = list(argv) or ["sleep", "60"]
    return await launcher.launch(Launch(command, {"PATH": os.environ["PATH"]}, "/"), pipe.write_end)


def test_a_program_runs_with_its_own_environment_and_folder_and_its_exit_code_is_told(tmp_path: Path) -> None:
    async def check(launcher: Launcher) -> None:
        code, said = await ran(launcher, ["sh", "-c", "echo $A; pwd; env | grep -c GAMEDAY; exit 7"], tmp_path, A="1")
        assert code == 7
        assert said == f"1\n{tmp_path}\n0\n"

    with_launcher(check)


def test_a_process_whose_end_is_told_together_with_its_start_is_a_process_that_ended() -> None:
    async def check(launcher: Launcher) -> None:
        launching = asyncio.create_task(sleeping(launcher, "sleep", "0"))
        while not launcher._replies:
            await asyncio.sleep(0)
        launcher._received({"id": 1, "pid": 4242})
        launcher._received({"exit": 4242, "status": 3})
        assert await (await launching).exited == 3
        launcher._received = lambda message: None  # type: ignore[method-assign]  # the real answer finds nobody

    with_launcher(check)


def test_a_module_is_forked_and_sees_itself_as_started_by_python(tmp_path: Path) -> None:
    (tmp_path / "probe_module.py").write_text(
        "import sys, os\n"
        "if __name__ == '__main__':\n"
        "    print(sys.argv[1:], os.environ['A'], 'aiohttp' in sys.modules)\n"
        "    sys.exit(5)\n"
    )

    async def check(launcher: Launcher) -> None:
        argv = ["python", "-m", "probe_module", "x", "y"]
        assert await ran(launcher, argv, tmp_path, A="1", PYTHONPATH=str(tmp_path)) == (5, "['x', 'y'] 1 True\n")

    with_launcher(check)


def test_an_exception_of_a_module_ends_it_with_a_traceback_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('on purpose')\n")

    async def check(launcher: Launcher) -> None:
        code, said = await ran(launcher, ["python", "-m", "broken_module"], tmp_path, PYTHONPATH=str(tmp_path))
        assert code == 1
        assert "RuntimeError: on purpose" in said

    with_launcher(check)


def test_a_module_that_is_preloaded_for_all_can_be_run_without_a_warning(tmp_path: Path) -> None:
    async def check(launcher: Launcher) -> None:
        code, said = await ran(launcher, ["python", "-m", "http.server", "--help"], tmp_path)
        assert code == 0
        assert "Warning" not in said

    with_launcher(check)


def test_each_process_leads_its_own_session_and_inherits_no_descriptor(tmp_path: Path) -> None:
    async def check(launcher: Launcher) -> None:
        script = "import os; print(os.getsid(0) == os.getpid(), sorted(os.listdir('/proc/self/fd'))[:-1])"
        code, said = await ran(launcher, ["python", "-c", script], tmp_path)
        assert (code, said) == (0, "True ['0', '1', '2']\n")

    with_launcher(check)


def test_a_killed_process_is_told_with_its_signal() -> None:
    async def check(launcher: Launcher) -> None:
        process = await sleeping(launcher)
        launcher.signal(process, signal.SIGKILL)
        assert await process.exited == -signal.SIGKILL
        assert not process.alive
        launcher.signal(process, signal.SIGKILL)  # its number may be somebody else's by now: not sent

    with_launcher(check)


def test_what_a_process_started_goes_when_it_ends(tmp_path: Path) -> None:
    async def check(launcher: Launcher) -> None:
        code, said = await ran(launcher, ["sh", "-c", "sleep 60 & echo $!; exit 0"], tmp_path)
        assert code == 0
        psutil.wait_procs([found for found in psutil.process_iter() if found.pid == int(said)], timeout=5)
        assert not psutil.pid_exists(int(said)) or psutil.Process(int(said)).status() == psutil.STATUS_ZOMBIE

    with_launcher(check)


def test_a_launch_that_nobody_waits_for_any_more_is_killed() -> None:
    async def check(launcher: Launcher) -> None:
        before = set(psutil.Process().children(recursive=True))
        starting = asyncio.create_task(sleeping(launcher))
        await asyncio.sleep(0)  # the request is sent, the answer is not here yet
        starting.cancel()
        await asyncio.wait({starting})
        if starting.cancelled():
            for _ in range(100):
                left = [found for found in psutil.Process().children(recursive=True) if found not in before]
                if not left:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError(f"still there: {left}")

    with_launcher(check)


def test_when_the_fork_server_dies_its_processes_die_and_the_next_launch_gets_another_one() -> None:
    async def check(launcher: Launcher) -> None:
        process = await sleeping(launcher)
        zygote = psutil.Process(process.pid).parent()
        assert zygote is not None
        zygote.kill()
        assert await process.exited == LOST
        psutil.wait_procs([found for found in psutil.process_iter() if found.pid == process.pid], timeout=5)
        assert (await sleeping(launcher, "true")).pid != process.pid

    with_launcher(check)


def test_a_program_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(LaunchError, match='"no-such-program": executable file not found'):
        resolve(["no-such-program"], {"PATH": "/usr/bin"})


def test_an_environment_that_is_too_big_is_a_clear_error(tmp_path: Path) -> None:
    async def check(launcher: Launcher) -> None:
        with pytest.raises(LaunchError, match="environment of"):
            await ran(launcher, ["true"], tmp_path, BIG="x" * 10_000_000)
        assert (await ran(launcher, ["true"], tmp_path))[0] == 0

    with_launcher(check)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["python", "-m", "x"], True),
        ([sys.executable, "-m", "x", "y"], True),
        (["python", "-u", "-m", "x"], False),
        (["python", "-c", "x"], False),
        (["python", "-m"], False),
        (["redis-server"], False),
    ],
)
def test_only_python_dash_m_is_forked(argv: list[str], expected: bool) -> None:
    assert runs_as_module(argv) is expected
