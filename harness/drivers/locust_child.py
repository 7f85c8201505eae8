"""The load child as a process: its pipes, its log, its end. Knows messages as dictionaries, not what they mean.

Must not import Locust: that would patch this process (CASES D01, D02).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

LOG_FILE = "locust.log"
PROJECT_DIR = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "loadprofiles.locustfile")
KILL_WAIT_S = 5.0
HEARTBEAT_EVERY_S = 1.0


class LoadChild:
    """A running load child."""

    def __init__(
        self,
        run_dir: Path,
        job: Mapping[str, Any],
        take: Callable[[dict[str, Any], bytes], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._log_path = run_dir / "logs" / LOG_FILE
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        self._take = take
        control_read, self._control = os.pipe()
        data_read, data_write = os.pipe()
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(control_read), str(data_write)],
                pass_fds=(control_read, data_write),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )
        os.close(control_read)
        os.close(data_write)
        self._reader = threading.Thread(target=self._read, args=(data_read,), daemon=True, name="load-reader")
        self._reader.start()
        self._lock = threading.Lock()
        self._tell(job)
        threading.Thread(target=self._beat, daemon=True, name="load-heartbeat").start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Tell whether it has ended and everything it said was taken."""
        return self._process.poll() is not None and not self._reader.is_alive()

    def epitaph(self) -> str:
        """Say how it ended, with the last lines of its log."""
        status = self._process.poll()
        how = "still runs" if status is None else f"exit status {status}" if status >= 0 else _signal_name(-status)
        return f"{how}; last lines of {self._log_path.name}: {' | '.join(self._last_lines()) or 'none'}"

    def _last_lines(self) -> list[str]:
        text = self._log_path.read_text(encoding="utf-8", errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()][-5:]

    def ask_to_stop(self, reason: str) -> None:
        """Ask it to stop sending; closing the pipe is the request, the line says why. Idempotent."""
        with self._lock:
            if self._control >= 0:
                self._tell({"stop": reason})
                os.close(self._control)
                self._control = -1

    def _beat(self) -> None:
        """Give a sign of life every second: a generator that hears none stops by itself, as the Lease lapses."""
        while True:
            with self._lock:
                if self._control < 0 or not self._write(b"\n"):
                    return
            time.sleep(HEARTBEAT_EVERY_S)

    def end(self, limit_s: float) -> None:
        """Wait for its end; after the limit kill it."""
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # `epitaph` says that it still runs
                self._process.wait(KILL_WAIT_S)
        self._reader.join(KILL_WAIT_S)

    def _tell(self, message: Mapping[str, Any]) -> None:
        self._write((json.dumps(message) + "\n").encode())

    def _write(self, data: bytes) -> bool:
        """Write to its control pipe; False where it is gone, which `over` says."""
        try:
            while data:
                data = data[os.write(self._control, data) :]
        except BrokenPipeError:
            return False
        return True

    def _read(self, fd: int) -> None:
        with os.fdopen(fd, "rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                message = json.loads(line)
                blob = stream.read(message.get("blob", 0))
                if len(blob) == message.get("blob", 0):
                    self._take(message, blob)


def _environment() -> dict[str, str]:
    path = [str(PROJECT_DIR), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p), "PYTHONUNBUFFERED": "1"}


def _signal_name(number: int) -> str:
    return f"killed by {signal.Signals(number).name}"
