"""Ending an instance completely: its programs in order, then whatever carries its marks, then its secrets and data.

Logs stay. Nothing is touched that belongs to another instance.
"""

import shutil
import time
from pathlib import Path

from testbed.controlplane.console import Progress
from testbed.controlplane.credentials import secret_files
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.processes import Marks, ProcessId, kill_marked
from testbed.controlplane.state import InstanceState
from testbed.controlplane.supervision import Supervisor
from testbed.layout import Layout, default_port_base

_STOP_TIMEOUT_S = 60.0


def clear(folder: Path, state: InstanceState | None, progress: Progress) -> bool:
    """End what runs for the instance in `folder` and remove its secrets and data; return whether anything was there.

    Args:
        folder: the instance's folder.
        state: its state; None when that is lost or there never was one.
        progress: told what had to be killed.

    Raises:
        OperatorError: a process survives SIGKILL.
    """
    layout = state.layout(folder) if state else Layout(folder.name, 0, default_port_base(0), folder)
    if state is not None and state.supervisor is not None and state.supervisor.alive():
        _stop_in_order(layout, state.supervisor, progress)
    marks = state.marks(folder) if state else Marks(folder.name, None, folder, 0)
    killed = kill_marked(marks)
    if killed:
        progress.say(f"killed what was left of testbed {folder.name}: {', '.join(killed)}")
    return _remove(layout) or bool(killed)


def _stop_in_order(layout: Layout, supervisor: ProcessId, progress: Progress) -> None:
    try:
        Supervisor(layout).shutdown()
    except OperatorError as refused:
        progress.say(f"{refused}; killing its programs")
        return
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    while supervisor.alive():
        if time.monotonic() > deadline_s:
            progress.say(f"the programs of testbed {layout.name} have not stopped in {_STOP_TIMEOUT_S:.0f} s")
            return
        time.sleep(0.05)


def _remove(layout: Layout) -> bool:
    """Remove everything but the logs; return whether there was anything."""
    folders = (
        layout.pki_dir,
        layout.etcd_dir,
        layout.pods_dir,
        layout.eds_dir,
        layout.supervisor_dir,
        layout.instance_dir / "kubectl-cache",
        layout.instance_dir / "flex-volume",
    )
    # The state goes last: until then a second `down` knows what to look for.
    files = (*secret_files(layout), layout.target_file, layout.nodeagent_state, layout.state_file)
    found = False
    for path in (*folders, *files):
        if path.is_dir():
            shutil.rmtree(path)
            found = True
        elif path.exists():
            path.unlink()
            found = True
    return found
