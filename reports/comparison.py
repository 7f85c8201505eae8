"""Two runs side by side, for a terminal and as JSON (``gameday.comparison/1``). Prints only; judges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.model.comparison import Change, Comparison, VerdictChange
from harness.model.verdict import Outcome
from reports.differences import difference_document, difference_text, strict
from reports.figures import figure_label, figure_text

COMPARISON_SCHEMA = "gameday.comparison/1"
STYLE = {Change.SAME: "", Change.BETTER: "green", Change.WORSE: "bold red", Change.UNCLEAR: "yellow"}
_SENTENCE = {
    Change.SAME: "No difference beyond noise that matters.",
    Change.BETTER: "Nothing is worse; something is better, or can be told now.",
    Change.WORSE: "Worse.",
    Change.UNCLEAR: "Nothing is proven worse, but something cannot be told.",
}


def comparison_json(found: Comparison, exit_status: int) -> str:
    """Return one JSON document; a figure that is not finite is null."""
    document = {
        "schema": COMPARISON_SCHEMA,
        "before": found.before,
        "after": found.after,
        "comparable": not found.problems,
        "problems": list(found.problems),
        "notes": list(found.notes),
        "change": found.change.value,
        "exit_status": exit_status,
        "differences": [difference_document(one) for one in found.differences],
        "verdicts": [_verdict(one) for one in found.changes],
    }
    return json.dumps(strict(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _verdict(change: VerdictChange) -> dict[str, Any]:
    return {
        **asdict(change),
        "figures": {name: {"before": a, "after": b} for name, (a, b) in change.figures.items()},
    }


def print_comparison(console: Console, found: Comparison) -> None:
    """Print what became of each answer and figure, and what it comes to."""
    console.print(Text(f"{found.before}  →  {found.after}", "bold"), soft_wrap=True)
    for note in found.notes:
        console.print(Text(f"note: {note}", "dim"), soft_wrap=True)
    for problem in found.problems:
        console.print(Text(f"not comparable: {problem}", "yellow"), soft_wrap=True)
    if found.problems:
        return
    for difference in found.differences:
        style = "bold red" if difference.worse else "yellow" if difference.problem else ""
        console.print(Text(difference_text(difference), style), soft_wrap=True)
    console.print(_table(found))
    console.print(Text(_SENTENCE[found.change], STYLE[found.change]))


def _table(found: Comparison) -> Table:
    table = Table(box=box.HORIZONTALS, show_lines=True, expand=True)
    table.add_column("assertion", overflow="fold", min_width=18)
    table.add_column("answer", overflow="fold", min_width=14)
    table.add_column("figures that differ: first → second", ratio=1)
    for change in found.changes:
        answer = Text(f"{_word(change.before)} →\n{_word(change.after)}\n")
        answer.append(change.change.value, STYLE[change.change])
        table.add_row(change.assertion, answer, "\n".join(_figures(change)))
    return table


def _word(outcome: Outcome | None) -> str:
    return "not asked" if outcome is None else outcome.value


def _figures(change: VerdictChange) -> Iterator[str]:
    if change.note:
        yield change.note
    for name, (before, after) in change.figures.items():
        sides = figure_text(name, before), figure_text(name, after)
        if sides[0] != sides[1]:
            yield f"{figure_label(name)}: {sides[0]} → {sides[1]}"
