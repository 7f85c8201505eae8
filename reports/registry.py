"""Every report by name: the file it becomes and the function that writes it. An explicit list; nothing is scanned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.model.record import Record
from harness.model.verdict import Assumption, Verdict
from reports.brief import brief
from reports.junit import junit
from reports.page import page
from reports.summary import summary

Reporter = Callable[[Record, Sequence[Verdict], Mapping[str, Assumption]], str]

REPORTERS: Mapping[str, tuple[str, Reporter]] = {
    "summary": ("summary.json", summary),
    "brief": ("brief.md", brief),
    "junit": ("junit.xml", junit),
    "page": ("report.html", page),
}
