import configparser
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.controlplane.commands import Program
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.processes import Marks, ProcessId, kill_marked, marked
from testbed.controlplane.supervision import Supervisor, children_environment, configuration, log_path, socket_path
from testbed.layout import Layout

SLEEPS = (sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)")
DIES = (sys.executable, "-c", "import sys; print('cannot find my configuration'); sys.exit(7)")


@pytest.fixture
def layout() -> Iterator[Layout]:
    folder = Path(tempfile.mkdtemp(prefix="gd"))  # tmp_path is too long for a unix socket
    (folder / "logs").mkdir()
    yield Layout("h1super", 14, 31800, folder)
    shutil.rmtree(folder)


@pytest.fixture
def marks(layout: Layout) -> Iterator[Marks]:
    marks = Marks("h1super", "g1", layout.instance_dir, 14)
    yield marks
    kill_marked(marks)


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline_s, "not within 20 s"
        time.sleep(0.02)


def test_the_configuration_starts_nothing_by_itself_and_keeps_arguments_whole(layout: Layout) -> None:
    program = Program("one", ("prog", "--a=b c", "50%", "it's"), environment={"X": "1, 2"}, stop_wait_s=3)
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(layout, [program]))
    section = parser["program:one"]
    assert section["autostart"] == "false"
    assert section["stopwaitsecs"] == "3"
    assert section["environment"] == 'X="1, 2"'
    assert shlex.split(section["command"])[-4:] == ["prog", "--a=b c", "50%%", "it's"]
    assert parser["unix_http_server"]["chmod"] == "0700"
    assert "inet_http_server" not in parser


def test_a_value_that_cannot_be_quoted_is_refused(layout: Layout) -> None:
    with pytest.raises(OperatorError, match="avoid quotes"):
        configuration(layout, [Program("one", ("prog",), environment={"X": 'a"b'})])


def test_programs_get_no_proxy_and_no_secret_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "no_proxy", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG", "GAMEDAY_TARGET"):
        monkeypatch.setenv(name, "x")
    environment = children_environment(Marks("a", "g", tmp_path, 0))
    assert "x" not in environment.values()
    assert environment["GAMEDAY_TESTBED"] == "a:g"
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_a_folder_too_long_for_a_unix_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="GAMEDAY_STATE_DIR"):
        socket_path(Layout("a", 0, 21000, tmp_path / ("x" * 90)))


def test_a_program_that_dies_is_named_with_its_last_lines(layout: Layout, marks: Marks) -> None:
    supervisor = Supervisor(layout)
    supervisor.configure([Program("dies", DIES), Program("sleeps", SLEEPS)])
    supervisor.start(marks)
    supervisor.start_program("sleeps")
    supervisor.start_program("dies")
    until(lambda: supervisor.fault_of("dies") is not None)
    fault = supervisor.fault_of("dies") or ""
    assert fault.startswith("dies died (")
    assert "cannot find my configuration" in fault
    assert str(log_path(layout, "dies")) in fault
    assert supervisor.fault_of("sleeps") is None


def test_an_exit_that_nobody_asked_for_is_restarted_and_counted(layout: Layout, marks: Marks) -> None:
    supervisor = Supervisor(layout)
    supervisor.configure([Program("sleeps", SLEEPS)])
    supervisor.start(marks)
    supervisor.start_program("sleeps")
    until(lambda: supervisor.processes()["sleeps"]["statename"] == "RUNNING")
    first = supervisor.processes()["sleeps"]["pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: supervisor.processes()["sleeps"]["pid"] not in (0, first))
    assert supervisor.exits() == {"sleeps": ["terminated by SIGKILL"]}


def test_a_running_supervisor_takes_in_a_new_program(layout: Layout, marks: Marks) -> None:
    supervisor = Supervisor(layout)
    supervisor.configure([Program("sleeps", SLEEPS)])
    supervisor.start(marks)
    supervisor.start_program("sleeps")
    before = supervisor.processes()["sleeps"]["pid"]
    supervisor.configure([Program("sleeps", SLEEPS), Program("late", SLEEPS)])
    supervisor.take_in_new_programs()
    supervisor.start_program("late")
    until(lambda: supervisor.processes()["late"]["statename"] == "RUNNING")
    assert supervisor.processes()["sleeps"]["pid"] == before


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="util-linux has no setpriv here")
def test_no_program_outlives_a_supervisor_that_is_killed(layout: Layout, marks: Marks) -> None:
    supervisor = Supervisor(layout)
    supervisor.configure([Program("sleeps", SLEEPS)])
    identity = supervisor.start(marks)
    supervisor.start_program("sleeps")
    until(lambda: "here" in log_path(layout, "sleeps").read_text())
    child = ProcessId.of(supervisor.processes()["sleeps"]["pid"])
    os.kill(identity.pid, signal.SIGKILL)
    until(lambda: not child.alive())
    assert not supervisor.answers()
    with pytest.raises(OperatorError, match="does not answer"):
        supervisor.processes()


def test_every_process_of_the_supervisor_carries_the_marks_and_shutdown_leaves_none(
    layout: Layout, marks: Marks
) -> None:
    supervisor = Supervisor(layout)
    supervisor.configure([Program("sleeps", SLEEPS)])
    identity = supervisor.start(marks)
    supervisor.start_program("sleeps")
    until(lambda: supervisor.processes()["sleeps"]["statename"] == "RUNNING")
    assert len(marked(marks)) == 2
    supervisor.shutdown()
    until(lambda: not identity.alive())
    assert marked(marks) == []


def test_a_supervisor_that_does_not_start_says_why(layout: Layout, marks: Marks) -> None:
    supervisor = Supervisor(layout)
    supervisor.configure([])
    (layout.supervisor_dir / "supervisord.conf").write_text("[supervisord]\nlogfile=/nowhere/at/all.log\n")
    with pytest.raises(OperatorError, match=r"(?s)supervisord does not start.*/nowhere"):
        supervisor.start(marks)
