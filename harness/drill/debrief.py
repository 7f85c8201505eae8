"""The debrief of a drill: made from its journal and the run's record, and written whatever came of the drill.

``debrief.json`` for machines, ``debrief.md`` for the postmortem, ``debrief.html`` to look at together. Judges nothing
anew: what the run's own verdicts say is told, and what cannot be told says why. Must not touch a cluster.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import store
from harness import store_files as files
from harness.drill import debrief_history as history
from harness.drill import debrief_rows as rows
from harness.drill import debrief_scores as scores
from harness.drill.debrief_markdown import markdown
from harness.drill.debrief_page import page
from harness.drill.debrief_sources import Sources, read_sources
from harness.drill.debrief_talk import discuss
from harness.drill.debrief_verdict import drill_exit_status, drill_verdict
from harness.model.debrief import Debrief, DebriefVerdict
from harness.model.drill import DrillEnd

SCHEMA = "gameday.debrief/1"
MARKDOWN_FILE = "debrief.md"
PAGE_FILE = "debrief.html"


def write_debrief(folder: Path, run_dir: Path | None) -> Path:
    """Write the debrief of a drill into its folder; an earlier one is replaced.

    Args:
        folder: The drill's folder.
        run_dir: The record of the run beneath it; None where there is none.

    Returns:
        The page.

    Raises:
        StoreError: The disk refused.
    """
    sources = read_sources(folder, run_dir)
    debrief = debrief_of(sources, folder)
    store.write_atomically(folder / history.DEBRIEF_FILE, files.dump_text(document(debrief)))
    store.write_atomically(folder / MARKDOWN_FILE, markdown(debrief, drill_verdict(debrief)))
    store.write_atomically(folder / PAGE_FILE, page(debrief, drill_verdict(debrief), sources))
    return folder / PAGE_FILE


def read_debrief(folder: Path, run_dir: Path | None, end: DrillEnd | None = None, reason: str = "") -> Debrief:
    """Return the debrief of a drill, without writing it.

    Args:
        folder: The drill's folder.
        run_dir: The record of the run beneath it; None where there is none.
        end: How it ends, where the journal does not say so yet.
        reason: Why.
    """
    debrief = debrief_of(read_sources(folder, run_dir), folder)
    return debrief if debrief.end or end is None else replace(debrief, end=end.value, end_reason=reason)


def debrief_of(sources: Sources, folder: Path) -> Debrief:
    """Return the debrief of what is known of a drill; beside its folder the others lie, above them the runs."""
    drill, effect, reveal = sources.drill, scores.effect_of(sources), scores.reveal_of(sources)
    opened, ended = drill.opened(), drill.end.detail if drill.end else {}
    target = str(opened.get("target", ""))
    began = drill.entries[0].at_unix_s if drill.entries else None
    hints = tuple(str(entry.detail["text"]) for entry in drill.of("hint"))
    limit = opened.get("limit_s")
    debrief = Debrief(
        drill_id=str(opened.get("drill_id") or sources.drill_id),
        target=target,
        began_unix_s=began,
        ended_unix_s=drill.entries[-1].at_unix_s if drill.entries else None,
        end=str(ended.get("end", "")),
        end_reason=str(ended.get("reason", "")),
        limit_s=float(limit) if isinstance(limit, (int, float)) else None,
        reveal=reveal,
        effect=effect,
        marks=scores.mark_scores(sources, effect),
        steady_back=scores.steady_back(sources, effect),
        pages=scores.page_scores(sources, effect),
        budget=scores.budget_of(sources),
        undo=scores.undo_of(sources),
        hints=hints,
        hints_left=len(sources.fault.hints) - len(hints) if sources.fault else None,
        runbook=sources.record.experiment.runbook if sources.record else "",
        steps=scores.step_scores(sources),
        commands=rows.commands_of(sources),
        actions=rows.actions_of(sources),
        notes=len(drill.of("note")),
        troubles=rows.troubles_of(sources),
        earlier=history.earlier_drills(folder, reveal, began),
        alone=history.unattended(folder.parent.parent, reveal, target),
        run_id=sources.record.header.run_id if sources.record else "",
        record_problem=sources.record_problem,
        journal_problem=sources.journal_problem,
        rows=rows.rows_of(sources, effect),
    )
    return replace(debrief, discuss=discuss(debrief))


def document(debrief: Debrief) -> dict[str, Any]:
    """Return the debrief as plain JSON, with what it comes to."""
    verdict = files.encode(DebriefVerdict, drill_verdict(debrief))
    return {"schema": SCHEMA, "verdict": verdict, **files.encode(Debrief, debrief)}


__all__ = ["debrief_of", "drill_exit_status", "drill_verdict", "read_debrief", "write_debrief"]
