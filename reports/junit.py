"""``junit.xml``: one case per assertion, for CI servers. FAIL is a failure, INCONCLUSIVE an error. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from junitparser import Error, Failure, JUnitXml
from junitparser.xunit2 import TestCase, TestSuite

from harness.model.record import Record
from harness.model.verdict import Assumption, Outcome, Verdict
from reports.figures import figure_text
from reports.headline import HOLDS, headline

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, escaped or not (W3C XML 1.0, "Characters")."""


def junit(record: Record, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]) -> str:
    """Return ``junit.xml``."""
    suite = TestSuite(_clean(f"gameday.{record.header.experiment}"))  # type: ignore[no-untyped-call]
    suite.timestamp = record.header.started_at
    for name, value in _properties(record, verdicts, assumptions).items():
        suite.add_property(_clean(name), _clean(value))
    cases = [_case(record, verdict) for verdict in verdicts] or [_nothing_judged(record)]
    for case in cases:
        suite.add_testcase(case)
    document = JUnitXml("gameday")
    document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return text.decode("utf-8")


def _clean(text: object) -> str:
    return _NOT_XML.sub("\ufffd", str(text))


def _properties(
    record: Record, verdicts: Sequence[Verdict], assumptions: Mapping[str, Assumption]
) -> dict[str, object]:
    header, head = record.header, headline(record, verdicts)
    return {
        "run_id": header.run_id,
        "target": header.target,
        "seed": header.seed,
        "ending": header.ending.value if header.ending else "none",
        "reason": header.reason,
        "exit_status": head.exit_status,
        **{f"version.{name}": version for name, version in header.versions.items()},
        **{f"assumption.{a.name}": HOLDS[a.holds] for a in assumptions.values()},
    }


def _case(record: Record, verdict: Verdict) -> TestCase:
    case = TestCase(_clean(verdict.assertion), classname=_clean(f"gameday.{record.header.experiment}"))
    case.time = round(verdict.window.duration_s, 3) if verdict.window else 0.0
    case.add_property("seed", str(record.header.seed))
    for name, value in verdict.figures.items():
        case.add_property(_clean(name), repr(value))
    result = {Outcome.FAIL: Failure, Outcome.INCONCLUSIVE: Error}.get(verdict.outcome)
    if result:
        problem = result(_clean(verdict.reason), verdict.outcome.value)
        problem.text = _clean(verdict_text(verdict))
        case.result = [problem]
    case.system_out = _clean(verdict_text(verdict))
    return case


def _nothing_judged(record: Record) -> TestCase:
    case = TestCase("run", classname=_clean(f"gameday.{record.header.experiment}"))
    case.result = [Error(_clean(record.header.reason or "nothing was judged"), Outcome.INCONCLUSIVE.value)]
    return case


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict as lines of plain text, with its figures and evidence."""
    figures = ", ".join(f"{name} = {figure_text(name, value)}" for name, value in verdict.figures.items())
    lines = {
        "expected": verdict.expected,
        "observed": verdict.observed,
        "reason": verdict.reason,
        "to do": verdict.remedy,
        "window": str(verdict.window or ""),
        "rests on": str(verdict.coverage or ""),
        "figures": figures,
        "evidence": "; ".join(verdict.evidence),
    }
    return "\n".join(f"{name:<9} {value}" for name, value in lines.items() if value)
