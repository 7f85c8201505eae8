"""Drills as the tests of their debrief need them: a journal, a stored run beneath it, and the ways they end badly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness import store
from harness.drill.journal import JOURNAL_FILE
from harness.model.drill import DrillFault, DrillPlan, Entry, Mark, seal_of
from harness.model.record import Record
from harness.model.timeline import Event, Timeline
from harness.model.verdict import Outcome, Verdict
from tests.unit import stored_folders
from tests.unit import stored_runs as runs

ORIGIN_UNIX_S = runs.ORIGIN.timestamp()
EFFECT_S = runs.KILL_S + 6.5
"""Of the run beneath: when the fault's effect is proven."""

NONCE = "ab" * 32
HIDDEN = {"experiment": "pod-kill-under-burst", "fault": "kill-a-third-of-the-planners"}
TARGETS_S = {"detected": 30.0, "acknowledged": 40.0, "diagnosed": 60.0, "mitigated": 70.0}
DRILL_ID = "20261125-0141-7f3a"
RUN_ID = "20261125-0141-drill-7f3a"
FAULT = DrillFault(
    HIDDEN["fault"], "A third of the planner's pods was killed.", ("PlannerPodsDown", "ErrorBudgetBurn"), 20.0,
    ("Look at the pods.", "Look at the planner's pods."),
)  # fmt: skip
PLAN = DrillPlan(300.0, {Mark(name): value for name, value in TARGETS_S.items()}, (FAULT,), ("BacklogAge",))

Said = tuple[float, str, str, Mapping[str, Any]]
"""Seconds since the run's origin, kind, by whom, detail."""


def opened(**changes: Any) -> dict[str, Any]:
    """Return the detail of the first entry."""
    seal = seal_of(HIDDEN, NONCE)
    told = {"drill_id": DRILL_ID, "target": "local", "limit_s": 300.0, "targets_s": TARGETS_S, "seal": seal}
    return {**told, "runbook": "", **changes}


def page(alert: str, state: str = "firing") -> dict[str, Any]:
    """Return the detail of a page."""
    told = {"source": "alertmanager", "alert": alert, "state": state, "severity": "critical", "labels": {}}
    return {**told, "summary": f"{alert} of the planner"}


def action(obj: str, what: str, manager: str, origin: str) -> dict[str, Any]:
    """Return the detail of a change."""
    return {"object": obj, "what": what, "manager": manager, "origin": origin}


def revealed(**changes: Any) -> dict[str, Any]:
    """Return the detail of the reveal."""
    return {**HIDDEN, "title": "Planner pods are killed", "answer": FAULT.answer, "nonce": NONCE, **changes}


def ended(end: str, reason: str = "") -> dict[str, Any]:
    """Return the detail of the end."""
    return {"end": end, "reason": reason, "run_dir": f"runs/{RUN_ID}", "exit_status": 0}


def whole() -> list[Said]:
    """Return a drill in which all went well but for one page that nobody expected."""
    return [
        (-8.0, "opened", "drill", opened()),
        (-8.0, "state", "drill", {"state": "preparing"}),
        (60.0, "state", "drill", {"state": "running"}),
        (62.0, "steady", "drill", {"ok": True, "reason": ""}),
        (97.5, "steady", "drill", {"ok": False, "reason": "two of six pods are Ready"}),
        (110.0, "page", "alertmanager", page("PlannerPodsDown")),
        (112.0, "mark", "ana", {"mark": "detected", "implied": True}),
        (112.0, "mark", "ana", {"mark": "acknowledged", "implied": False}),
        (115.0, "page", "alertmanager", page("ErrorBudgetBurn")),
        (116.0, "page", "alertmanager", page("BacklogAge")),
        (118.0, "step", "ana", {"step": "2", "done": True}),
        (120.0, "step", "ben", {"step": "1", "done": True}),
        (121.0, "command", "ana", {
            "step": "2", "command": "kubectl -n agents get pods | head", "changes": False, "exit_status": 0,
            "output": "…", "duration_s": 0.2, "refused": "",
        }),
        (122.0, "command", "ana", {
            "step": "3", "command": "kubectl -n agents scale deploy/planner --replicas 9", "changes": True,
            "exit_status": None, "output": "", "duration_s": 0.0, "refused": "only reading is allowed",
        }),
        (125.0, "hint", "ben", {"number": 1, "text": "Look at the pods."}),
        (126.0, "note", "scribe", {"text": "ana sees <b>three</b> pods | gone"}),
        (130.0, "mark", "ben", {"mark": "diagnosed", "implied": False}),
        (135.0, "action", "cluster", action("Deployment agents/planner", "replicas 6 → 9", "kubectl", "human")),
        (137.0, "action", "cluster", action("Deployment agents/tools", "replicas 2 → 3", "keda", "controller")),
        (140.0, "steady", "drill", {"ok": True, "reason": ""}),
        (144.0, "mark", "ana", {"mark": "mitigated", "implied": False}),
        (155.0, "state", "drill", {"state": "ending"}),
        (180.0, "trouble", "drill", {"message": "the chat did not take a message", "remedy": "check its address"}),
        (192.0, "revealed", "drill", revealed()),
        (192.5, "ended", "drill", ended("mitigated", "marked, and the steady state held for 10 s")),
    ]  # fmt: skip


def without(said: Sequence[Said], *kinds: str) -> list[Said]:
    """Return a drill without entries of some kinds."""
    return [one for one in said if one[1] not in kinds]


def journal(said: Sequence[Said]) -> bytes:
    """Return a journal as it is on disk."""
    entries = [Entry(n, ORIGIN_UNIX_S + t_s, kind, by, detail) for n, (t_s, kind, by, detail) in enumerate(said, 1)]
    return "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries).encode()


def folder(runs_dir: Path, said: Sequence[Said] | bytes, drill_id: str = DRILL_ID) -> Path:
    """Write a drill's folder below a folder of runs."""
    found = runs_dir / "drills" / drill_id
    found.mkdir(parents=True)
    (found / JOURNAL_FILE).write_bytes(said if isinstance(said, bytes) else journal(said))
    return found


def record(**changes: Any) -> Record:
    """Return the run beneath: one fault under a neutral name."""
    told = runs.record()
    events = [event for event in told.timeline.events if event.subject != "evict-one-planner"]
    renamed = [replace(e, subject="change") if e.subject == HIDDEN["fault"] else e for e in events]
    numbered = tuple(replace(event, seq=number) for number, event in enumerate(renamed, 1))
    experiment = replace(told.experiment, name="drill", drill=PLAN, runbook="")
    header = replace(told.header, run_id=RUN_ID, experiment="drill")
    whole_run = replace(told, header=header, experiment=experiment, timeline=Timeline(runs.ORIGIN, numbered))
    undo = {"record_id": "u1", "fault": "change", "kind": "Pod", "namespace": "agents", "name": "planner-1"}
    outcome = "restored /spec/a; left alone: /spec/replicas is now 9, not ours"
    return replace(whole_run, undo=({**undo, "done": True, "outcome": outcome},), **changes)


def with_effect(told: Record, effect: str) -> Record:
    """Return the run with another outcome of its proof."""

    def changed(event: Event) -> Event:
        detail = event.detail
        return replace(event, detail={**detail, "effect": effect}) if "effect" in detail else event

    events = tuple(changed(event) for event in told.timeline.events)
    return replace(told, timeline=Timeline(told.timeline.origin, events))


def verdicts(restored: Outcome = Outcome.PASS) -> tuple[Verdict, ...]:
    """Return the run's answers: half of the error budget is spent."""
    figures = {"budget_spent_ratio": 0.5}
    return (
        Verdict("error-budget", "error_budget", Outcome.PASS, "≥ 99.5 %", "99.75 % of 7,012", "held", figures=figures),
        Verdict("restored", "restored", restored, "all undone", "1 undone", "1 of 1 undo records done"),
    )


def store_run(runs_dir: Path, told: Record, answers: Sequence[Verdict] | None) -> Path:
    """Store a run as the conductor does, with its answers where it was judged."""
    run_dir = stored_folders.write(told, runs_dir)
    if answers is not None:
        store.save_verdicts(run_dir, answers, {})
    return run_dir
