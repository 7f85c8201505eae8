"""The live view of a run: folds the event stream into one status line and the few lines worth printing at once.

Pure but for `LiveView`, which prints. Must not judge: what it shows is for eyes, never for verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

STATUS_EVERY_S = 5.0
"""How often a status line is printed where there is no terminal: a CI log of ten minutes has 120 of them."""


@dataclass
class LiveState:
    """What is known so far.

    Attributes:
        expected_s: How long the run is expected to take.
    """

    expected_s: float = 0.0
    t_s: float = 0.0
    phase: str = "preflight"
    load: Mapping[str, Any] = field(default_factory=dict)
    replicas: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    desired: dict[str, int | None] = field(default_factory=dict)
    backlog_s: float | None = None
    queued: float | None = None
    workers_most: int = 1

    def take(self, event: Mapping[str, Any]) -> str:
        """Take in one event.

        Args:
            event: An `Event` as plain JSON.

        Returns:
            A line to print at once, or an empty string.
        """
        self.t_s = max(self.t_s, float(event["t_s"]))
        handler = _HANDLERS.get(str(event["kind"]))
        return handler(self, str(event["subject"]), event["detail"]) if handler else ""

    def status(self) -> str:
        """Return the status in one line."""
        parts = [f"+{self.t_s:5.1f}s/{self.expected_s:.0f}s", f"{self.phase:<9}"]
        if self.load:
            parts.append(f"offered {self.load['offered_rps']:5.1f} achieved {self.load['achieved_rps']:5.1f} rps")
            parts.append(f"ok {self._success_text()}")
            parts += self._troubles()
        parts += [
            f"{name} {spec if spec is not None else '?'}/{ready} ready" for name, (spec, ready) in self._watched()
        ]
        if self.backlog_s is not None:
            parts.append(
                f"backlog {self.backlog_s:.0f} s" + (f" ({self.queued:.0f})" if self.queued is not None else "")
            )
        return "  ".join(parts)

    def _troubles(self) -> list[str]:
        """Say what the generator itself has trouble with, where it has any."""
        dropped, workers = int(self.load.get("dropped") or 0), int(self.load.get("workers") or 1)
        self.workers_most = max(self.workers_most, workers)
        told = [f"dropped {dropped}"] if dropped else []
        return told + ([f"workers {workers}/{self.workers_most}"] if self.workers_most > 1 else [])

    def _watched(self) -> list[tuple[str, tuple[int | None, int]]]:
        scaled = {target for target in self.desired}
        return [(name.split("/")[-1], counts) for name, counts in sorted(self.replicas.items()) if name in scaled]

    def _success_text(self) -> str:
        done = int(self.load["requests"])
        return f"{100 * (done - int(self.load['failures'])) / done:.2f} %" if done else "-"


def _phase(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    if detail.get("edge") != "start":
        return ""
    state.phase = subject
    return f"phase {subject}"


def _load(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    del subject
    state.load = detail
    return ""


def _workload(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    state.replicas[subject] = (detail.get("spec_replicas"), int(detail.get("ready_replicas") or 0))
    return ""


def _hpa(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    target = f"{detail.get('namespace', '')}/{str(detail.get('target', '')).split('/')[-1]}"
    desired = detail.get("desired_replicas")
    before = state.desired.get(target)
    state.desired[target] = desired
    if before is None or desired is None or before == desired:
        return ""
    return f"scale {subject}: {before} → {desired}"


def _sample(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    value = detail.get("value")
    number = float(value) if value is not None and math.isfinite(float(value)) else None
    if subject == "queue_oldest_task_age_seconds":
        state.backlog_s = number
    elif subject == "queue_depth":
        state.queued = number
    return ""


def _fault(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    del state
    step = detail.get("step")
    victims = ", ".join(v["name"] for v in detail.get("victims", ()))
    texts = {
        "acted": f"fault {subject}: {detail.get('loss', '')} of {victims}",
        "evidence": f"fault {subject}: effect {detail.get('effect', '?')} ({detail.get('reason', '')})",
        "denied": f"fault {subject}: not permitted ({detail.get('reason', '')})",
        "failed": f"fault {subject}: FAILED ({detail.get('reason', '')})",
    }
    return texts.get(str(step), "")


def _gate(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    del state
    word = {True: "held", False: "missed", None: "cannot be told"}[detail.get("ok")]
    return f"gate {subject}: {word} ({detail.get('reason', '')})"


def _finding(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    del state, subject
    return f"finding: {detail.get('message', '')} → {detail.get('remedy', '')}"


def _undo(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    del state
    return f"undo {subject}: {detail.get('step')} ({detail.get('outcome', '')})"


def _plain(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    del state
    return f"{subject}: {detail.get('message') or detail.get('reason') or detail.get('difference') or ''}"


def _watch(state: LiveState, subject: str, detail: Mapping[str, Any]) -> str:
    del state
    if detail.get("state") not in {"hole", "lost"}:
        return ""
    return f"watch of {subject}: {detail['state']} ({detail.get('reason', '')})"


_HANDLERS = {
    "phase": _phase, "load": _load, "workload": _workload, "hpa": _hpa, "sample": _sample, "fault": _fault,
    "gate": _gate, "finding": _finding, "refusal": _plain, "stop": _plain, "note": _plain, "residue": _plain,
    "undo": _undo, "watch": _watch,
}  # fmt: skip


class LiveView:
    """Prints a run as it goes: a moving status line on a terminal, a line every few seconds in a plain log."""

    def __init__(self, console: Console, expected_s: float) -> None:
        self._console = console
        self._state = LiveState(expected_s=expected_s)
        self._printed_s = -STATUS_EVERY_S
        self._live = Live(Text(""), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveView:
        """Start the moving line where there is a terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop the moving line."""
        if self._console.is_terminal:
            self._live.stop()

    def take_message(self, message: Mapping[str, Any]) -> None:
        """Show one message of the conductor's stream."""
        if message["m"] == "event":
            self.take(message)
        elif message["m"] == "run":
            self._console.print(Text(f"run {message['run_id']} (seed {message['seed']}) in {message['run_dir']}"))

    def take(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        line = self._state.take(event)
        if line:
            self._console.print(Text(f"+{self._state.t_s:6.1f}s  {line}"), soft_wrap=True)
        if self._console.is_terminal:
            self._live.update(Text(self._state.status()))
        elif self._state.t_s - self._printed_s >= STATUS_EVERY_S:
            self._printed_s = self._state.t_s
            self._console.print(Text(self._state.status()), soft_wrap=True)
