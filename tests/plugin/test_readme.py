"""The README is true: each command is run, here (those that need no cluster) or by `.ci/run` and other tests."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.registries import PROJECT_DIR

LIMIT_S = 180.0
README = (PROJECT_DIR / "README.md").read_text()
COMMANDS = [line.split("  #")[0].strip() for line in re.findall(r"^\$ (.*)$", README, re.MULTILINE)]
RUN_ELSEWHERE = {
    "make gameday": ".ci/run",
    "make test": ".ci/run",
    ". .venv/bin/activate": "the tests run inside it",
    "gameday testbed up": "tests/e2e",
    "gameday testbed status": "tests/e2e",
    'eval "$(gameday testbed env)"': "tests/e2e",
    "kubectl -n agents get pods,hpa,pdb": "tests/e2e",
    "gameday run pod-kill-under-burst --target local": "tests/e2e",
    "gameday testbed down": "tests/e2e",
    "make drill-demo": "tests/e2e",
    "gameday drill scaling-failure bad-rollout --target local": "tests/e2e",
    "make gameday-kind": "needs a container engine; the nightly workflow",
    "pytest -m gameday --target local -k pod-kill-under-burst": "tests/plugin (against the twin)",
}
OTHERS_CLUSTER = ("gameday init", "gameday deploy", "gameday doctor", "pytest -m gameday --target staging")
HERE = [c for c in COMMANDS if c not in RUN_ELSEWHERE and not c.startswith(OTHERS_CLUSTER)]


def test_the_readme_has_commands_of_every_kind():
    assert set(RUN_ELSEWHERE) <= set(COMMANDS)
    assert len(HERE) >= 4


def test_the_commands_that_need_no_cluster_run_in_the_order_of_the_readme(tmp_path):
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in HERE:
        done = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(((?:docs/|CHANGELOG)[^)#]*)\)", README))))
def test_every_link_of_the_readme_leads_somewhere(link):
    assert (PROJECT_DIR / link).exists()
