"""Runs of one fault, and what a fault tells of itself and of its victims."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.model.fault import FaultPlan, Loss
from tests.replay.builders import Run


def one_fault(run: Run, name: str, loss: Loss) -> Run:
    """Let the method be one fault, of which nothing is told yet, and let pods and workload rest after +90 s."""
    run.drop("fault")
    run.drop("workload", lambda t, s, d: t < 90)
    run.drop("pod", lambda t, s, d: t < 90)
    plan = FaultPlan(name, "some_action", {}, 45, 60, loss, undo_reason="a test")
    run.experiment = replace(run.experiment, faults=(plan,))
    return run


def tell_fault(  # noqa: PLR0913 - what a fault tells
    run: Run, name: str, loss: Loss, victims: list[dict[str, str]], *, at_s: float = 97, acted_s: float = 97.2,
    undone_s: float | None = 130, effect: str = "CONFIRMED", **detail: Any,
) -> Run:  # fmt: skip
    """Add a fault's events (permit, undo-recorded, acted, evidence) and those of its undo."""
    steps = {"permit": at_s, "undo-recorded": at_s + 0.1, "acted": acted_s, "evidence": acted_s + 1}
    for step, t_s in steps.items():
        more = detail | {"effect": effect, "reason": "seen"} if step == "evidence" else {}
        run.say(t_s, "chaos", "fault", name, step=step, victims=victims, asked=len(victims), loss=loss.value, **more)
    if undone_s is not None:
        told = {"record_id": f"undo-{name}", "operation": "patch"}
        run.say(undone_s - 0.2, "harness", "undo", name, step="start", outcome="", **told)
        run.say(undone_s, "harness", "undo", name, step="done", outcome="restored", **told)
    return run


def node_victim(name: str) -> dict[str, str]:
    """Return a node as the victim of a fault."""
    return {"kind": "Node", "namespace": "", "name": name, "uid": f"uid-{name}", "node": name}


# The parts of a good run ----------------------------------------------------------------------------------------------
