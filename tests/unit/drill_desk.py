"""An in-memory `Desk`, held to the same contract as a drill's session (`test_drill_web_desk`).

It has the whole of a drill for people and nothing of a cluster: commands say what was planted, steady states and pages
come from the test. Its journal is a list that outlives it, as a file would: a second desk over it is a restart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.drill.desk import Role
from harness.model.drill import Drill, DrillError, DrillState, Entry, Mark

HIDDEN = {
    "experiment": "gpu-exhaustion",
    "fault": "hold-all-gpus",
    "title": "GPUs run out under burst",
    "answer": "A batch job of another team held every GPU.",
}
OPENED = {
    "drill_id": "d-7f3a",
    "target": "local",
    "limit_s": 900.0,
    "targets_s": {"detected": 120.0, "acknowledged": 180.0, "diagnosed": 480.0, "mitigated": 720.0},
    "runbook": "runbooks/inference.md",
    "seal": "5e" * 32,
}
HINTS = ("Look at what is pending.", "What do the pending pods wait for?", "Who else asks for that?")
READ, CHANGE = "kubectl -n agents get pods", "kubectl -n agents scale deployment/batch --replicas=0"
STEPS: tuple[dict[str, Any], ...] = (
    {
        "step": "look",
        "title": "Look at the pods",
        "text": "Which are `Pending`, and since when?\n\n```promql\nsum(rate(inference_shed_total[30s]))\n```",
        "commands": [{"command": READ, "changes": False}],
    },
    {"step": "events", "title": "Read the events", "text": "Newest last.", "commands": []},
    {
        "step": "free",
        "title": "Make room",
        "text": "Only after you know <script>alert(1)</script> who is [in the way](javascript:alert(1)).",
        "commands": [{"command": CHANGE, "changes": True}],
    },
)
OUTPUT = "NAME               READY   STATUS    RESTARTS   AGE\ninference-0        0/1     Pending   0          41s\n"


@dataclass
class DeskTwin:
    """A drill without a cluster."""

    journal: list[Entry] = field(default_factory=list)
    now: Callable[[], float] = time.time
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    debrief: str = ""
    allow_changes: bool = False

    def __post_init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._number = 0
        if not self.journal:
            self.say("opened", "drill", **OPENED)

    def say(self, kind: str, by: str, **detail: Any) -> None:
        """Write an entry."""
        with self._changed:
            self.journal.append(Entry(len(self.journal) + 1, self.now(), kind, by, detail))
            self.touch()

    def touch(self) -> None:
        """Tell everybody that something changed."""
        with self._changed:
            self._number += 1
            self._changed.notify_all()

    def go(self, state: DrillState) -> None:
        """Come to a state."""
        self.say("state", "drill", state=str(state))

    def finish(self, end: str, reason: str = "") -> None:
        """End it: reveal, end, over."""
        self.go(DrillState.ENDING)
        self.say("revealed", "drill", **HIDDEN, nonce="ab" * 16)
        self.say("ended", "drill", end=end, reason=reason, run_dir="", exit_status=0)
        self.go(DrillState.OVER)

    def drill(self) -> Drill:
        with self._changed:
            return Drill(tuple(self.journal))

    def mark(self, mark: Mark, by: str, *, implies: bool = False) -> None:
        with self._changed:
            for one in self.drill().marks_to_make(mark, implies=implies):
                self.say("mark", by, mark=str(one), implied=one is not mark)

    def hint(self, by: str) -> str:
        with self._changed:
            self._check_running("a hint")
            given = len(self.drill().of("hint"))
            if given == len(HINTS):
                raise DrillError("there is no hint left", "read the ones you have")
            self.say("hint", by, number=given + 1, text=HINTS[given])
            return HINTS[given]

    def note(self, text: str, by: str) -> None:
        self.say("note", by, text=text)

    def step(self, step: str, done: bool, by: str) -> None:
        self._step(step)
        self.say("step", by, step=step, done=done)

    def run_command(self, step: str, number: int, by: str) -> Mapping[str, Any]:
        commands = self._step(step)["commands"]
        if not 1 <= number <= len(commands):
            raise DrillError(f"{step} has no command {number}", f"it has {len(commands)}")
        command = commands[number - 1]
        if command["changes"] and not self.allow_changes:
            raise DrillError(f"{command['command']}: would change the cluster", "run it yourself, in your own terminal")
        detail = {**command, "step": step, "exit_status": 0, "output": OUTPUT, "duration_s": 0.2, "refused": ""}
        self.say("command", by, **detail)
        return detail

    def page(self, detail: Mapping[str, Any], by: str) -> None:
        with self._changed:
            self.say("page", by, **detail)
            drill = self.drill()
            running, marked = drill.state is DrillState.RUNNING, Mark.ACKNOWLEDGED in drill.marks
            if detail["state"] == "acknowledged" and running and not marked:
                self.mark(Mark.ACKNOWLEDGED, by, implies=True)

    def stop(self, reason: str, by: str) -> None:
        self.say("stop", by, reason=reason)

    def changes(self, timeout_s: float) -> Iterator[int]:
        seen = -1
        while self.drill().state is not DrillState.OVER:
            with self._changed:
                self._changed.wait_for(lambda before=seen: self._number != before, timeout_s)  # type: ignore[misc]
                seen = self._number
            yield seen

    def view(self, role: Role) -> Mapping[str, Any]:
        drill = self.drill()
        opened = drill.opened()
        view = {
            **{key: opened[key] for key in ("drill_id", "target", "limit_s", "targets_s")},
            "state": str(drill.state),
            "end": self._end(drill),
            "now_unix_s": self.now(),
            "began_unix_s": self._began(drill),
            "marks": {mark: {"at_unix_s": e.at_unix_s, "by": e.by} for mark, e in drill.marks.items()},
            "steady": next((dict(e.detail) for e in reversed(drill.of("steady"))), {"ok": None, "reason": ""}),
            "hints": [e.detail["text"] for e in drill.of("hint")],
            "hints_left": len(HINTS) - len(drill.of("hint")),
            "notes": [{"at_unix_s": e.at_unix_s, "by": e.by, "text": e.detail["text"]} for e in drill.of("note")],
            "pages": [{**e.detail, "at_unix_s": e.at_unix_s} for e in drill.of("page")],
            "actions": [{**e.detail, "at_unix_s": e.at_unix_s} for e in drill.of("action")],
            "troubles": [dict(e.detail) for e in drill.of("trouble")],
            "runbook": {"title": "Runbook", "path": opened["runbook"], "steps": self._steps(drill)},
            "curves": self.curves,
            "debrief": self.debrief,
        }
        if role is Role.FACILITATOR:
            view |= {"hidden": HIDDEN, "faults": [self._fault_event()]}
        return view

    def _fault_event(self) -> dict[str, Any]:
        return {"at_unix_s": self.now(), "kind": "fault", "subject": HIDDEN["fault"], "detail": {"edge": "start"}}

    def _check_running(self, what: str) -> None:
        state = self.drill().state
        if state is not DrillState.RUNNING:
            raise DrillError(f"{what}: the drill is {state}", "wait until it runs")

    def _step(self, step: str) -> dict[str, Any]:
        found = next((one for one in STEPS if one["step"] == step), None)
        if found is None:
            raise DrillError(f"the runbook has no step {step}", f"it has {', '.join(one['step'] for one in STEPS)}")
        return found

    def _steps(self, drill: Drill) -> list[dict[str, Any]]:
        told = {e.detail["step"]: e.detail["done"] for e in drill.of("step")}
        return [{**step, "done": told.get(step["step"])} for step in STEPS]

    def _began(self, drill: Drill) -> float | None:
        return next((e.at_unix_s for e in drill.of("state") if e.detail["state"] == "running"), None)

    def _end(self, drill: Drill) -> dict[str, Any] | None:
        end = drill.end
        return end and {"end": end.detail["end"], "reason": end.detail["reason"]}


def running(**given: Any) -> DeskTwin:
    """Return a desk whose drill runs."""
    desk = DeskTwin(**given)
    desk.go(DrillState.RUNNING)
    return desk
