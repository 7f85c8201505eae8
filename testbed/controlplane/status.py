"""What an instance is doing, as a document that `status` prints and `status --json` hands on. Changes nothing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from testbed.controlplane.boot import cpu_limits_enforced
from testbed.controlplane.state import InstanceState, read_state
from testbed.controlplane.supervision import Supervisor

SCHEMA = "gameday.testbed-status/1"


@dataclass(frozen=True)
class Status:
    """The status of one instance.

    Attributes:
        document: the whole status (schema `gameday.testbed-status/1`).
        faults: what is wrong, one text per fault, with last lines of logs; empty when all is well.
    """

    document: dict[str, Any]
    faults: list[str] = field(default_factory=list)


def status_of(folder: Path) -> Status:
    """Return the status of the instance in `folder`.

    Raises:
        OperatorError: its state is unreadable, or its supervisor does not answer.
    """
    state = read_state(folder)
    if state is None:
        document = {"schema": SCHEMA, "name": folder.name, "condition": "absent", "programs": []}
        return Status(document, [f"there is no testbed {folder.name}; start one with `gameday testbed up`"])
    condition = state.condition()
    document = _document(state, folder)
    if condition == "broken" or state.supervisor is None:
        return Status(document, ["its supervisor is gone; `gameday testbed up` or `down` clears what is left"])
    supervisor = Supervisor(state.layout(folder))
    exits = supervisor.exits()
    programs = [_program(info, exits) for info in supervisor.processes().values()]
    faults = [text for program in programs if (text := supervisor.fault_of(program["name"]))]
    faults += [
        f"{name} has ended by itself and was restarted ({', '.join(ends)}). {supervisor.last_words(name)}"
        for name, ends in exits.items()
    ]
    if condition == "orphaned":
        faults.append("its owner is gone; the next `gameday testbed up` clears it")
    return Status({**document, "programs": programs}, faults)


def _document(state: InstanceState, folder: Path) -> dict[str, Any]:
    layout = state.layout(folder)
    return {
        "schema": SCHEMA,
        "name": state.name,
        "condition": state.condition(),
        "slot": state.slot,
        "generation": state.generation,
        "components": list(state.components),
        "owner_pid": state.owner.pid if state.owner else None,
        "api_server": layout.api_server,
        "ports": layout.ports.by_name(),
        "instance_dir": str(folder),
        "target": str(layout.target_file) if layout.target_file.exists() else None,
        "cpu_limits_enforced": cpu_limits_enforced(layout),
        "programs": [],
    }


def _program(info: dict[str, Any], exits: dict[str, list[str]]) -> dict[str, Any]:
    return {
        "name": info["name"],
        "state": info["statename"],
        "pid": info["pid"] or None,
        "up_s": info["now"] - info["start"] if info["pid"] else None,
        "rss_bytes": _rss_bytes(info["pid"]) if info["pid"] else None,
        "unexpected_exits": exits.get(info["name"], []),
        "log": info["stdout_logfile"],
    }


def _rss_bytes(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return None


def as_text(status: Status) -> str:
    """Return the status for a terminal."""
    document = status.document
    lines = [f"testbed {document['name']}: {document['condition']}"]
    if document["condition"] != "absent":
        lines.append(f"  components: {', '.join(document['components']) or 'none yet'}")
        lines.append(f"  api server: {document['api_server']}   slot {document['slot']}   {document['instance_dir']}")
        lines.append(f"  CPU limits enforced: {'yes' if document['cpu_limits_enforced'] else 'no'}")
    for program in document["programs"]:
        lines.append("  " + _program_line(program))
    return "\n".join([*lines, *(f"! {fault}" for fault in status.faults)])


def _program_line(program: dict[str, Any]) -> str:
    rss = f"{program['rss_bytes'] / 2**20:.0f} MiB" if program["rss_bytes"] else "-"
    up = f"{program['up_s']} s" if program["up_s"] is not None else "-"
    return f"{program['name']:<26}{program['state']:<10}{program['pid'] or '-':>8}{up:>9}{rss:>10}"
