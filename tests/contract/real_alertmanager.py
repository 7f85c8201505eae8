"""A real Alertmanager on loopback, configured as on the local testbed, for contract tests. Nothing is left running."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from testbed.controlplane.build import programs_dir
from testbed.controlplane.console import Progress
from testbed.controlplane.programs import FAMILIES
from tests.contract.scraped import free_port

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0


def until(true: Callable[[], bool], limit_s: float = WAIT_S) -> None:
    """Wait for a condition."""
    deadline_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline_s, f"not within {limit_s:g} s"
        time.sleep(0.1)


def programs() -> Path:
    """Return where ``alertmanager`` and ``amtool`` are."""
    return programs_dir(FAMILIES["drill"], Progress())


@contextlib.contextmanager
def alertmanager(folder: Path, token: str, webhook_port: int) -> Iterator[str]:
    """Run it until the block ends; yields its base URL. Its configuration is ``alertmanager.yaml`` in the folder.

    Args:
        folder: Where everything of it lies.
        token: What it sends to its webhook.
        webhook_port: Where that is.
    """
    port = free_port()
    (folder / "token").write_text(token)
    env = {
        **os.environ, "BIND_IP": "127.0.0.1", "PORT": str(port), "TMPDIR": str(folder),
        "ALERTMANAGER_PROGRAM": str(programs() / "alertmanager"),
        "ALERTMANAGER_TEMPLATE": str(ROOT / "testbed/manifests/components/alerting/alertmanager.yaml.j2"),
        "ALERTMANAGER_DATA_DIR": str(folder / "data"), "WEBHOOK_TOKEN_FILE": str(folder / "token"),
        "DRILL_WEBHOOK_URL": f"http://127.0.0.1:{webhook_port}/hooks/alertmanager",
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "testbed.platform.alertmanager"], env=env, cwd=ROOT, stdout=log, stderr=log
        )
        try:
            until(lambda: _answers(f"http://127.0.0.1:{port}/-/ready") or process.poll() is not None)
            assert process.poll() is None, (folder / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait(10)


def _answers(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=2).ok
        except requests.RequestException:
            return False
