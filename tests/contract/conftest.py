"""A light local testbed for contract tests: a real API server, its controllers and the node agent, once a session.

It takes seconds to boot where the control-plane programs are built or given by ``GAMEDAY_BIN_DIR``. A testbed that does
not come up fails the tests; it never skips them. ``GAMEDAY_CONTRACT_TARGET`` names the target file of a running one
instead.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

UP_LIMIT_S = 1500.0
DOWN_LIMIT_S = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that starts a testbed and is not marked so: `-m "not testbed"` must not start one."""
    for item in items:
        if "light_testbed" in getattr(item, "fixturenames", ()) and item.get_closest_marker("testbed") is None:
            raise pytest.UsageError(f"{item.nodeid} starts a testbed: mark it with pytest.mark.testbed")


@pytest.fixture(scope="session")
def light_testbed(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Boot a testbed, yield its target document (``gameday.target/1``), take it down; logs stay after a failure."""
    given = os.environ.get("GAMEDAY_CONTRACT_TARGET")
    if given:
        yield json.loads(Path(given).read_text())
        return
    name = f"contract-{os.getpid()}"
    up = ["up", "--light", "--without", "reaper", "--name", name, "--owner-pid", str(os.getpid()), "--json"]
    try:
        target = Path(json.loads(_testbed(up, UP_LIMIT_S))["target"])
        yield json.loads(target.read_text())
    finally:
        _testbed(["down", "--name", name], DOWN_LIMIT_S)
    if not request.session.testsfailed:
        shutil.rmtree(target.parent)


def _testbed(arguments: list[str], limit_s: float) -> str:
    command = [sys.executable, "-m", "testbed", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    if done.returncode != 0:
        pytest.fail(f"gameday testbed {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


@pytest.fixture
def real_world(light_testbed: dict[str, Any]) -> Iterator[Any]:
    """A real cluster a test, empty but for its nodes."""
    from tests.contract.cluster_world import RealWorld  # noqa: PLC0415 - other suites do without the client

    found = RealWorld(light_testbed)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def stage(real_world: Any) -> Iterator[Any]:
    """Faults on one real cluster, one at a time."""
    from tests.contract.fault_stage import staged  # noqa: PLC0415 - as above

    with staged(real_world) as found:
        yield found


@pytest.fixture(params=["real", "twin"])
def world(request: pytest.FixtureRequest) -> Any:
    """One cluster a test; every implementation of the ports is a parameter."""
    if request.param == "real":
        return request.getfixturevalue("real_world")
    from tests.contract.twin_world import TwinWorld  # noqa: PLC0415 - as above

    return TwinWorld()
