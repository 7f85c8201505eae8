"""The tables of `harness.runbook_kubectl` against a real kubectl, the shipped runbooks against a real API server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.registries import PROJECT_DIR
from harness.runbook import read_runbook
from harness.runbook_kubectl import VERBS, kind_of
from harness.runbook_run import CommandResult, run_command

KUBECTL = shutil.which("kubectl") or str(Path(sys.executable).parent / "kubectl")
OWN = [name for name in VERBS if not name.startswith("argo ")]
SHIPPED = sorted((PROJECT_DIR / "runbooks").glob("*.md"))
Run = Callable[..., CommandResult]


def told(*arguments: str) -> str:
    result = subprocess.run(
        [KUBECTL, *arguments], capture_output=True, text=True, timeout=30, check=True, env={"HOME": "/nonexistent"}
    )
    return result.stdout


@pytest.mark.parametrize("verb", OWN)
def test_every_flag_of_the_tables_is_one_of_kubectls(verb: str) -> None:
    """Also of the right kind: a switch has a default of true or false, a value has none of them."""
    found = dict(re.findall(r"^\s+(?:-\w, )?--([\w-]+)=(.*):$", told(*verb.split(), "--help"), re.MULTILINE))
    known = VERBS[verb]
    assert known.switches | known.values <= set(found)
    for name in known.switches:
        assert found[name] in {"true", "false"}, name
    for name in known.values:
        assert found[name] not in {"true", "false"}, name


@pytest.fixture
def run(light_testbed: dict[str, Any]) -> Run:
    environ = dict(os.environ) | {"PATH": f"{Path(KUBECTL).parent}:{os.environ['PATH']}"}
    kubeconfig = Path(light_testbed["kubeconfig"])
    return partial(
        run_command, environ=environ, kubeconfig=kubeconfig, context="", allow_changes=False, folder=PROJECT_DIR
    )


@pytest.mark.testbed
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_reading_command_that_is_shipped_is_understood_by_kubectl_and_its_filters(path: Path, run: Run) -> None:
    """The light testbed has no platform: nothing found is an answer, a word that is not understood is none."""
    for step in read_runbook(path).steps:
        for command in step.commands:
            if command.changes:
                continue
            result = run(command)
            assert result.refused == ""
            assert result.exit_status is not None, command.text
            assert not re.search(r"(?i)unknown|usage:|invalid option|error parsing|panic", result.output), result.output


@pytest.mark.testbed
def test_kinds_of_the_cluster_are_those_of_the_tables(run: Run) -> None:
    rows = run("kubectl api-resources --no-headers -o wide").output.splitlines()
    names = {row.split()[0] for row in rows}
    assert {"pods", "horizontalpodautoscalers", "networkpolicies", "endpointslices"} <= names
    short = {row.split()[0]: row.split()[1].split(",") for row in rows if re.match(r"\S+ +[a-z,]+ +(\S+/)?v\d", row)}
    for name in ("pods", "deployments", "services", "nodes", "horizontalpodautoscalers", "networkpolicies"):
        assert {kind_of(alias) for alias in short[name]} == {name}


@pytest.mark.testbed
def test_a_change_is_refused_and_made_only_where_it_is_allowed(run: Run) -> None:
    node = run("kubectl get nodes -o name | head -1").output.strip().removeprefix("node/")
    asks = f"kubectl get node {node} -o jsonpath='{{.spec.unschedulable}}'"
    assert "only reading is allowed" in run(f"kubectl cordon {node}").refused
    assert run(asks).output == ""
    assert run(f"kubectl cordon {node}", allow_changes=True).exit_status == 0
    assert run(asks).output == "true"
    assert run(f"kubectl uncordon {node}", allow_changes=True).exit_status == 0


@pytest.mark.testbed
def test_what_the_cluster_refuses_is_told_with_its_status(run: Run) -> None:
    result = run("kubectl -n agents get deployment none | tail -5")
    assert result.exit_status == 1
    assert "not found" in result.output
