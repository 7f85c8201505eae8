"""One run of the kill matrix: start a game day, kill somebody at a drawn moment, see what is left and for how long."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.bench.kill_lane import LOOK_EVERY_S, ROOT, RUN_LIMIT_S, SYSTEM, WHOLE_LIMIT_S, Lane, end

WHO = ("conductor", "chaos child", "load child", "reaper", "API server", "all")
QUIET_S = 2.0
"""How long the cluster must be as before, with nobody of the run alive, before it counts as restored."""

NOTICE_S = 1.0
"""How long the loss of a child may go unnoticed; a fault that was granted before goes on to its own end."""

LEASE_LIMIT_S = 25.0
SWEPT_LIMIT_S = 20.0
STEPS = ("permit", "undo-recorded", "acted", "evidence")
LIGHT_FAULTS = ("kill-a-pod", "scale-away", "drain-a-node", "unplug-devices")
FULL_FAULTS = ("hold-every-free-gpu", "kill-a-third-of-the-planners", "drain-a-general-node")


@dataclass(frozen=True)
class Draw:
    """Who is killed, how and when.

    Attributes:
        seed: Of the draw, and of the run.
        who: Part of the run.
        signal: ``SIGKILL`` or ``SIGTERM``.
        kind: Kind of the event that triggers it.
        subject: Its subject.
        step: Its step or edge.
        delay_s: Seconds after it.
    """

    seed: int
    who: str
    signal: str
    kind: str
    subject: str
    step: str
    delay_s: float


@dataclass
class Outcome:
    """What a run left.

    Attributes:
        draw: Who, how, when.
        struck_s: Time of the run's last event when the signal was sent.
        counted: Whether anybody was there to be killed before the run had ended.
        exit_status: Of `gameday run`.
        restored_s: From the signal until the cluster was as before; None where it never was.
        broken: What differed right after the signal, in short.
        undo_s: From the first undo to the last, where the run did it itself.
        further_faults: Faults that were granted after the stop request.
        residue: What is left.
        violations: What must not be.
    """

    draw: Draw
    struck_s: float = 0.0
    counted: bool = False
    exit_status: int = 0
    restored_s: float | None = None
    broken: int = 0
    undo_s: float = 0.0
    further_faults: int = 0
    residue: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def draw(seed: int, *, full: bool) -> Draw:
    """Draw who is killed, how and when: by the steps of the faults, the undos, and the phases."""
    chance = random.Random(f"kill/{seed}")  # noqa: S311 - a draw that must repeat
    who = chance.choice(WHO)
    number = "SIGKILL" if who == "API server" else chance.choice(("SIGKILL", "SIGTERM"))
    faults = FULL_FAULTS if full else LIGHT_FAULTS
    moments = [("fault", fault, step) for fault in faults for step in STEPS]
    moments += [("undo", fault, "start") for fault in faults if not fault.startswith("kill")]
    if who not in {"chaos child", "load child"}:
        moments += [("phase", name, "start") for name in ("baseline", "burst", "inject", "recover")]
    kind, subject, step = chance.choice(moments)
    return Draw(seed, who, number, kind, subject, step, round(chance.uniform(0.0, 0.6), 3))


class Journal:
    """The events of a run, as they come to disk."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._read = 0
        self.events: list[dict[str, Any]] = []

    def look(self) -> list[dict[str, Any]]:
        """Return every event so far."""
        for folder in self._runs.glob("2*"):
            path = folder / "events.jsonl"
            if path.exists():
                with path.open() as stream:
                    stream.seek(self._read)
                    for line in stream:
                        if line.endswith("\n"):
                            self._read += len(line.encode())
                            self.events.append(json.loads(line))
        return self.events

    def happened(self, wanted: Draw) -> bool:
        """Tell whether the event of a draw has come."""
        return any(
            e["kind"] == wanted.kind
            and e["subject"] == wanted.subject
            and wanted.step in {e["detail"].get("step"), e["detail"].get("edge")}
            for e in self.look()
        )


def one_run(lane: Lane, wanted: Draw) -> Outcome:
    """Start a run, kill, and look."""
    runs = lane.work / f"runs-{wanted.seed}"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir()
    found, journal = Outcome(wanted), Journal(runs)
    with (runs / "client.log").open("wb") as log:
        client = subprocess.Popen(
            lane.command(wanted.seed, runs), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _strike(lane, psutil.Process(client.pid), client, wanted, journal, found)
        found.exit_status = client.wait(RUN_LIMIT_S)
    except subprocess.TimeoutExpired:
        found.residue = ("the run never ended",)
    finally:
        client.kill()
    if found.counted:
        _judge(lane, found, journal)
        wait_for_lease(lane)
        status, said = _settled_check(lane)
        if status:
            found.violations += (f"recover --check: {said}",)
    return found


def _settled_check(lane: Lane) -> tuple[int, str]:
    """Ask `recover --check` until it finds nothing: the reaper sweeps a dead run's done records every 15 s."""
    deadline_s = time.monotonic() + SWEPT_LIMIT_S
    while True:
        status, said = lane.check()
        if not status or time.monotonic() > deadline_s:
            return status, said
        time.sleep(1.0)


def _strike(
    lane: Lane,
    run: psutil.Process,
    client: subprocess.Popen[bytes],
    wanted: Draw,
    journal: Journal,
    found: Outcome,
) -> None:
    deadline_s = time.monotonic() + RUN_LIMIT_S
    while not journal.happened(wanted):
        if client.poll() is not None or time.monotonic() > deadline_s:
            return
        time.sleep(0.02)
    time.sleep(wanted.delay_s)
    parts = lane.processes(run)
    children = [p for name in ("conductor", "chaos child", "load child") for p in parts[name]]
    struck = [*parts["client"], *children, *parts["reaper"]] if wanted.who == "all" else parts[wanted.who]
    at_s = time.monotonic()
    found.struck_s = max((e["t_s"] for e in journal.look()), default=0.0)
    found.counted = client.poll() is None and end(struck, signal.Signals[wanted.signal]) > 0
    if found.counted:
        _watch(lane, client, children, at_s, found)


def _watch(
    lane: Lane, client: subprocess.Popen[bytes], children: Sequence[psutil.Process], at_s: float, found: Outcome
) -> None:
    """Look until the cluster is as before for a while with nobody of the run alive, or the limit passes."""
    last_broken_s = quiet_since_s = at_s
    first = True
    while True:
        differences, now_s = lane.differences(), time.monotonic()
        if first:
            found.broken, first = len(differences), False
        alive = client.poll() is None or any(child.is_running() and _lives(child) for child in children)
        if differences or alive:
            last_broken_s = now_s if differences else max(last_broken_s, at_s)
            quiet_since_s = now_s
        if not differences and not alive and now_s - max(last_broken_s, quiet_since_s) >= QUIET_S:
            found.restored_s = round(last_broken_s - at_s, 2)
            return
        if now_s - at_s > RUN_LIMIT_S + WHOLE_LIMIT_S:
            found.residue = tuple(differences) or ("the run never ended",)
            return
        time.sleep(LOOK_EVERY_S)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _judge(lane: Lane, found: Outcome, journal: Journal) -> None:
    events, wanted = journal.look(), found.draw
    undone = [e["t_s"] for e in events if e["kind"] == "undo" and e["t_s"] > found.struck_s]
    found.undo_s = round(max(undone) - min(undone), 2) if undone else 0.0
    stops = [e["t_s"] for e in events if e["kind"] == "stop"] or [found.struck_s + NOTICE_S]
    granted = [e["t_s"] for e in events if e["kind"] == "fault" and e["detail"].get("step") == "permit"]
    ended = wanted.who in {"conductor", "chaos child", "load child", "all"}
    found.further_faults = sum(t_s > stops[0] for t_s in granted) if ended else 0
    bad = [f"residue: {text}" for text in found.residue]
    if found.exit_status == 0 and wanted.who in {"conductor", "chaos child", "load child", "all"}:
        bad.append("it passed")
    if found.further_faults:
        bad.append(f"{found.further_faults} faults after the stop request")
    limit_s = 20.0 if wanted.signal == "SIGKILL" else 3.0 + found.undo_s
    if wanted.who in {"conductor", "all"} and found.restored_s is not None and found.restored_s > limit_s:
        bad.append(f"restored after {found.restored_s:.1f} s, the limit is {limit_s:.1f} s")
    found.violations = tuple(bad)


def wait_for_lease(lane: Lane) -> None:
    """Wait until nobody holds the run Lease any more: a dead run's lapses by itself."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/gameday-run"
    deadline_s, seen, since_s = time.monotonic() + LEASE_LIMIT_S, "", time.monotonic()
    while time.monotonic() < deadline_s:
        try:
            spec = lane.get(path)["spec"]
        except requests.RequestException:
            spec = {"renewTime": "?", "holderIdentity": "?"}
        if not spec.get("holderIdentity"):
            return
        if spec["renewTime"] != seen:
            seen, since_s = spec["renewTime"], time.monotonic()
        elif time.monotonic() - since_s > spec.get("leaseDurationSeconds", 15) + 3.0:
            return
        time.sleep(0.5)
