from pathlib import Path

import pytest

from testbed import cli, system_packages
from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.lifecycle import UpRequest, up
from testbed.kind import cli as kind_cli


@pytest.fixture(autouse=True)
def state_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAMEDAY_STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--slot", "16"],
        ["up", "--with", "vpa"],
        ["up", "--name", "Not A Name"],
        ["up", "--owner-pid", "999999999"],
        ["frobnicate"],
        ["build", "vpa"],
        ["env"],
        ["status"],
        ["logs"],
        ["exec", "planner-1", "--", "true"],
    ],
)
def test_what_the_user_can_put_right_exits_4_with_a_message_and_no_traceback(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 4
    output = capsys.readouterr()
    assert output.err or output.out
    assert "Traceback" not in output.err


def test_what_nobody_expected_exits_3_and_is_told_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "status_of", broken)
    assert cli.main(["status"]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_of_the_kind_cluster_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(kind_cli, "settings_from", broken)
    assert kind_cli.main(["node", "stop", "general-1"]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert kind_cli.main(["frobnicate"]) == 4


def test_down_without_a_testbed_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down"]) == 0
    assert "there is no testbed default" in capsys.readouterr().out


def test_down_clears_what_has_an_unreadable_state(state_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = state_root / "testbeds" / "default"
    (folder / "pki").mkdir(parents=True)
    (folder / "pki" / "sa.key").write_text("secret")
    (folder / "testbed.json").write_text("{")
    assert cli.main(["down"]) == 0
    assert "not a testbed's state" in capsys.readouterr().out
    assert list(folder.iterdir()) == []


def test_an_owner_that_is_not_alive_is_refused_before_anything_starts(state_root: Path) -> None:
    with pytest.raises(OperatorError, match="process 999999999 does not exist"):
        up(UpRequest("default", ("core",), owner_pid=999999999), Progress(lambda _: None))
    assert not (state_root / "testbeds" / "default").exists()


def test_the_system_packages_that_are_missing_are_told_with_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_packages.shutil, "which", lambda name, path=None: "/x" if name == "apt-get" else None)
    monkeypatch.setattr(system_packages.os, "geteuid", lambda: 1000)
    assert system_packages.main(["redis-server", "prometheus", "--for-tests", "chromium"]) == 4
    assert "apt-get install -y redis-server prometheus chromium" in capsys.readouterr().err


def test_packages_that_are_there_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_packages.shutil, "which", lambda name, path=None: "/x")
    assert system_packages.main(["redis-server", "prometheus"]) == 0


def test_no_service_starts_while_packages_are_installed(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with system_packages.no_service_starts(policy):
        assert "exit 101" in policy.read_text()
    assert not policy.exists()
    policy.write_text("of the system")
    with system_packages.no_service_starts(policy):
        assert policy.read_text() == "of the system"
    assert policy.exists()
