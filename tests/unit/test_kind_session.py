"""A game day on kind, whatever ends it: the undo first, then the logs, then the cluster, if it was made for it."""

import os
import signal
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.kind import session
from testbed.kind.session import Request, run_game_day
from testbed.kind.settings import KindSettings


class Stage:
    """Everything that would touch a cluster, replaced by a line in `done`."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.done: list[str] = []
        self.there = False
        self.fails = ""
        self.settings = KindSettings()
        patch.setenv("GAMEDAY_STATE_DIR", str(folder))
        self.request = Request("pod-kill-under-burst", ("--seed", "7"), folder / "artefacts")
        patch.setattr(session, "check_request", lambda _: None)
        patch.setattr(session, "need_programs", lambda: None)
        patch.setattr(session, "cluster_names", lambda: ["gameday"] if self.there else [])
        patch.setattr(session, "ensure_cluster", lambda *_: self.step("cluster"))
        patch.setattr(session, "connect", lambda _: None)
        patch.setattr(session, "Platform", lambda *_: self)
        patch.setattr(session, "recover", lambda _: self.step("recover"))
        patch.setattr(session, "collect", lambda *_: self.step("artefacts"))
        patch.setattr(session, "delete_cluster", lambda *_: self.step("delete"))

    def step(self, name: str) -> None:
        self.done.append(name)
        if name == "cluster":
            self.settings.folder.mkdir(parents=True, exist_ok=True)
            self.settings.kubeconfig.touch()
        if name == self.fails:
            raise OperatorError(f"{name} failed")

    def load(self, _with_keda: bool) -> None:
        self.step("load")

    def apply(self, _with_keda: bool, with_reaper: bool) -> Path:
        assert with_reaper
        self.settings.target_settings.touch()
        self.step("platform")
        return self.settings.target_settings

    def play(self) -> int:
        return run_game_day(self.settings, self.request, Progress(lambda _: None))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    return Stage(monkeypatch, tmp_path)


def game_day(patch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    """Let the game day be a shell script."""
    path = folder / "gameday.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    patch.setattr(session.sys, "executable", str(path))
    return path


WHOLE = ["cluster", "load", "platform", "recover", "artefacts", "delete"]


@pytest.mark.parametrize("status", [0, 1, 20])
def test_the_status_is_the_game_days_and_the_cluster_goes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    game_day(monkeypatch, tmp_path, f'echo "$@" >{tmp_path}/asked; exit {status}')
    assert stage.play() == status
    assert stage.done == WHOLE
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("-m harness.cli run pod-kill-under-burst --target kind --settings") and "--seed 7" in asked


def test_a_cluster_that_was_there_stays(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    game_day(monkeypatch, tmp_path, "exit 0")
    stage.there = True
    assert stage.play() == 0
    assert stage.done == WHOLE[:-1]


@pytest.mark.parametrize(
    ("fails", "left"),
    [("cluster", ["artefacts", "delete"]), ("load", ["artefacts", "delete"]), ("platform", WHOLE[3:])],
)
def test_a_step_that_fails_is_told_and_what_was_started_goes(stage: Stage, fails: str, left: list[str]) -> None:
    stage.fails = fails
    with pytest.raises(OperatorError, match=f"{fails} failed"):
        stage.play()
    assert stage.done[-len(left) :] == left


def test_an_undo_or_a_log_that_fails_does_not_keep_the_cluster(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    game_day(monkeypatch, tmp_path, "exit 0")
    stage.fails = "recover"
    assert stage.play() == 0
    assert stage.done == WHOLE


def test_sigterm_is_passed_on_once_and_the_game_day_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    game_day(
        monkeypatch, tmp_path,
        f"trap 'echo TERM >>{told}; sleep 1; exit 2' TERM; touch {tmp_path}/on; while :; do sleep 0.1; done",
    )  # fmt: skip

    def cancel() -> None:
        while not (tmp_path / "on").exists():
            pause.wait(0.05)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            pause.wait(0.1)

    pause = threading.Event()
    sender = threading.Thread(target=cancel)
    sender.start()
    assert stage.play() == 2
    sender.join()
    assert told.read_text() == "TERM\n"
    assert stage.done == WHOLE


def test_sigint_before_the_game_day_ends_it_with_130(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        stage.step("load")
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 0)  # a moment for the handler

    monkeypatch.setattr(stage, "load", interrupted)
    assert stage.play() == 130
    assert stage.done == ["cluster", "load", "artefacts", "delete"]


@pytest.mark.parametrize(
    ("experiment", "arguments", "said"),
    [
        ("no-such", (), "there are: "),
        ("pod-kill-under-burst", ("--with-keda",), "No such option '--with-keda'"),
        ("pod-kill-under-burst", ("--seed", "7", "--keeep"), "No such option '--keeep'"),
    ],
)
def test_what_a_game_day_would_refuse_costs_no_cluster(
    monkeypatch: pytest.MonkeyPatch, experiment: str, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(session, "need_programs", lambda: pytest.fail("the cluster is next"))
    with pytest.raises(OperatorError, match=said):
        run_game_day(KindSettings(), Request(experiment, arguments, Path("artefacts")), Progress(lambda _: None))


def test_what_a_game_day_takes_is_let_through() -> None:
    session.check_request(Request("pod-kill-under-burst", ("--seed", "7", "--control"), Path("artefacts")))
