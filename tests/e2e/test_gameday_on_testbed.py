"""Whole game days on a real local testbed, short ones: what is wrong with the platform, and what a dead run leaves."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml

from harness.registries import PROJECT_DIR
from harness.sabotage.short_experiment import short_document

pytestmark = [pytest.mark.testbed, pytest.mark.e2e]

COMMAND_LIMIT_S = 240.0


class Bed:
    """A testbed of its own, reached as a user would: by the command and by kubectl."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environ = os.environ | {"GAMEDAY_STATE_DIR": str(folder / "state")}
        self.runs = folder / "runs"
        self.experiment = folder / "short.yaml"
        self.experiment.write_text(short_experiment())

    def gameday(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "harness.cli", *arguments]
        return subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
        )

    def start_run(self) -> subprocess.Popen:
        (self.runs / "latest").unlink(missing_ok=True)
        command = [sys.executable, "-m", "harness.cli", *self.run_arguments()]
        return subprocess.Popen(command, env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run_arguments(self) -> tuple[str, ...]:
        return ("run", str(self.experiment), "--target", "local", "--seed", "7", "--runs-dir", str(self.runs))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        program = Path(sys.executable).parent / "kubectl"
        config = self.folder / "state" / "testbeds" / "default" / "admin.kubeconfig"
        command = [str(program), "--kubeconfig", str(config), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def outcomes(self) -> dict[str, str]:
        verdicts = json.loads((self.runs / "latest" / "verdicts.json").read_text())["verdicts"]
        return {verdict["assertion"]: verdict["outcome"] for verdict in verdicts}

    def events(self) -> list[dict]:
        latest = self.runs / "latest" / "events.jsonl"
        if not latest.exists():
            return []
        return [json.loads(line) for line in latest.read_text().splitlines() if line.endswith("}")]


def short_experiment() -> str:
    return yaml.safe_dump(short_document("pod-kill-under-burst"), sort_keys=False)


@pytest.fixture(scope="module")
def bed():
    folder = Path(tempfile.mkdtemp(prefix="gd"))  # short, for the supervisor's unix socket
    made = Bed(folder)
    up = made.gameday("testbed", "up", "--owner-pid", str(os.getpid()))
    assert up.returncode == 0, up.stdout + up.stderr
    yield made
    down = made.gameday("testbed", "down")
    assert down.returncode == 0, down.stdout + down.stderr
    shutil.rmtree(folder)


def test_every_answer_of_a_short_game_day_rests_on_real_observations(bed):
    done = bed.gameday(*bed.run_arguments())
    told = done.stdout + done.stderr
    # A slow machine may break a limit; nothing may be unknown.
    assert done.returncode == ("FAIL" in bed.outcomes().values()), told
    assert set(bed.outcomes()) == {"autoscaler-response", "pdb-safety", "queue-backlog", "error-budget", "restored"}
    assert "INCONCLUSIVE" not in bed.outcomes().values(), told
    assert bed.outcomes()["pdb-safety"] == bed.outcomes()["restored"] == "PASS", told
    effects = [
        e["detail"]["effect"] for e in bed.events() if e["kind"] == "fault" and e["detail"]["step"] == "evidence"
    ]
    assert effects == ["CONFIRMED", "CONFIRMED"]


def test_a_deleted_hpa_fails_the_autoscalers_answer_and_nothing_is_touched(bed):
    written = bed.kubectl("-n", "agents", "get", "hpa", "planner", "-o", "json")
    pods_before = bed.kubectl("-n", "agents", "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}")
    bed.kubectl("-n", "agents", "delete", "hpa", "planner")
    try:
        done = bed.gameday(*bed.run_arguments())
    finally:
        kept = json.loads(written)
        kept["metadata"] = {"name": "planner", "namespace": "agents", "labels": kept["metadata"].get("labels", {})}
        kept.pop("status", None)
        bed.kubectl("apply", "-f", "-", stdin=json.dumps(kept))
    assert done.returncode == 1
    outcomes = bed.outcomes()
    assert outcomes.pop("autoscaler-response") == "FAIL"
    assert set(outcomes.values()) == {"INCONCLUSIVE"}
    assert bed.kubectl("-n", "agents", "get", "pods", "-o", "jsonpath={.items[*].metadata.uid}") == pods_before
    assert not [e for e in bed.events() if e["kind"] in {"load", "fault"}]


def test_a_run_whose_conductor_is_sigkilled_is_taken_back_by_the_reaper_and_blocks_the_next_until_then(bed):
    before = bed.kubectl("-n", "gameday-system", "get", "configmaps", "-o", "name")
    client = bed.start_run()
    wait_for(lambda: any(e["kind"] == "fault" and e["detail"]["step"] == "acted" for e in bed.events()[-200:]))
    (conductor,) = [p for p in psutil.Process(client.pid).children() if "harness.conductor_main" in p.cmdline()]
    children = conductor.children(recursive=True)
    conductor.kill()
    assert client.wait(60) == 3
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, "load and chaos children must end with their conductor"
    listed = bed.gameday("recover", "--target", "local", "--list")
    assert listed.returncode == 20
    assert "kill-a-third-of-the-planners" in listed.stdout
    refused = bed.gameday(*bed.run_arguments())
    assert refused.returncode == 20
    assert "another run holds this cluster" in refused.stdout + refused.stderr
    wait_for(lambda: bed.gameday("recover", "--target", "local", "--check").returncode == 0)
    again = bed.gameday("recover", "--target", "local")
    assert (again.returncode, "nothing to take back" in again.stdout) == (0, True)
    assert bed.kubectl("-n", "gameday-system", "get", "configmaps", "-o", "name") == before


def test_the_halt_lever_stops_a_run_and_blocks_the_next_until_it_is_released(bed):
    client = bed.start_run()
    wait_for(lambda: any(e["kind"] == "phase" and e["subject"] == "inject" for e in bed.events()))
    assert bed.gameday("halt", "--target", "local", "--reason", "enough for today").returncode == 0
    assert client.wait(120) == 2
    refused = bed.gameday(*bed.run_arguments())
    assert refused.returncode == 20
    assert "enough for today" in refused.stdout + refused.stderr
    assert bed.gameday("halt", "--target", "local", "--release").returncode == 0
    wait_for(lambda: bed.gameday("recover", "--target", "local", "--check").returncode == 0)


def test_another_cluster_under_the_same_name_is_refused_by_its_uid(bed):
    told = bed.folder / "state" / "testbeds" / "default" / "target.json"
    kept = told.read_text()
    told.write_text(kept.replace(json.loads(kept)["kube_system_uid"], "00000000-0000-0000-0000-000000000000"))
    try:
        done = bed.gameday(*bed.run_arguments())
    finally:
        told.write_text(kept)
    assert done.returncode == 4
    assert "kube-system uid" in done.stdout + done.stderr


def test_an_api_server_that_does_not_answer_is_one_clear_sentence(bed):
    told = bed.folder / "state" / "testbeds" / "default" / "target.json"
    kept = json.loads(told.read_text())
    config = Path(kept["kubeconfig"])
    text = config.read_text()
    config.write_text(text.replace(kept["api_server"], "https://127.0.0.1:9"))
    try:
        done = bed.gameday(*bed.run_arguments())
    finally:
        config.write_text(text)
    said = done.stdout + done.stderr
    assert done.returncode == 20, said
    assert "kubernetes" in said
    assert "Traceback" not in said


def test_prometheus_stopped_half_way_leaves_no_answer_that_leans_on_it(bed):
    run = bed.start_run()
    wait_for(lambda: any(e["kind"] == "phase" and e["subject"] == "inject" for e in bed.events()))
    bed.kubectl("-n", "platform-infra", "scale", "deployment", "prometheus", "--replicas=0")
    try:
        status = run.wait(COMMAND_LIMIT_S)
    finally:
        bed.kubectl("-n", "platform-infra", "scale", "deployment", "prometheus", "--replicas=1")
        bed.kubectl("-n", "platform-infra", "rollout", "status", "deployment", "prometheus", "--timeout=60s")
    outcomes = bed.outcomes()
    assert status == (1 if "FAIL" in outcomes.values() else 20)
    assert outcomes["queue-backlog"] == "INCONCLUSIVE"
    assert outcomes["error-budget"] != "PASS"  # a breach that the request log proves stays one
    assert outcomes["pdb-safety"] == outcomes["restored"] == "PASS"


def test_a_burst_that_cannot_be_made_leaves_every_answer_that_leans_on_it_open(bed):
    too_much = yaml.safe_load(short_experiment())
    too_much["extensions"][0]["load"]["scale"] = 60.0
    bed.experiment.write_text(yaml.safe_dump(too_much, sort_keys=False))
    settings = bed.folder / "gameday.toml"
    text = (PROJECT_DIR / "gameday.toml").read_text()
    settings.write_text(text.replace("rate_max_rps = 200", "rate_max_rps = 20000", 1))
    done = bed.gameday(*bed.run_arguments(), "--settings", str(settings))
    outcomes = bed.outcomes()
    assert done.returncode == 20, done.stdout + done.stderr
    assert outcomes["autoscaler-response"] == outcomes["error-budget"] == "INCONCLUSIVE"
    assert "PASS" not in {outcomes["autoscaler-response"], outcomes["queue-backlog"], outcomes["error-budget"]}
    assert not [e for e in bed.events() if e["kind"] == "fault"]


def wait_for(condition) -> None:
    deadline_s = time.monotonic() + COMMAND_LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came"
        time.sleep(0.2)
