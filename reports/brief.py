"""``brief.md``: the run for a chat message or an issue, in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.model.record import Record
from harness.model.verdict import Assumption, Outcome, Verdict
from reports.differences import effect_lines
from reports.figures import load_figures, seconds_text
from reports.headline import HOLDS, headline, worst_first
from reports.summary import replay_commands

_SIGN = {Outcome.PASS: "✅", Outcome.FAIL: "❌", Outcome.INCONCLUSIVE: "❔"}


def brief(record: Record, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]) -> str:
    """Return ``brief.md``."""
    header, head = record.header, headline(record, verdicts)
    blocks = [
        f"### {_SIGN[head.outcome]} {record.experiment.title}: {head.sentence}",
        _flat(head.circumstance),
        f"`{header.run_id}` on **{header.target}**, seed {header.seed}, {header.started_at}; "
        f"exit {head.exit_status}: {head.meaning}.",
        _table(verdicts),
        _to_do(verdicts),
        _doubts(assumptions),
        _load(record),
        _faults(record),
        _effect(record),
        "Judge it again: "
        + " or ".join(f"`{command}`" for command in replay_commands(header.run_id))
        + _runbook(record),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _flat(text: str) -> str:
    """Return text on one line that cannot leave its table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _table(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = [
        f"| {_SIGN[v.outcome]} {v.outcome.value} | {_flat(v.assertion)} | {_flat(v.expected)} | {_flat(v.observed)} |"
        for v in worst_first(verdicts)
    ]
    return "\n".join(["| | assertion | expected | observed |", "|---|---|---|---|", *rows])


def _to_do(verdicts: Sequence[Verdict]) -> str:
    lines = [
        f"- **{_flat(v.assertion)}**: {_flat(v.reason)}" + (f" → {_flat(v.remedy)}" if v.remedy else "")
        for v in worst_first(verdicts)
        if v.outcome is not Outcome.PASS
    ]
    return "\n".join(lines)


def _doubts(assumptions: Mapping[str, Assumption]) -> str:
    lines = [
        f"- assumption `{a.name}` {HOLDS[a.holds]}: {_flat(a.reason)}"
        for a in assumptions.values()
        if a.holds is not True
    ]
    return "\n".join(lines)


def _load(record: Record) -> str:
    load = load_figures(record)
    if load.success_ratio is None or load.p95_s is None:
        return "No request was logged." if not load.requests else f"Load: {load.requests:,} requests."
    lost = f", {load.lost:,} rows lost" if load.lost else ""
    return (
        f"Load: {load.requests:,} requests, {100 * load.success_ratio:.2f} % good ({load.bad:,} bad{lost}), "
        f"p95 {seconds_text(load.p95_s)}, peak {load.achieved_peak_rps:.0f} rps."
    )


def _faults(record: Record) -> str:
    lines = [
        f"- +{i.window.start_s:.0f} s **{_flat(i.fault)}**: {i.loss.value}, "
        f"{len(i.victims)} of {i.asked} victims, {i.effect.value}"
        for i in record.timeline.injections()
    ]
    return "\n".join(lines)


def _effect(record: Record) -> str:
    lines = effect_lines(record)
    return "\n".join([f"What the faults did, {lines[0]}", *(f"- {_flat(line)}" for line in lines[1:])]) if lines else ""


def _runbook(record: Record) -> str:
    return f" · Runbook: `{record.experiment.runbook}`" if record.experiment.runbook else ""
