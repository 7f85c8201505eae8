"""The client of a run: what it makes of a conductor that dies."""

import sys

from harness import client
from harness.client import Job, RunClient

JOB = Job("e.yaml", "gameday.toml", "", 7, "runs", rehearse=True)
DYING = """import os, sys
sys.stdout.write('{"m": "run", "run_dir": "runs/20261125-0141-trial-7f3a"}\\n{"m": "ev')
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""


def test_a_conductor_killed_in_the_middle_of_a_line_is_exit_3_and_no_traceback(monkeypatch):
    start = client.subprocess.Popen
    monkeypatch.setattr(client.subprocess, "Popen", lambda _, **how: start([sys.executable, "-c", DYING], **how))
    shown = []
    end = RunClient(JOB, shown.append).wait()
    assert [message["m"] for message in shown] == ["run"]
    assert (end.exit_status, end.run_dir) == (3, None)
    assert "ended with status -9" in end.error
    assert "`gameday report runs/20261125-0141-trial-7f3a`" in end.error
