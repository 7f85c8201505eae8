"""Rows of the page's tables: what happened in order, and the run phase by phase. Pure; judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from harness.model.load import RequestOutcome
from harness.model.record import Record
from harness.model.time import PhaseName
from harness.model.timeline import Event
from reports.figures import figure_text

ROWS_MAX = 600
"""Rows of the timeline on the page; the whole journal is in ``events.jsonl``."""

_LESS_IMPORTANT = ("k8s-event", "pod", "note")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the timeline. ``level`` (``bad``, ``fault``, ``phase``, ``scale`` or empty) sets how it looks."""

    t_s: float
    clock: str
    kind: str
    subject: str
    text: str
    level: str = ""


@dataclass(frozen=True, slots=True)
class PhaseRow:
    """A phase in figures, as texts; a dash where no request was due in it."""

    name: str
    start_s: float
    duration_s: float
    figures: tuple[str, ...]


PHASE_COLUMNS = ("requests", "rate", "good", "p50", "p95", "p99")


def timeline_rows(record: Record) -> tuple[list[Row], int]:
    """Return the rows worth reading, in order, and how many more there were."""
    memory: dict[str, Any] = {}
    rows = [row for event in record.timeline.events if (row := _row(record, event, memory)) is not None]
    dropped = 0
    for kind in _LESS_IMPORTANT:
        if len(rows) > ROWS_MAX:
            kept = [row for row in rows if row.kind != kind]
            dropped += len(rows) - len(kept)
            rows = kept
    return rows[:ROWS_MAX], dropped + max(0, len(rows) - ROWS_MAX)


def _row(record: Record, event: Event, memory: dict[str, Any]) -> Row | None:
    teller = _TELLERS.get(event.kind)
    told = teller(event, memory) if teller else None
    if told is None:
        return None
    text, level = told
    clock = record.timeline.origin + timedelta(seconds=event.t_s)
    return Row(event.t_s, f"{clock:%H:%M:%S}", event.kind.removesuffix("-edge"), event.subject, text, level)


Told = tuple[str, str] | None


def _phase(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    return ("begins", "phase") if event.detail.get("edge") == "start" else None


def _gate(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    held = event.detail.get("ok")
    word = {True: "held", False: "missed", None: "cannot be told"}[held if isinstance(held, bool) else None]
    return f"{word}: {event.detail.get('reason', '')}", "" if held is True else "bad"


def _finding(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    return _with_remedy(event.detail), "bad"


def _with_remedy(detail: Mapping[str, Any]) -> str:
    remedy = detail.get("remedy")
    return str(detail.get("message", "")) + (f" → {remedy}" if remedy else "")


def _stop(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    return str(event.detail.get("reason", "")), "bad"


_ROUTINE_STEPS = frozenset({"due", "permit", "undo-recorded"})


def _fault(event: Event, memory: dict[str, Any]) -> Told:
    """Tell what was done and whether it bit; the steps that lead to it are routine."""
    del memory
    detail, step = event.detail, str(event.detail.get("step", ""))
    if step in _ROUTINE_STEPS:
        return None
    victims = ", ".join(str(v.get("name", "")) for v in detail.get("victims", ()))
    texts = {"acted": f"{detail.get('loss', step)} of {victims}", "evidence": f"effect {detail.get('effect', '?')}"}
    reason = detail.get("reason")
    bad = step in {"denied", "failed"} or detail.get("effect") in {"ABSENT", "UNCLEAR"}
    return texts.get(step, step) + (f": {reason}" if reason else ""), "bad" if bad else "fault"


def _undo(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    step = str(event.detail.get("step", ""))
    if step == "start":
        return None
    return f"{step}: {event.detail.get('outcome', '')}", "bad" if step == "failed" else ""


def _residue(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    whose = "ours" if event.detail.get("ours") else "somebody else's"
    command = event.detail.get("command")
    return f"{event.detail.get('difference', '')} ({whose})" + (f" → {command}" if command else ""), "bad"


def _note(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    return str(event.detail.get("message", "")), ""


def _load_edge(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    if event.subject in {"worker-lost", "worker-back"}:
        gone = "gone" if event.subject == "worker-lost" else "back"
        return f"load worker {event.detail.get('worker')} is {gone}", "bad" if gone == "gone" else ""
    if event.subject not in {"started", "ended", "lost"}:
        return None
    reason = event.detail.get("reason")
    return f"the load is {event.subject}" + (f": {reason}" if reason else ""), "bad" if event.subject == "lost" else ""


def _watch(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    state = event.detail.get("state")
    if state not in {"hole", "lost"}:
        return None
    return f"{state} of {float(event.detail.get('gap_s') or 0.0):.1f} s: {event.detail.get('reason', '')}", "bad"


def _changed(what: str, key: str) -> Callable[[Event, dict[str, Any]], Told]:
    """Return a teller of changes of one field; the first value is no change."""

    def tell(event: Event, memory: dict[str, Any]) -> Told:
        place = f"{event.kind}/{event.subject}/{key}"
        before, now = memory.get(place), event.detail.get(key)
        memory[place] = now
        if place not in memory or before is None or before == now:
            return None
        return f"{what} {before} → {'unknown' if now is None else now}", "scale"

    return tell


def _pdb(event: Event, memory: dict[str, Any]) -> Told:
    """Tell when a budget begins or ceases to allow a disruption."""
    allowed = event.detail.get("disruptions_allowed")
    now = None if allowed is None else bool(allowed)
    before = memory.get(f"pdb/{event.subject}", now)
    memory[f"pdb/{event.subject}"] = now
    if before == now or now is None:
        return None
    return ("allows disruptions again" if now else "allows no disruption"), "scale"


def _pod(event: Event, memory: dict[str, Any]) -> Told:
    """Tell the first sign of a disruption of a pod; ordinary comings and goings are in the charts."""
    uid, why = str(event.detail.get("uid", "")), str(event.detail.get("disruption", ""))
    if not why or f"pod/{uid}" in memory:
        return None
    memory[f"pod/{uid}"] = why
    return f"disruption: {why}", "fault"


def _k8s_event(event: Event, memory: dict[str, Any]) -> Told:
    del memory
    detail = event.detail
    if detail.get("type") != "Warning" and detail.get("reason") not in {"SuccessfulRescale", "TaintManagerEviction"}:
        return None
    return f"{detail.get('reason', '')}: {detail.get('message', '')}", ""


_TELLERS: Mapping[str, Callable[[Event, dict[str, Any]], Told]] = {
    "phase": _phase,
    "gate": _gate,
    "finding": _finding,
    "refusal": _finding,
    "stop": _stop,
    "fault": _fault,
    "undo": _undo,
    "residue": _residue,
    "note": _note,
    "load-edge": _load_edge,
    "watch": _watch,
    "hpa": _changed("desired", "desired_replicas"),
    "workload": _changed("asked for", "spec_replicas"),
    "pdb": _pdb,
    "pod": _pod,
    "k8s-event": _k8s_event,
}


def phase_rows(record: Record) -> list[PhaseRow]:
    """Return every phase with its requests (by intended start), rate, good share and latency."""
    rows = []
    for name in PhaseName:
        phase = record.timeline.phase(name)
        if phase is not None:
            window = phase.window
            rows.append(PhaseRow(name.value, window.start_s, window.duration_s, _phase_figures(record, name)))
    return rows


def _phase_figures(record: Record, name: PhaseName) -> tuple[str, ...]:
    phase, log = record.timeline.phase(name), record.requests
    if phase is None or log.empty:
        return ("—",) * len(PHASE_COLUMNS)
    window = phase.window
    part = log[(log["intended_s"] >= window.start_s) & (log["intended_s"] < window.end_s)]
    if part.empty:
        return ("—",) * len(PHASE_COLUMNS)
    good = float((part["outcome"] == RequestOutcome.OK.value).mean())
    quantiles = (figure_text("latency_s", float(part["latency_s"].quantile(q))) for q in (0.5, 0.95, 0.99))
    rate = figure_text("mean_rps", len(part) / window.duration_s)
    return (f"{len(part):,}", rate, figure_text("good_ratio", good), *quantiles)


def alerts(record: Record) -> list[str]:
    """Return what must be read before anything else: changes that are still on the cluster, and data that is lost."""
    left = [
        f"{e.subject}: {e.detail.get('difference', '')}" for e in record.timeline.of("residue") if e.detail.get("ours")
    ]
    failed = [f"undo of {e.subject}: {e.detail.get('outcome', '')}" for e in record.timeline.of("undo")
              if e.detail.get("step") == "failed"]  # fmt: skip
    told = [
        f"Still on the cluster: {text}. Run `gameday recover --target {record.header.target}`."
        for text in failed + left
    ]
    if record.requests_lost:
        told.append(f"{record.requests_lost:,} or more rows of the request log are lost.")
    return told
