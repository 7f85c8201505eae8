"""``debrief.md``: the drill for the postmortem, in Markdown. Pure; whatever people typed cannot leave its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from harness import exits
from harness.model.debrief import (
    Basis,
    Debrief,
    DebriefVerdict,
    MarkOutcome,
    PageOutcome,
    SealOutcome,
    StepOutcome,
    Told,
)
from harness.model.drill import MARKS, Origin
from reports.figures import figure_text, seconds_text

ROWS_MAX = 150
_SIGN = {exits.HELD: "✅", exits.BROKEN: "❌", exits.STOPPED: "⏹️", exits.INCONCLUSIVE: "❔"}
_MARK_SIGN = {MarkOutcome.MET: "✅", MarkOutcome.MISSED: "❌", MarkOutcome.NOT_MARKED: "❌"}
_PAGE_SIGN = {
    PageOutcome.IN_TIME: "✅", PageOutcome.ALLOWED: "✅", PageOutcome.LATE: "❌", PageOutcome.MISSING: "❌",
    PageOutcome.UNEXPECTED: "❌",
}  # fmt: skip
_STEP_SIGN = {StepOutcome.DONE: "✅", StepOutcome.OUT_OF_ORDER: "↕️", StepOutcome.SKIPPED: "⏭️"}
_SEAL = {
    SealOutcome.HOLDS: "The seal holds: this is what was chosen before the drill began.",
    SealOutcome.BROKEN: "**The seal is broken: this is not what was chosen before the drill began.**",
    SealOutcome.NOT_TOLD: "Whether the seal holds cannot be told.",
}


def markdown(debrief: Debrief, verdict: DebriefVerdict) -> str:
    """Return ``debrief.md``."""
    parts = [
        _head(debrief, verdict),
        _reveal(debrief),
        _scores(debrief),
        _pages(debrief),
        _runbook(debrief),
        _actions(debrief),
        _alone(debrief),
        _section("What to talk about", [f"- {_flat(line)}" for line in debrief.discuss], "Nothing stands out."),
        _troubles(debrief),
        _timeline(debrief),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _flat(text: str) -> str:
    """Return text on one line that stays text, and that cannot leave its table cell."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")


def _code(text: str) -> str:
    return "`" + " ".join(text.split()).replace("`", "'").replace("|", "\\|") + "`"


def _clock(at_unix_s: float | None) -> str:
    return "" if at_unix_s is None else f"{datetime.fromtimestamp(at_unix_s, UTC):%H:%M:%S}"


def _after(after_s: float | None) -> str:
    return "" if after_s is None else f"{after_s:+.0f} s"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _section(title: str, lines: Sequence[str], none: str) -> str:
    return f"## {title}\n\n" + ("\n".join(lines) if lines else none)


def told_text(name: str, told: Told) -> str:
    """Return a figure with where it comes from, or why it is not told."""
    if told.value is None:
        return f"not told: {told.reason or 'no reason given'}"
    return figure_text(name, told.value) + (f" ({told.reason})" if told.reason else "")


def _head(debrief: Debrief, verdict: DebriefVerdict) -> str:
    began = debrief.began_unix_s
    when = f"{datetime.fromtimestamp(began, UTC):%Y-%m-%d %H:%M} UTC" if began is not None else "at a time not recorded"
    lasted = (debrief.ended_unix_s or 0.0) - (began or 0.0)
    limit = f", limit {seconds_text(debrief.limit_s)}" if debrief.limit_s else ""
    lines = [
        f"# Debrief of drill {_flat(debrief.drill_id)}",
        "",
        f"{_SIGN[verdict.exit_status]} **{verdict.sentence}.** Exit status {verdict.exit_status}.",
        "",
        *(f"- {_flat(reason)}" for reason in verdict.reasons),
        *([""] if verdict.reasons else []),
        f"{when} on **{_flat(debrief.target or 'an unnamed target')}**, {seconds_text(lasted)}{limit}. "
        f"End: {_flat(debrief.end or 'not told')}"
        + (f" ({_flat(debrief.end_reason)})" if debrief.end_reason else "")
        + (f". Run: {_code(debrief.run_id)}." if debrief.run_id else "."),
    ]
    return "\n".join(lines)


def _reveal(debrief: Debrief) -> str:
    found = debrief.reveal
    if not found.fault:
        return _section("What it was", [], "It was never revealed.")
    lines = [
        f"**{_flat(found.answer)}**",
        "",
        f"Fault {_code(found.fault)} of {_code(found.experiment)}"
        + (f" ({_flat(found.title)})" if found.title else "")
        + f". {_SEAL[found.seal]}",
    ]
    return _section("What it was", lines, "")


def _scores(debrief: Debrief) -> str:
    rows = [
        (
            f"{_MARK_SIGN.get(one.outcome, '❔')} {one.outcome.value}",
            one.mark.value,
            "" if one.took_s is None else f"{one.took_s:.0f} s",
            "" if one.target_s is None else f"{one.target_s:.0f} s",
            _flat(one.by) + (" (implied)" if one.implied else ""),
            _flat(one.reason),
        )
        for one in debrief.marks
    ]
    lines = [
        f"{_basis(debrief)}",
        "",
        _table(("", "mark", "after", "target", "by", "note"), rows),
        "",
        f"- Steady state back: {_flat(told_text('back_s', debrief.steady_back))}",
        f"- Error budget spent: {_flat(told_text('spent_ratio', debrief.budget))}",
        f"- Hints used: {len(debrief.hints)}" + _hints_left(debrief),
        *(f"  {number}. {_flat(text)}" for number, text in enumerate(debrief.hints, 1)),
        f"- Everything taken back: {_undo(debrief)}",
        *(f"  - {_flat(text)}" for text in debrief.undo.leftovers),
        *(f"  - left to people: {_flat(text)}" for text in debrief.undo.left_alone),
    ]
    return _section("Scores", lines, "")


def _basis(debrief: Debrief) -> str:
    since, reason = _clock(debrief.effect.at_unix_s), _flat(debrief.effect.reason)
    if debrief.effect.basis is Basis.EFFECT:
        return f"Times count from {since} UTC, when the fault's effect was proven ({reason})."
    if debrief.effect.basis is Basis.DEED:
        return f"Times count from {since} UTC, the fault's deed: its effect was not proven ({reason})."
    return f"No times can be told: {reason}."


def _hints_left(debrief: Debrief) -> str:
    return "" if debrief.hints_left is None else f" of {len(debrief.hints) + debrief.hints_left}"


def _undo(debrief: Debrief) -> str:
    word = {True: "yes", False: "**no**", None: "not told"}[debrief.undo.restored]
    return f"{word} ({_flat(debrief.undo.reason)})"


def _pages(debrief: Debrief) -> str:
    rows = [
        (
            f"{_PAGE_SIGN.get(one.outcome, '❔')} {one.outcome.value}",
            _flat(one.alert),
            _after(one.after_s),
            _flat(one.reason),
        )
        for one in debrief.pages
    ]
    table = [_table(("", "alert", "after", "note"), rows)] if rows else []
    return _section("Pages", table, "None was expected, and none came.")


def _page_word(outcome: PageOutcome) -> str:
    return f"{_PAGE_SIGN.get(outcome, '❔')} {outcome.value}"


def _runbook(debrief: Debrief) -> str:
    rows = [
        (f"{_STEP_SIGN.get(one.outcome, '▫️')} {one.outcome.value}", _flat(one.step), _flat(one.title),
         _clock(one.at_unix_s), _flat(one.by))
        for one in debrief.steps
    ]  # fmt: skip
    commands = [(_clock(c.at_unix_s), _flat(c.step), _code(c.command), _flat(c.by), _flat(c.outcome))
                for c in debrief.commands]  # fmt: skip
    lines = [f"Runbook: {_code(debrief.runbook)}", ""] if debrief.runbook else []
    lines += [_table(("", "step", "title", "UTC", "by"), rows)] if rows else ["No step of it was ticked."]
    if commands:
        lines += ["", _table(("UTC", "step", "command", "by", "outcome"), commands)]
    return _section("Runbook", lines, "")


def _actions(debrief: Debrief) -> str:
    """Tell what was changed by anybody but the drill itself and the controllers, whom the timeline has."""
    shown = [one for one in debrief.actions if one.origin not in {Origin.GAMEDAY, Origin.CONTROLLER}]
    rows = [
        (_clock(one.at_unix_s), _flat(one.object), _flat(one.what), _flat(one.manager or "no name"), _flat(one.origin))
        for one in shown
    ]
    table = [_table(("UTC", "object", "change", "by", "kind"), rows)] if rows else []
    return _section("What people changed", table, "No change by people was seen.")


def _alone(debrief: Debrief) -> str:
    alone = _flat(told_text("alone_s", debrief.alone.recovery))
    run = f" ({_code(debrief.alone.run_id)})" if debrief.alone.run_id else ""
    rows = [
        (one.began_at, _flat(one.drill_id), _flat(one.end), "" if one.exit_status is None else str(one.exit_status),
         *(f"{one.took_s[mark]:.0f} s" if mark in one.took_s else "" for mark in MARKS))
        for one in debrief.earlier
    ]  # fmt: skip
    lines = [f"- The platform alone{run}: {alone}", ""]
    columns = ("UTC", "drill", "end", "exit", *(mark.value for mark in MARKS))
    lines += [_table(columns, rows)] if rows else ["- No earlier drill of this fault is stored."]
    return _section("Compared with", lines, "")


def _troubles(debrief: Debrief) -> str:
    problems = [one for one in (debrief.journal_problem, debrief.record_problem) if one]
    lines = [f"- {_flat(line)}" for line in (*problems, *debrief.troubles)]
    return _section("Troubles of the drill itself", lines, "") if lines else ""


def _timeline(debrief: Debrief) -> str:
    rows = [
        (_clock(row.at_unix_s), _after(row.after_s), row.kind, _flat(row.by), _flat(row.text))
        for row in debrief.rows[:ROWS_MAX]
    ]
    more = len(debrief.rows) - ROWS_MAX
    lines = [_table(("UTC", "after", "what", "by", "told"), rows)] if rows else []
    lines += ["", f"{more} more rows are in `debrief.json`."] if more > 0 else []
    return _section("Timeline", lines, "Nothing was recorded.")
