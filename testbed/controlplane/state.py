"""`testbed.json`: what is known about an instance between two calls of the CLI.

Written atomically and before the first process starts, so that whatever an `up` leaves behind can be found.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from testbed.addresses import SLOT_MAX
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.places import state_root
from testbed.controlplane.processes import Marks, ProcessId, slots_in_use
from testbed.layout import STATE_FILE, Layout

SCHEMA = "gameday.testbed/1"

Condition = Literal["living", "orphaned", "broken"]


@dataclass(frozen=True)
class InstanceState:
    """The state of one instance.

    Attributes:
        name: instance name.
        slot: 0-15.
        port_base: first port.
        generation: identifies this boot.
        components: what `up` has brought up, in order.
        owner: process whose death makes the testbed fair game for the next `up`; None when it stays until `down`.
        booter: the `up` that is at work; None when none is.
        supervisor: supervisord; None before it started.
    """

    name: str
    slot: int
    port_base: int
    generation: str
    components: tuple[str, ...] = ()
    owner: ProcessId | None = None
    booter: ProcessId | None = None
    supervisor: ProcessId | None = None

    def layout(self, instance_dir: Path) -> Layout:
        """Return the layout of the instance."""
        return Layout(self.name, self.slot, self.port_base, instance_dir)

    def marks(self, instance_dir: Path) -> Marks:
        """Return the marks that the processes of this generation carry."""
        return Marks(self.name, self.generation, instance_dir, self.slot)

    def condition(self) -> Condition:
        """Judge the instance.

        `living`: supervised, owner (if any) alive. `orphaned`: its owner is dead. `broken`: its supervisor is gone and
        nobody is booting it.
        """
        if self.owner is not None and not self.owner.alive():
            return "orphaned"
        if self.supervisor is not None:
            return "living" if self.supervisor.alive() else "broken"
        return "living" if self.booter is not None and self.booter.alive() else "broken"


def read_state(instance_dir: Path) -> InstanceState | None:
    """Return the state kept in `instance_dir`; None when there is none.

    Raises:
        OperatorError: the file is not a testbed's state.
    """
    path = instance_dir / STATE_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return _from_json(data)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{path}: not a testbed's state ({error}); clear it with `gameday testbed down`") from error


def _from_json(data: dict[str, Any]) -> InstanceState:
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']!r}, expected {SCHEMA!r}")
    processes = {key: ProcessId(**data[key]) if data[key] else None for key in ("owner", "booter", "supervisor")}
    return InstanceState(
        name=data["name"],
        slot=data["slot"],
        port_base=data["port_base"],
        generation=data["generation"],
        components=tuple(data["components"]),
        **processes,
    )


def write_state(instance_dir: Path, state: InstanceState) -> None:
    """Store `state` atomically, readable by the user alone."""
    write_private(instance_dir / STATE_FILE, json.dumps({"schema": SCHEMA, **asdict(state)}, indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` by an atomic rename, mode 0600."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)


def known_states() -> Iterator[InstanceState]:
    """Yield the readable state of every instance in this state folder."""
    for path in sorted(state_root().glob(f"*/{STATE_FILE}")):
        try:
            state = read_state(path.parent)
        except OperatorError:  # of another instance: no reason to refuse this one; its processes show their slot
            continue
        if state is not None:
            yield state


def lowest_free_slot() -> int:
    """Return the lowest slot that no living instance holds, here or under another state folder.

    Raises:
        OperatorError: all slots are held.
    """
    held = slots_in_use() | {state.slot for state in known_states() if state.condition() != "broken"}
    for slot in range(SLOT_MAX + 1):
        if slot not in held:
            return slot
    raise OperatorError(f"all {SLOT_MAX + 1} slots are held by living testbeds; end one with `gameday testbed down`")
