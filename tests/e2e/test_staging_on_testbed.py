"""A shipped experiment, unchanged, on a whole testbed that stands in for staging: least rights, TLS and a token.

The stand-in of the contract tests is light and its game day short; here nothing is small. Everything is used as an
operator would (docs/staging.md): settings, `gameday deploy`, the doctor, pytest. Runner and reaper have their own
ServiceAccounts and none of the testbed's rights.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import yaml

from harness.registries import PROJECT_DIR
from tests.contract.tls_front import Papers, TlsFront, bearer

pytestmark = [pytest.mark.testbed, pytest.mark.e2e]

EXPERIMENT = "pod-kill-under-burst"
NAME = "staging"
SYSTEM = "gameday-system"
COMMAND_LIMIT_S = 420.0
WAIT_S = 60.0
TOKEN_ENV, TOKEN = "STAGING_PROMETHEUS_TOKEN", "pl4nted-prometheus-token"
APPLIED = ("namespaces.yaml", "runner.yaml", "reaper.yaml")
AS_PROCESS = ("Deployment", "PodDisruptionBudget")
"""Of the reaper: here it is a process, started by its Deployment's command line, with the rights of its account."""


class Staging:
    """The stand-in, as its operator sees it.

    Attributes:
        folder: Settings, kubeconfigs, runs and logs.
        testbed: The testbed's target document; the operator never gets its credentials.
        tokens: By ServiceAccount, the only credentials that runner and reaper have.
    """

    def __init__(self, folder: Path, testbed: Mapping[str, Any], prometheus: str, ca_file: Path) -> None:
        self.folder, self.testbed = folder, testbed
        self.settings, self.runs = folder / "gameday.toml", folder / "runs"
        self.tokens: dict[str, str] = {}
        shipped = tomllib.loads((PROJECT_DIR / "gameday.toml").read_text())
        target = shipped["targets"]["staging"] | {
            "context": testbed["context"], "kubeconfig": str(self.kubeconfig("gameday-runner")),
            "api_server": testbed["api_server"], "kube_system_uid": testbed["kube_system_uid"],
            "namespaces": ["agents", "platform-infra"], "components": ["core", "platform"], "rate_max_rps": 200,
            "gateway_url": testbed["gateway_url"], "prometheus_url": prometheus, "prometheus_token_env": TOKEN_ENV,
            "prometheus_ca_file": str(ca_file), "scrape_interval_s": testbed["scrape_interval_s"],
            "loopback_only": True,
        }  # fmt: skip
        self.settings.write_text(tomlkit.dumps(shipped | {"targets": {NAME: target}}))

    def kubeconfig(self, account: str) -> Path:
        return self.folder / f"{account}.kubeconfig"

    # arranged by the administrator ------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        config = Path(self.testbed["kubeconfig"]).with_name("admin.kubeconfig")
        command = [str(Path(sys.executable).with_name("kubectl")), "--kubeconfig", str(config), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def deploy(self) -> list[str]:
        """Apply what `gameday deploy` writes; returns the command line of the reaper."""
        out = self.folder / "deploy"
        where = ("--settings", str(self.settings), "--image", "registry.example/gameday:0.1.0", "--out", str(out))
        done = self.gameday("deploy", EXPERIMENT, "--target", NAME, *where)
        assert done.returncode == 0, done.stderr
        found = [one for name in APPLIED for one in yaml.safe_load_all((out / name).read_text())]
        applied = [one for one in found if one["kind"] not in AS_PROCESS]
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(applied))
        (deployment,) = [one for one in found if one["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return [sys.executable, *container["command"][1:], *container["args"]]

    def give_token(self, account: str) -> None:
        """Write a kubeconfig that holds nothing but a ServiceAccount's token."""
        self.tokens[account] = self.kubectl("-n", SYSTEM, "create", "token", account, "--duration", "1h").strip()
        config = yaml.safe_load(Path(self.testbed["kubeconfig"]).read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": self.tokens[account]}}]
        self.kubeconfig(account).write_text(yaml.safe_dump(config))

    # used by the operator ---------------------------------------------------------------------------------------------

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, TOKEN_ENV: TOKEN, "GAMEDAY_STATE_DIR": str(self.folder / "operator")}
        return subprocess.run(
            command, cwd=PROJECT_DIR, env=environ, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
        )

    def gameday(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, "-m", "harness.cli", *arguments])

    def doctor(self) -> subprocess.CompletedProcess[str]:
        return self.gameday("doctor", EXPERIMENT, "--target", NAME, "--settings", str(self.settings), "--json")

    def pytest(self) -> subprocess.CompletedProcess[str]:
        return self.run([
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-m", "gameday", "--target", NAME,
            "-k", EXPERIMENT, "--gameday-settings", str(self.settings), "--gameday-runs", str(self.runs),
            "--junitxml", str(self.folder / "junit.xml"), "experiments",
        ])  # fmt: skip


def _testbed(state: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "testbed", *arguments, "--name", NAME]
    environ = os.environ | {"GAMEDAY_STATE_DIR": str(state)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def staging(request: pytest.FixtureRequest) -> Iterator[Staging]:
    folder = Path(tempfile.mkdtemp(prefix="gd"))  # short, for the supervisor's unix socket
    state, papers = folder / "state", Papers(folder)
    try:
        up = _testbed(state, "up", "--without", "reaper", "--owner-pid", str(os.getpid()), "--json")
        testbed = json.loads(Path(json.loads(up)["target"]).read_text())
        with TlsFront(testbed["prometheus_url"], papers, bearer(TOKEN)) as front:
            made = Staging(folder, testbed, front.url, papers.ca_file)
            reaper = made.deploy()
            for account in ("gameday-runner", "gameday-reaper"):
                made.give_token(account)
            with reaping(made, reaper):
                yield made
    finally:
        _testbed(state, "down")
    if not request.session.testsfailed:
        shutil.rmtree(folder)


@contextmanager
def reaping(made: Staging, command: list[str]) -> Iterator[None]:
    """Run the reaper by its Deployment's command line."""
    config = ("--kubeconfig", str(made.kubeconfig("gameday-reaper")), "--context", made.testbed["context"])
    log = made.folder / "reaper.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *config], cwd=PROJECT_DIR, stderr=stream)
    try:
        yield
    finally:
        process.terminate()
        ended = process.wait(20)
    assert ended == 0, log.read_text()


def test_a_shipped_experiment_holds_with_least_rights_and_leaves_neither_trace_nor_secret(staging: Staging) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while (doctor := staging.doctor()).returncode:  # rights, reaper and autoscaler take a moment
        assert time.monotonic() < deadline_s, doctor.stdout + doctor.stderr
    before = staging.kubectl("-n", SYSTEM, "get", "configmaps", "-o", "name")

    done = staging.pytest()

    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    run_dir = (staging.runs / "latest").resolve()
    written = (PROJECT_DIR / "experiments" / f"{EXPERIMENT}.yaml").read_text()
    assert (run_dir / "experiment.yaml").read_text() == written, "it is the shipped file"
    verdicts = json.loads((run_dir / "verdicts.json").read_text())["verdicts"]
    outcomes = {one["assertion"]: one["outcome"] for one in verdicts}
    asked = yaml.safe_load(written)["extensions"][0]["assertions"]
    assert outcomes == dict.fromkeys([*asked, "restored"], "PASS"), told
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    proofs = [e["detail"]["effect"] for e in events if e["kind"] == "fault" and e["detail"]["step"] == "evidence"]
    assert proofs == ["CONFIRMED", "CONFIRMED"]
    assert staging.kubectl("-n", SYSTEM, "get", "configmaps", "-o", "name") == before, "a record was left"
    look_for_secrets(staging, told)


def look_for_secrets(staging: Staging, told: str) -> None:
    """Look at everything that the run, its reports and the reaper wrote, and at what was told."""
    secrets = [secret.encode() for secret in (TOKEN, *staging.tokens.values())]
    files = [path for path in staging.runs.rglob("*") if path.is_file()]
    files += [staging.folder / "reaper.log", staging.folder / "junit.xml", *staging.folder.glob("deploy/**/*.yaml")]
    assert {"report.html", "events.jsonl", "reaper.log", "junit.xml"} <= {path.name for path in files}
    for held, where in [(told.encode(), "pytest"), *((path.read_bytes(), str(path)) for path in files)]:
        assert not [secret for secret in secrets if secret in held], where


@pytest.mark.parametrize(
    ("account", "deed"),
    [
        ("gameday-runner", ("get", "secrets", "-n", SYSTEM)),
        ("gameday-runner", ("delete", "nodes")),
        ("gameday-runner", ("delete", "pods", "-n", "platform-infra")),
        ("gameday-reaper", ("get", "secrets", "-n", SYSTEM)),
        ("gameday-reaper", ("delete", "nodes")),
        ("gameday-reaper", ("create", "pods", "-n", "agents")),
    ],
)
def test_neither_runner_nor_reaper_may_do_what_no_run_of_it_needs(
    account: str, deed: tuple[str, ...], staging: Staging
) -> None:
    config = str(staging.kubeconfig(account))
    kubectl = str(Path(sys.executable).with_name("kubectl"))
    done = staging.run([kubectl, "--kubeconfig", config, "auth", "can-i", *deed])
    assert (done.stdout.strip(), done.returncode) == ("no", 1)
