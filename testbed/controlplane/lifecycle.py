"""Starting, reusing, clearing and ending an instance. One call at a time per instance.

State is written before the first process starts; whatever a killed `up` leaves is found by the marks of the processes.
"""

import dataclasses
import json
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from testbed.controlplane import boot as booting
from testbed.controlplane.boot import Boot
from testbed.controlplane.build import check_disk, programs_dir
from testbed.controlplane.console import Progress
from testbed.controlplane.credentials import make_credentials
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.pki import make_pki
from testbed.controlplane.places import instance_dir, state_root
from testbed.controlplane.ports import check_free
from testbed.controlplane.processes import ProcessId
from testbed.controlplane.programs import FAMILIES
from testbed.controlplane.shutdown import clear
from testbed.controlplane.state import InstanceState, lowest_free_slot, read_state, write_private, write_state
from testbed.controlplane.supervision import Supervisor, socket_path
from testbed.layout import Layout, default_port_base

_LOCK_WAIT_S = 600.0
_DISK_BYTES = 2**30


@dataclass(frozen=True)
class UpRequest:
    """What `up` is asked for.

    Attributes:
        name: instance name.
        components: wanted components; what they need is added.
        slot: 0-15, None for the lowest free one.
        port_base: first port, None for the slot's own.
        owner_pid: process whose death makes the testbed fair game for the next `up`; None: it stays until `down`.
    """

    name: str
    components: tuple[str, ...]
    slot: int | None = None
    port_base: int | None = None
    owner_pid: int | None = None


@dataclass(frozen=True)
class UpResult:
    """What `up` did.

    Attributes:
        layout: the instance.
        created: False when a living instance was reused.
        components: all components that the instance has now.
    """

    layout: Layout
    created: bool
    components: tuple[str, ...]


def up(request: UpRequest, progress: Progress) -> UpResult:
    """Make an instance have the wanted components: reuse a living one, clear a dead one, start what is missing.

    Raises:
        OperatorError: something stands in the way; what this call started is stopped again.
    """
    folder = instance_dir(request.name)
    wanted = booting.with_needs(request.components)
    owner = ProcessId.of(request.owner_pid) if request.owner_pid is not None else None
    with instance_lock(folder, progress):
        state = _living(folder, request, progress)
        components = booting.with_needs((*(state.components if state else ()), *wanted))
        if state is not None and state.components == components:
            return _reuse(state, folder, progress)
        families = {name: programs_dir(FAMILIES[name], progress) for name in booting.families_of(components)}
        living = state is not None
        state = state or _claim(folder, request, owner)
        layout = state.layout(folder)
        missing = tuple(name for name in components if name not in state.components)
        boot = Boot(layout, Supervisor(layout), families, components, missing, progress)
        return _extend(state, boot) if living else _create(state, boot)


@contextmanager
def instance_lock(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the instance: no two of `up` and `down` at a time.

    Raises:
        OperatorError: another call holds it for too long.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"another call works on testbed {folder.name}; waiting for it")
        try:
            lock.acquire(timeout=_LOCK_WAIT_S)
        except Timeout as error:
            raise OperatorError(
                f"another call has held testbed {folder.name} for {_LOCK_WAIT_S:.0f} s; end it"
            ) from error
    try:
        yield
    finally:
        lock.release()


def _living(folder: Path, request: UpRequest, progress: Progress) -> InstanceState | None:
    """Return the state of the living instance in `folder`; clear whatever else is there."""
    state = read_state(folder)
    if state is None:
        clear(folder, None, progress)
        return None
    condition = state.condition()
    if condition == "living" and state.supervisor is not None:
        _same_place(state, request)
        return state
    why = "its owner is gone" if condition == "orphaned" else "its supervisor is gone"
    progress.say(f"clearing testbed {request.name} of an earlier run: {why}")
    clear(folder, state, progress)
    return None


def _same_place(state: InstanceState, request: UpRequest) -> None:
    for option, asked, has in (
        ("--slot", request.slot, state.slot),
        ("--port-base", request.port_base, state.port_base),
    ):
        if asked is not None and asked != has:
            raise OperatorError(
                f"testbed {state.name} is up with {option} {has}, {asked} was asked for; "
                f"end it with `gameday testbed down --name {state.name}`, or start another one with --name"
            )


def _reuse(state: InstanceState, folder: Path, progress: Progress) -> UpResult:
    layout = state.layout(folder)
    supervisor = Supervisor(layout)
    for program in booting.programs_of(state.components):
        fault = supervisor.fault_of(program)
        if fault:
            raise OperatorError(
                f"testbed {state.name} is up, but {fault}\nEnd it with `gameday testbed down`, then `up`."
            )
    progress.say(f"testbed {state.name} is up already ({', '.join(state.components)}); reusing it")
    return UpResult(layout, created=False, components=state.components)


def _extend(state: InstanceState, boot: Boot) -> UpResult:
    missing = tuple(name for name in boot.components if name not in state.components)
    boot.progress.say(
        f"testbed {state.name} is up already ({', '.join(state.components)}); adding {', '.join(missing)}"
    )
    boot.supervisor.configure(booting.command_lines(boot))
    boot.supervisor.take_in_new_programs()
    return _finish(state, boot, created=False)


def _claim(folder: Path, request: UpRequest, owner: ProcessId | None) -> InstanceState:
    """Take a slot and write the state, before anything is started."""
    with FileLock(state_root() / ".slots.lock", timeout=60):
        slot = _slot(request.slot)
        port_base = request.port_base if request.port_base is not None else default_port_base(slot)
        layout = Layout(request.name, slot, port_base, folder)
        socket_path(layout)
        check_free(layout)
        folder.mkdir(mode=0o700, exist_ok=True)
        check_disk(folder, _DISK_BYTES, "a testbed")
        booter = ProcessId.of(os.getpid())
        state = InstanceState(request.name, slot, port_base, str(uuid.uuid4()), owner=owner, booter=booter)
        write_state(folder, state)
    return state


def _slot(asked: int | None) -> int:
    # A slot that was asked for and is held shows itself by its taken ports.
    return lowest_free_slot() if asked is None else asked


def _create(state: InstanceState, boot: Boot) -> UpResult:
    layout, progress = boot.layout, boot.progress
    progress.say(
        f"starting testbed {state.name}: slot {state.slot}, ports from {state.port_base}, {layout.instance_dir}"
    )
    try:
        _prepare(layout)
        boot.supervisor.configure(booting.command_lines(boot))
        supervisor = boot.supervisor.start(state.marks(layout.instance_dir))
        state = dataclasses.replace(state, supervisor=supervisor)
        write_state(layout.instance_dir, state)
        return _finish(state, boot, created=True)
    except BaseException:
        with _deaf():
            progress.say(f"stopping what was started; the logs stay in {layout.logs_dir}")
            clear(layout.instance_dir, state, progress)
        raise


@contextmanager
def _deaf() -> Iterator[None]:
    """Let no further SIGINT or SIGTERM cut a clean-up short: what it has not stopped yet would stay."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare(layout: Layout) -> None:
    shutil.rmtree(layout.logs_dir, ignore_errors=True)
    for folder in (layout.logs_dir, layout.pods_dir, layout.eds_dir, layout.supervisor_dir):
        folder.mkdir(mode=0o700)
    make_pki(layout)
    make_credentials(layout)


def _finish(state: InstanceState, boot: Boot, *, created: bool) -> UpResult:
    layout = boot.layout
    booting.bring_up(boot)
    target = booting.target_document(boot, state.generation)
    write_state(layout.instance_dir, dataclasses.replace(state, components=boot.components, booter=None))
    write_private(layout.target_file, json.dumps(target, indent=1) + "\n")
    boot.progress.say(f"testbed {state.name} is up: {', '.join(boot.components)}")
    return UpResult(layout, created=created, components=boot.components)


def down(name: str, progress: Progress) -> bool:
    """End the instance `name`; return whether there was anything to end.

    Raises:
        OperatorError: a process survives.
    """
    folder = instance_dir(name)
    with instance_lock(folder, progress):
        try:
            state = read_state(folder)
        except OperatorError as unreadable:
            progress.say(f"{unreadable}")
            state = None
        found = clear(folder, state, progress)
    return found or state is not None
