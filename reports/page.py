"""``report.html``: one file that opens anywhere, asks no network for anything, and says what broke and what to do.

Renders `templates/report.html.j2` with the charts' JSON and one embedded copy of Plotly.js. A content security policy
with hashes lets only these scripts run and forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from harness.model.comparison import EFFECT_FACT
from harness.model.record import Record
from harness.model.sabotage import SABOTAGE_FACT
from harness.model.verdict import Assumption, Outcome, Verdict
from reports.charts import charts, figure_json
from reports.differences import change_text, effect_of, verdict_text
from reports.figures import figure_label, figure_text, load_figures, seconds_text
from reports.headline import HOLDS, WORD, headline, worst_first
from reports.rows import PHASE_COLUMNS, alerts, phase_rows, timeline_rows
from reports.summary import replay_commands

TEMPLATES = Path(__file__).parent / "templates"
RECORD_FILES = {
    "summary.json": "the run for machines",
    "verdicts.json": "every answer with its figures",
    "brief.md": "the run for a chat or an issue",
    "junit.xml": "the run for a CI server",
    "events.jsonl": "everything that happened",
    "requests.parquet": "every request",
    "harvest.parquet": "every sample of the metrics",
    "experiment.yaml": "the experiment as it was run",
    "undo.json": "what was taken back",
    "fingerprint.json": "the cluster before and after",
    "logs/": "logs of the run's processes",
}
_TOLD_APART = {EFFECT_FACT, SABOTAGE_FACT}
_SIGN = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.INCONCLUSIVE: "?"}


def page(record: Record, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]) -> str:
    """Return ``report.html``."""
    plotly, script = plain_script(get_plotlyjs()), plain_script((TEMPLATES / "report.js").read_text("utf-8"))
    rows, rows_left_out = timeline_rows(record)
    drawn = charts(record)
    context = {
        "style": (TEMPLATES / "report.css").read_text("utf-8"),
        "plotly": plotly,
        "script": script,
        "policy": policy(plotly, script),
        "figure": figure_json(record).replace("<", "\\u003c"),
        "charts": drawn,
        "drawn": any(chart.panel.lines for chart in drawn),
        "head": headline(record, verdicts),
        "verdicts": worst_first(verdicts),
        "first_broken": next((v for v in worst_first(verdicts) if v.outcome is not Outcome.PASS and v.remedy), None),
        "assumptions": sorted(assumptions.values(), key=lambda a: (a.holds is True, a.holds is None)),
        "rows": rows,
        "rows_left_out": rows_left_out,
        "phases": phase_rows(record),
        "tiles": _tiles(record),
        "spans": _spans(record),
        "alerts": alerts(record),
        "effect": effect_of(record),
        "facts": {name: value for name, value in record.header.facts.items() if name not in _TOLD_APART},
        "sabotage": record.header.facts.get(SABOTAGE_FACT) or {},
        "undone": Counter((bool(u.get("done")), str(u.get("fault")), str(u.get("outcome"))) for u in record.undo),
        "replay": replay_commands(record.header.run_id),
        "record": record,
    }
    return environment().get_template("report.html.j2").render(context)


@cache
def environment() -> Environment:
    """Return the templates' environment: everything is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals |= {"SIGN": _SIGN, "WORD": WORD, "HOLDS": HOLDS, "FILES": RECORD_FILES}
    made.globals |= {"PHASE_COLUMNS": PHASE_COLUMNS}
    made.filters |= {"change": _change, "comes_to": verdict_text}
    made.filters |= {"figure": _figure, "label": figure_label, "seconds": seconds_text}
    return made


def _figure(value: float, name: str) -> str:
    return figure_text(name, value)


def _change(value: float, name: str) -> str:
    return change_text(name, value)


def plain_script(text: str) -> str:
    """Return a script as a browser will hash it: line feeds only, and nothing that would end its element."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def policy(*scripts: str) -> str:
    """Return a policy under which these scripts run, styles apply, and nothing is ever fetched or sent."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"


def _tiles(record: Record) -> list[tuple[str, str]]:
    """Return the figures under the headline."""
    load = load_figures(record)
    told: dict[str, Any] = {
        "good": None if load.success_ratio is None else figure_text("good_ratio", load.success_ratio),
        "requests": f"{load.requests:,}",
        "bad": f"{load.bad:,}" if load.requests else None,
        "peak rate": None if load.achieved_peak_rps is None else figure_text("peak_rps", load.achieved_peak_rps),
        "p50": None if load.p50_s is None else seconds_text(load.p50_s),
        "p95": None if load.p95_s is None else seconds_text(load.p95_s),
        "p99": None if load.p99_s is None else seconds_text(load.p99_s),
        "faults": f"{len(record.timeline.injections())} of {len(record.experiment.faults)}",
        "took": seconds_text(record.timeline.end_s),
    }
    return [(name, value if value is not None else "—") for name, value in told.items()]


def _spans(record: Record) -> list[tuple[str, float, float]]:
    """Return the spans that the zoom buttons show: whole run, load, and each fault with its surroundings."""
    end_s = max(record.timeline.end_s, 1.0)
    spans = [("Whole run", 0.0, end_s)]
    window = record.timeline.load_window()
    if window is not None and window.duration_s > 0:
        spans.append(("Load", window.start_s, window.end_s))
    for injection in record.timeline.injections()[:6]:
        window = injection.window
        spans.append((injection.fault, max(0.0, window.start_s - 10), min(end_s, window.end_s + 20)))
    return spans
