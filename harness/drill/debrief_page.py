"""``debrief.html``: the debrief to look at together, light or dark, printable; it asks no network for anything.

Renders `templates/debrief.html.j2` with the look and the scripts of a run's report. Judges nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader
from plotly.offline import get_plotlyjs

from harness import exits
from harness.drill.debrief_charts import axis_of, curves, figure, spans
from harness.drill.debrief_markdown import told_text
from harness.drill.debrief_sources import Sources
from harness.model.debrief import Debrief, DebriefVerdict, MarkOutcome, PageOutcome, SealOutcome, StepOutcome, Told
from harness.model.drill import MARKS, Origin
from reports import page as report
from reports.figures import seconds_text

TEMPLATE = "debrief.html.j2"
_LOOK = {exits.HELD: "pass", exits.BROKEN: "fail", exits.STOPPED: "inconclusive", exits.INCONCLUSIVE: "inconclusive"}
_SIGN = {exits.HELD: "✓", exits.BROKEN: "✗", exits.STOPPED: "■", exits.INCONCLUSIVE: "?"}
_ROW_LOOK = {
    MarkOutcome.MET: "good", MarkOutcome.MISSED: "bad", MarkOutcome.NOT_MARKED: "bad",
    PageOutcome.IN_TIME: "good", PageOutcome.ALLOWED: "good", PageOutcome.LATE: "bad", PageOutcome.MISSING: "bad",
    PageOutcome.UNEXPECTED: "bad", StepOutcome.DONE: "good", StepOutcome.OUT_OF_ORDER: "unknown",
    StepOutcome.SKIPPED: "unknown",
}  # fmt: skip
_ROW_LEVEL = {"fault": "fault", "mark": "phase", "page": "scale", "trouble": "bad", "stop": "bad", "residue": "bad"}


def page(debrief: Debrief, verdict: DebriefVerdict, sources: Sources) -> str:
    """Return ``debrief.html``."""
    plotly = report.plain_script(get_plotlyjs())
    script = report.plain_script((report.TEMPLATES / "report.js").read_text("utf-8"))
    context = {
        "style": (report.TEMPLATES / "report.css").read_text("utf-8"),
        "plotly": plotly,
        "script": script,
        "policy": report.policy(plotly, script),
        "figure": str(figure(debrief, sources).to_json()).replace("<", "\\u003c"),
        "charts": curves(sources),
        "spans": spans(debrief, axis_of(debrief, sources.record)),
        "debrief": debrief,
        "verdict": verdict,
        "look": _LOOK[verdict.exit_status],
        "sign": _SIGN[verdict.exit_status],
        "tiles": _tiles(debrief),
        "people": [one for one in debrief.actions if one.origin not in {Origin.GAMEDAY, Origin.CONTROLLER}],
        "problems": [one for one in (debrief.journal_problem, debrief.record_problem, *debrief.troubles) if one],
        "broken_seal": debrief.reveal.seal is SealOutcome.BROKEN,
        "marks": [mark.value for mark in MARKS],
    }
    return _environment().get_template(TEMPLATE).render(context)


@cache
def _environment() -> Environment:
    """Return the report's environment, which escapes everything, with the debrief's own template and words."""
    loader = ChoiceLoader([FileSystemLoader(Path(__file__).parent / "templates"), FileSystemLoader(report.TEMPLATES)])
    made = report.environment().overlay(loader=loader)
    made.filters = {
        **made.filters,
        "clock": _clock,
        "moment": _moment,
        "after": _after,
        "told": _told,
        "row_look": _row_look,
    }
    made.filters |= {"row_level": _row_level}
    return made


def _clock(at_unix_s: float | None) -> str:
    return "" if at_unix_s is None else f"{datetime.fromtimestamp(at_unix_s, UTC):%H:%M:%S}"


def _moment(at_unix_s: float | None) -> str:
    return "" if at_unix_s is None else f"{datetime.fromtimestamp(at_unix_s, UTC):%Y-%m-%d %H:%M:%S}"


def _after(after_s: float | None) -> str:
    return "" if after_s is None else f"{after_s:+.1f} s"


def _told(told: Told, name: str) -> str:
    return told_text(name, told)


def _row_look(outcome: object) -> str:
    return _ROW_LOOK.get(outcome, "unknown")  # type: ignore[call-overload,no-any-return]


def _row_level(kind: str) -> str:
    return _ROW_LEVEL.get(kind, "")


def _tiles(debrief: Debrief) -> list[tuple[str, str]]:
    """Return the figures under the headline; a dash where one is not known."""
    marks = [(one.mark.value, None if one.took_s is None else f"{one.took_s:.0f} s") for one in debrief.marks]
    back, budget = debrief.steady_back.value, debrief.budget.value
    told = [
        *marks,
        ("steady again", None if back is None else seconds_text(back)),
        ("budget spent", None if budget is None else f"{100 * budget:.0f} %"),
        ("hints", str(len(debrief.hints))),
        ("alone", None if debrief.alone.recovery.value is None else seconds_text(debrief.alone.recovery.value)),
    ]
    return [(name, value if value is not None else "—") for name, value in told]
