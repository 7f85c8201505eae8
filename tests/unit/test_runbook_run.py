"""Running a command of a runbook, with a kubectl that says what it was given: no shell, one cluster, no secrets."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.runbook_commands import Command
from harness.runbook_run import OUTPUT_MAX_BYTES, CommandResult, run_command

SECRET = "s3cret-value-of-the-drill"
READ = "kubectl -n agents get pods"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "kubeconfig").write_text("{}")
    return tmp_path


def kubectl(place: Path, body: str) -> None:
    path = place / "bin" / "kubectl"
    path.write_text(f"#!{sys.executable}\nimport json, os, subprocess, sys, time\n{body}\n")
    path.chmod(0o755)


def run(place: Path, command: Command | str = READ, **given: Any) -> CommandResult:
    environ = given.pop("environ", {}) | {"PATH": f"{place / 'bin'}:/usr/bin:/bin"}
    known = {"kubeconfig": place / "kubeconfig", "context": "target", "allow_changes": False, "folder": place} | given
    return run_command(command, environ=environ, **known)


def test_kubectl_gets_the_targets_cluster_and_nothing_of_ours(place: Path) -> None:
    kubectl(place, "print(json.dumps([sys.argv[1:], dict(os.environ), sys.stdin.read(), os.getcwd()]))")
    given = {"GAMEDAY_DRILL_TOKEN": SECRET, "KUBECONFIG": "/other", "KUBECTL_EXTERNAL_DIFF": "sh", "HOME": "/nowhere"}
    result = run(place, environ=given)
    arguments, environ, stdin, folder = json.loads(result.output)
    assert arguments == [f"--kubeconfig={place / 'kubeconfig'}", "--context=target", "-n", "agents", "get", "pods"]
    assert environ["KUBECONFIG"] == str(place / "kubeconfig")
    assert environ["KUBERC"] == "off"
    assert environ["HOME"] == "/nowhere"
    assert not {"GAMEDAY_DRILL_TOKEN", "KUBECTL_EXTERNAL_DIFF"} & set(environ)
    assert (stdin, folder) == ("", str(place))
    assert (result.exit_status, result.refused) == (0, "")


def test_without_a_context_the_kubeconfigs_own_is_taken(place: Path) -> None:
    kubectl(place, "print(sys.argv)")
    assert "--context" not in run(place, context="").output


def test_no_shell_reads_the_line(place: Path) -> None:
    kubectl(place, "print(sys.argv[-1])")
    assert run(place, "kubectl -n agents get pods -o jsonpath='{$HOME;`id`}'").output == "jsonpath={$HOME;`id`}\n"


def test_a_pipe_hands_on_what_was_said_and_keeps_the_complaint(place: Path) -> None:
    kubectl(place, "print('b\\na\\nb'); print('some are missing', file=sys.stderr)")
    result = run(place, READ + " | grep b | sort | uniq -c")
    assert result.output.split() == ["2", "b", "some", "are", "missing"]
    assert result.exit_status == 0


def test_a_failure_ends_the_pipe_and_is_told(place: Path) -> None:
    kubectl(place, "print('half'); print('Forbidden', file=sys.stderr); sys.exit(3)")
    result = run(place, READ + " | wc -l")
    assert (result.exit_status, result.output) == (3, "half\nForbidden\n")


def test_no_match_is_the_filters_answer(place: Path) -> None:
    kubectl(place, "print('a')")
    assert run(place, READ + " | grep b").exit_status == 1


def test_a_filter_that_has_seen_enough_ends_the_reading(place: Path) -> None:
    kubectl(place, "sys.stdout.write('line\\n' * 300_000)")
    result = run(place, READ + " | head -2")
    assert (result.exit_status, result.output) == (0, "line\nline\n")


@pytest.mark.parametrize("allow", [False, True])
def test_a_change_runs_only_where_it_is_allowed(place: Path, allow: bool) -> None:
    kubectl(place, "print('done')")
    result = run(place, "kubectl cordon gpu-1", allow_changes=allow)
    assert result.output == ("done\n" if allow else "")
    assert ("only reading is allowed" in result.refused) is not allow
    assert (result.exit_status is None) is not allow


def test_what_a_caller_believes_about_a_command_opens_nothing(place: Path) -> None:
    kubectl(place, "print('done')")
    assert "only reading is allowed" in run(place, Command("kubectl cordon gpu-1", changes=False)).refused
    assert "reaches into a pod" in run(place, Command("kubectl exec x", changes=False), allow_changes=True).refused


@pytest.mark.parametrize(
    "line", ["kubectl --context other get nodes", "rm -rf /", "kubectl get nodes > x", "kubectl |"]
)
def test_a_refused_line_starts_nothing(place: Path, line: str) -> None:
    kubectl(place, f"open({str(place / 'ran')!r}, 'w')")
    result = run(place, line, allow_changes=True)
    assert result.refused
    assert result.output == ""
    assert not (place / "ran").exists()


def test_without_kubectl_or_a_kubeconfig_there_is_one_clear_message(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(place / "bin" / "python"))
    result = run_command(
        READ, environ={"PATH": str(place)}, kubeconfig=place / "kubeconfig", context="", allow_changes=False
    )
    assert result.refused == "kubectl is not on PATH — install it, or put it on PATH, before the drill"
    kubectl(place, "print('done')")
    assert "no kubeconfig none of the target" in run(place, kubeconfig=place / "none").refused


def test_one_that_hangs_is_killed_with_all_that_it_started(place: Path) -> None:
    pids = place / "pids"
    hang = "[sys.executable, '-c', 'import time; time.sleep(600)']"
    kubectl(
        place,
        f"child = subprocess.Popen({hang}); open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('begun', flush=True); time.sleep(600)",
    )
    result = run(place, timeout_s=2.0)
    assert result.exit_status is None
    assert "stopped after 2 s" in result.output
    assert result.refused == ""
    for pid in map(int, pids.read_text().split()):
        assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_output_is_capped_and_says_how_much_is_missing(place: Path) -> None:
    kubectl(place, "sys.stdout.write('x' * 200_000)")
    result = run(place)
    assert result.output.startswith("x" * OUTPUT_MAX_BYTES)
    assert result.output.endswith(f"… and {200_000 - OUTPUT_MAX_BYTES} bytes more\n")


def test_known_secrets_and_bearer_tokens_are_taken_out(place: Path) -> None:
    kubectl(place, f"print('{SECRET}'); print('Bearer abcdefghijklmnopqrstuvw', file=sys.stderr)")
    output = run(place, environ={"GAMEDAY_DRILL_TOKEN": SECRET}).output
    assert SECRET not in output
    assert "abcdefghijklmnop" not in output
    assert output.count("[redacted]") == 2


def test_bytes_that_are_no_text_do_no_harm(place: Path) -> None:
    kubectl(place, "os.write(1, b'\\xff\\xfe ok')")
    assert run(place).output.endswith(" ok")


def test_the_environment_given_is_not_changed(place: Path) -> None:
    kubectl(place, "print('done')")
    before = dict(os.environ)
    run(place)
    assert dict(os.environ) == before
