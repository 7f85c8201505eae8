"""A testbed for the length of one run: what was not made by this call is not ended by it, and the answer is kept."""

import json
import subprocess

import pytest

from harness.model.errors import PortError
from harness.testbed_session import LocalTestbed


class Program:
    """Stands for the testbed's command: exit status and output by verb."""

    def __init__(self, monkeypatch, **answers):
        self.answers = answers
        self.calls = []
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command, **_):
        verb = command[3]
        self.calls.append(verb)
        answer = self.answers.get(verb, (0, b""))
        if isinstance(answer, BaseException):
            raise answer
        return subprocess.CompletedProcess(command, answer[0], answer[1])


def created(so):
    return 0, json.dumps({"created": so, "components": [], "target": "t"}).encode()


@pytest.mark.parametrize(
    ("status", "made", "verbs"),
    [
        (4, True, ["status", "up", "down"]),
        (0, False, ["status", "up"]),
        (4, False, ["status", "up"]),  # another call was still starting it when it was looked at
    ],
)
def test_only_a_testbed_that_this_run_made_is_taken_down(monkeypatch, status, made, verbs):
    program = Program(monkeypatch, status=(status, b""), up=created(made))
    with LocalTestbed(("core", "keda")):
        pass
    assert program.calls == verbs


@pytest.mark.parametrize("up", [(4, b""), (0, b"no json"), KeyboardInterrupt()])
def test_what_an_up_that_failed_may_have_left_is_taken_down(monkeypatch, up):
    program = Program(monkeypatch, status=(4, b""), up=up)
    with pytest.raises((PortError, KeyboardInterrupt)), LocalTestbed(("core",)):
        raise AssertionError("it is not up")
    assert program.calls == ["status", "up", "down"]


def test_a_testbed_that_does_not_go_down_does_not_change_what_the_run_found(monkeypatch, capsys):
    Program(monkeypatch, status=(4, b""), up=created(True), down=subprocess.TimeoutExpired("down", 1))

    def run():
        with LocalTestbed(("core",)):
            return 1

    assert run() == 1
    assert "testbed: down: it took more than" in capsys.readouterr().err
