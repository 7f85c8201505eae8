"""A drill session over a folder, with a clock that the test moves and nothing of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.drill.books import Books
from harness.drill.journal import Journal
from harness.drill.seal import Hidden
from harness.drill.session import Given, Session
from harness.runbook import Step
from harness.runbook_commands import Command
from harness.runbook_run import CommandResult

HIDDEN = Hidden("zebra-shortage", "stripe-the-zebra", 7, "5e" * 32)
TITLE, ANSWER = "Zebras run short", "Somebody painted the zebra over."
VICTIM, ACTION = "victim-pod-17", "paint_zebras"
HINTS = ("look", "look there", "look at the paint")
READ, CHANGE = Command("kubectl get pods", False), Command("kubectl scale deployment/a --replicas=2", True)
STEPS = (
    Step("1", "Look", "What do you see?", (READ,)),
    Step("2", "Mend", "Only when you know.", (CHANGE,)),
)
BEGAN_UNIX_S = 1_800_000_000.0
LIMIT_S = 900.0
FOUND = CommandResult(0, "pod-1 Running", 0.25)


@dataclass
class Bench:
    """What a test of a session needs.

    Attributes:
        folder: The drill's.
        now_unix_s: Wall clock.
        ran: Commands that were run.
        result: What a command gives.
    """

    folder: Path
    now_unix_s: float = BEGAN_UNIX_S
    ran: list[str] = field(default_factory=list)
    result: CommandResult = FOUND

    def __post_init__(self) -> None:
        self.session = self.open()

    def open(self, *, allow_changes: bool = False) -> Session:
        """Open the session of the folder, also again: as a restart does."""
        journal = Journal(self.folder, now_unix_s=lambda: self.now_unix_s, environ={})
        return Session(journal, self.given(allow_changes), now_unix_s=lambda: self.now_unix_s)

    def given(self, allow_changes: bool) -> Given:
        targets_s = {"detected": 120.0, "acknowledged": 180.0, "diagnosed": 480.0, "mitigated": 720.0}
        opened = {"drill_id": "d-1", "target": "local", "limit_s": LIMIT_S, "targets_s": targets_s, "seal": HIDDEN.seal}
        hidden = {"experiment": HIDDEN.experiment, "fault": HIDDEN.fault, "title": TITLE, "answer": ANSWER}
        revealed = {**hidden, "nonce": HIDDEN.nonce, "runbook": [f"runbooks/{HIDDEN.experiment}.md"]}
        own = frozenset({"gameday-system"})
        books = Books("Runbook", STEPS)
        return Given(opened, revealed, HINTS, books, self._execute, allow_changes, own)

    def _execute(self, text: str) -> CommandResult:
        self.ran.append(text)
        return self.result

    def after(self, seconds: float) -> Bench:
        """Let time pass."""
        self.now_unix_s += seconds
        return self

    def journal_bytes(self) -> bytes:
        return (self.folder / "journal.jsonl").read_bytes()

    # the run beneath ------------------------------------------------------------------------------------------------

    def tell(self, kind: str, subject: str, **detail: Any) -> None:
        """Let the run beneath say something, now."""
        self.session.take(self.event(kind, subject, **detail))

    def event(self, kind: str, subject: str, **detail: Any) -> Mapping[str, Any]:
        t_s = self.now_unix_s - BEGAN_UNIX_S
        return {"m": "event", "seq": 1, "t_s": t_s, "actor": "x", "kind": kind, "subject": subject, "detail": detail}

    def start(self) -> Bench:
        """Let the run reach the moment from which the fault may come."""
        self.session.take({"m": "run", "run_id": "r", "run_dir": "d", "seed": 7, "origin_unix_s": BEGAN_UNIX_S})
        self.tell("phase", "inject", edge="start")
        return self

    def strike(self) -> Bench:
        """Let the fault come and be proven."""
        victims = [{"kind": "Pod", "namespace": "agents", "name": VICTIM, "uid": "u-1"}]
        self.tell("fault", "change", step="acted", action=ACTION, victims=victims, loss="none")
        self.tell("fault", "change", step="evidence", action=ACTION, victims=victims, effect="CONFIRMED", reason=VICTIM)
        return self

    def steady(self, ok: bool | None, reason: str = "") -> Bench:
        """Let the run look at the steady state."""
        value = None if ok is None else float(ok)
        self.tell("sample", "steady_state", value=value, reason=reason)
        return self
