"""Tables and limits of `make bench-load`, as Markdown. Pure: no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BEGIN, END = "<!-- begin: make bench-load -->", "<!-- end: make bench-load -->"
NOTHING = "—"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a title and what to say below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure and what it is held to. One that was not measured is missed: never a silent green.

    Attributes:
        name: What is measured.
        value: NaN where it was not measured.
        limit: What it is held to.
        unit: Put behind both.
        at_least: Whether the figure must be at least the limit; else at most.
    """

    name: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def kept(self) -> bool:
        """Whether it was measured and is within."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        """Return it as one sentence."""
        return f"{self.name}: {self._text(self.value)}, limit {self._sign} {self._text(self.limit)}"

    @property
    def _sign(self) -> str:
        return "≥" if self.at_least else "≤"

    def _text(self, value: float) -> str:
        return "not measured" if math.isnan(value) else f"{value:.4g}{self.unit}"

    def cells(self) -> tuple[str, str, str, str]:
        """Return it as cells of a table."""
        kept = "kept" if self.kept else "**missed**"
        return self.name, self._text(self.value), f"{self._sign} {self._text(self.limit)}", kept


def limits_table(limits: Sequence[Limit]) -> Table:
    """Return the limits as the table that comes first."""
    return Table("Limits", ("figure", "measured", "limit", ""), [limit.cells() for limit in limits])


def missed(limits: Sequence[Limit]) -> list[str]:
    """Return the limits that were not kept."""
    return [str(limit) for limit in limits if not limit.kept]


def markdown(tables: Sequence[Table]) -> str:
    """Return tables as Markdown."""
    return "\n".join(_one(table) for table in tables)


def _one(table: Table) -> str:
    widths = [len(name) for name in table.columns]
    for row in table.rows:
        if len(row) != len(widths):
            raise ValueError(f"{table.title}: {len(row)} cells for {len(widths)} columns: {row}")
    lines = [f"### {table.title}", "", _line(table.columns), _line(["---"] * len(widths))]
    lines += [_line(row) for row in table.rows]
    lines += ["", *(f"{note}\n" for note in table.notes)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def placed(text: str, new: str) -> str:
    """Return a document with its part between the markers replaced.

    Raises:
        ValueError: The document has not each marker once, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"it must have the lines {BEGIN} and {END}, once each and in this order")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{new.strip()}\n{END}{rest.partition(END)[2]}"


def number(value: float, digits: int = 0) -> str:
    """Return a number for people; nothing where there is none."""
    return NOTHING if math.isnan(value) else f"{value:,.{digits}f}"


def ms(value_s: float) -> str:
    """Return seconds as milliseconds, three digits."""
    return NOTHING if math.isnan(value_s) else f"{value_s * 1000:.3g} ms" if value_s < 1 else f"{value_s * 1000:.0f} ms"
