"""supervisord of one instance: its configuration, its start, and what it is asked over its unix socket.

Nothing else starts a long-lived process. Every program dies with the supervisor (PR_SET_PDEATHSIG), so that a
SIGKILLed supervisor leaves nothing behind.
"""

import configparser
import http.client
import io
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport

from testbed.controlplane.commands import Program
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.places import REPOSITORY
from testbed.controlplane.processes import Marks, ProcessId
from testbed.layout import Layout

_START_TIMEOUT_S = 20.0
_ANSWER_TIMEOUT_S = 15.0
_SOCKET_PATH_MAX = 90
"""sun_path holds 108 bytes (unix(7)); supervisord first binds a longer temporary name beside it."""
_PASSED_ON = ("HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "TMPDIR")
"""What programs and pods inherit. Not the rest: proxies would lead traffic away, and secrets would reach pods."""
_LAST_LINES = 12


def socket_path(layout: Layout) -> Path:
    """Return the supervisor's unix socket.

    Raises:
        OperatorError: its path is longer than a unix socket's may be.
    """
    path = layout.supervisor_dir / "supervisor.sock"
    if len(os.fsencode(path)) > _SOCKET_PATH_MAX:
        raise OperatorError(f"{path}: too long for a unix socket; move the testbeds by GAMEDAY_STATE_DIR")
    return path


def log_path(layout: Layout, program: str) -> Path:
    """Return the log of `program`; `supervisor` is the supervisor's own."""
    return layout.logs_dir / f"{program}.log"


def configuration(layout: Layout, programs: Iterable[Program]) -> str:
    """Return the supervisord configuration that runs `programs`; none starts by itself."""
    parser = configparser.RawConfigParser()
    folder = layout.supervisor_dir
    parser["unix_http_server"] = {"file": str(socket_path(layout)), "chmod": "0700"}
    parser["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    parser["supervisord"] = {
        "logfile": str(log_path(layout, "supervisor")),
        "logfile_backups": "1",
        "pidfile": str(folder / "supervisord.pid"),
        "childlogdir": str(layout.logs_dir),
        "directory": str(layout.instance_dir),
        **({"user": "root"} if os.geteuid() == 0 else {}),
    }
    for program in programs:
        parser[f"program:{program.name}"] = _program_section(layout, program)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def _program_section(layout: Layout, program: Program) -> dict[str, str]:
    environment = ",".join(f"{name}={_quoted(value)}" for name, value in program.environment.items())
    return {
        "command": _expanded(shlex.join([*_dying_with_parent(), *program.argv])),
        **({"environment": environment} if environment else {}),
        "autostart": "false",
        # An exit that nobody asked for is restarted, and stays visible in `status`.
        "autorestart": "true",
        "startsecs": "1",
        "startretries": "3",
        "priority": str(program.stop_order),
        "stopsignal": "TERM",
        "stopwaitsecs": str(program.stop_wait_s),
        "redirect_stderr": "true",
        "stdout_logfile": _expanded(str(log_path(layout, program.name))),
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": "1",
    }


def _quoted(value: str) -> str:
    if '"' in value or "\n" in value:
        raise OperatorError(
            f"{value!r} cannot be passed to a supervised program; avoid quotes and line breaks in paths"
        )
    return f'"{_expanded(value)}"'


def _expanded(value: str) -> str:
    """Protect `%` from supervisord's expansion."""
    return value.replace("%", "%%")


def _dying_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def children_environment(marks: Marks) -> dict[str, str]:
    """Return the environment of the supervisor and so of all its programs: a short list, no proxies, the marks."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**kept, "PATH": path, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **marks.environment()}


class Supervisor:
    """The supervisor of one instance, running or not."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._socket = socket_path(layout)

    def _proxy(self) -> xmlrpc.client.ServerProxy:
        # A new one for each question: the library's connection stays unusable after a failed one.
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=_transport(self._socket))

    def configure(self, programs: Iterable[Program]) -> None:
        """Write the configuration; a running supervisor takes in what is new."""
        self._layout.supervisor_dir.mkdir(mode=0o700, exist_ok=True)
        text = configuration(self._layout, programs)
        self._config.write_text(text, encoding="utf-8")

    def take_in_new_programs(self) -> None:
        """Make the running supervisor add the programs that its configuration has and it has not."""
        [[added, _changed, _removed]] = cast("Any", self._call("reloadConfig"))
        for name in added:
            self._call("addProcessGroup", name)

    @property
    def _config(self) -> Path:
        return self._layout.supervisor_dir / "supervisord.conf"

    def start(self, marks: Marks) -> ProcessId:
        """Start supervisord in a session of its own and wait until it answers.

        Raises:
            OperatorError: it died or does not answer.
        """
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._config)]
        environment = children_environment(marks)
        with log_path(self._layout, "supervisor").open("ab") as log:
            # It puts itself into the background; whatever is wrong with its start, it says before that.
            started = subprocess.run(
                command, env=environment, cwd=self._layout.instance_dir, timeout=_START_TIMEOUT_S,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            )  # fmt: skip
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while started.returncode or not self.answers():
            if started.returncode or time.monotonic() > deadline_s:
                raise OperatorError(f"supervisord does not start. {self.last_words('supervisor')}")
            time.sleep(0.05)
        return ProcessId.of(cast("int", self._call("getPID")))

    def answers(self) -> bool:
        """Tell whether the supervisor is there and running."""
        try:
            with self._proxy() as proxy:
                state = cast("Mapping[str, object]", proxy.supervisor.getState())
        except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
            return False
        return state["statename"] == "RUNNING"

    def start_program(self, name: str) -> None:
        """Start `name` unless it runs; does not wait for it."""
        if self.processes()[name]["statename"] not in ("STARTING", "RUNNING"):
            self._call("startProcess", name, False)

    def processes(self) -> dict[str, dict[str, Any]]:
        """Return what supervisord knows of each program (getAllProcessInfo), by name."""
        return {entry["name"]: entry for entry in cast("Any", self._call("getAllProcessInfo"))}

    def fault_of(self, name: str) -> str | None:
        """Return why `name` is not to be waited for any longer, with its last lines; None while it lives."""
        info = self.processes()[name]
        if info["statename"] in ("STARTING", "RUNNING"):
            return None
        why = info["spawnerr"] or f"exit status {info['exitstatus']}"
        return f"{name} died ({info['statename']}: {why}). {self.last_words(name)}"

    def shutdown(self) -> None:
        """Ask supervisord to stop every program, the last started first, and then itself."""
        self._call("shutdown")

    def exits(self) -> dict[str, list[str]]:
        """Return how programs ended that nobody had asked to, in order, from the supervisor's log."""
        ends: dict[str, list[str]] = {}
        log = log_path(self._layout, "supervisor")
        for name, how in _EXIT.findall(log.read_text(encoding="utf-8", errors="replace")):
            ends.setdefault(name, []).append(how)
        return ends

    def last_words(self, name: str) -> str:
        """Return the last lines of the log of `name` and where the rest is."""
        path = log_path(self._layout, name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        last = "\n".join(f"    {line}" for line in lines[-_LAST_LINES:]) or "    (nothing)"
        return f"Last lines of {path}:\n{last}"

    def _call(self, method: str, *arguments: object) -> object:
        try:
            with self._proxy() as proxy:
                return cast("object", getattr(proxy.supervisor, method)(*arguments))
        except xmlrpc.client.Fault as fault:
            raise OperatorError(f"supervisord refuses {method}{arguments}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException) as error:
            raise OperatorError(
                f"the supervisor of testbed {self._layout.name} does not answer ({error}); "
                "`gameday testbed up` or `down` clears what is left"
            ) from error


_EXIT = re.compile(r" exited: (\S+) \((exit status \d+|terminated by \w+)")


def _transport(path: Path) -> SupervisorTransport:
    transport = SupervisorTransport(None, None, f"unix://{path}")
    # The library's own connection waits for ever on a supervisor that was stopped (SIGSTOP).
    transport._get_connection = lambda: _UnixConnection(path)
    return transport


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_TIMEOUT_S)
        self.sock.connect(str(self._path))
