"""The verdicts in a terminal: a table that stays readable in a CI log without colour, 80 columns wide. Prints only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.model.record import Record
from harness.model.verdict import Assumption, Outcome, Verdict
from reports.differences import effect_lines
from reports.headline import HOLDS, headline, worst_first

STYLE = {Outcome.PASS: "bold green", Outcome.FAIL: "bold red", Outcome.INCONCLUSIVE: "bold yellow"}
_LABEL_WIDTH = 9
_NAME_WIDTH = 20


def print_verdicts(
    console: Console, record: Record, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]
) -> None:
    """Print what held, what broke and what to do, worst first; the assumptions that do not hold; the faults' effect."""
    head = headline(record, verdicts)
    console.print(_table(record, verdicts))
    for assumption in assumptions.values():
        if assumption.holds is not True:
            console.print(_doubt(assumption))
    for line in effect_lines(record):
        console.print(Text(line), soft_wrap=True)
    console.print(Text.assemble((head.sentence, STYLE[head.outcome])))
    if head.circumstance:
        console.print(Text(head.circumstance))


def _table(record: Record, verdicts: Sequence[Verdict]) -> Table:
    title = f"{record.experiment.title}  ({record.header.run_id} on {record.header.target})"
    table = Table(title=Text(title), title_justify="left", box=box.HORIZONTALS, show_lines=True, expand=True)
    table.add_column("verdict", overflow="fold", min_width=_NAME_WIDTH)
    table.add_column("expected, observed, reason, to do", ratio=1)
    for verdict in worst_first(verdicts):
        name = Text.assemble((verdict.outcome.value, STYLE[verdict.outcome]), "\n", verdict.assertion)
        table.add_row(name, _lines(verdict))
    return table


def _lines(verdict: Verdict) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, width=_LABEL_WIDTH)
    grid.add_column()
    told = {
        "expected": verdict.expected,
        "observed": verdict.observed,
        "reason": verdict.reason,
        "to do": verdict.remedy,
    }
    for label, value in told.items():
        if value and not (label == "reason" and verdict.outcome is Outcome.PASS):
            grid.add_row(Text(label, "dim"), Text(value, "bold" if label == "to do" else ""))
    return grid


def _doubt(assumption: Assumption) -> Text:
    remedy = f"; to do: {assumption.remedy}" if assumption.remedy else ""
    return Text.assemble(
        ("assumption ", "dim"),
        assumption.name,
        (f" {HOLDS[assumption.holds]}", "yellow"),
        f": {assumption.reason}{remedy}",
    )
