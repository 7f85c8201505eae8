"""Summary, brief, JUnit and terminal tell the same story, for runs that ended well, badly or not at all."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import JUnitXml
from rich.console import Console

from harness.judge import exit_status
from harness.model.record import Ending, no_requests
from harness.model.signal import Harvest
from harness.model.timeline import Event, Timeline
from harness.model.verdict import Outcome, Verdict
from reports import headline as headlines
from reports.brief import brief
from reports.figures import figure_text
from reports.junit import junit
from reports.summary import summary
from reports.terminal import print_verdicts
from tests.unit import stored_runs as runs

SCHEMA = json.loads((Path(headlines.__file__).parent / "schema" / "summary.json").read_text("utf-8"))


def refused() -> Any:
    """Return a run that was refused by the identity check."""
    event = Event(1, 0.1, "harness", "refusal", "identity", {"message": "kube-system uid differs", "remedy": "-"})
    header = runs.header(ending=Ending.REFUSED, reason="refused (identity): kube-system uid differs")
    return runs.record(
        header=header, timeline=Timeline(runs.ORIGIN, (event,)), harvest=Harvest(), requests=no_requests(), undo=()
    )


RUNS = {
    "whole": runs.record,
    "refused": refused,
    "stopped": lambda: runs.record(
        header=runs.header(ending=Ending.STOPPED, reason="SIGINT to the client"), timeline=runs.timeline(100.0)
    ),
    "killed": lambda: runs.record(header=runs.header(ending=Ending.CRASHED, reason="killed"), harvest=Harvest()),
    "empty": lambda: runs.record(
        header=runs.header(ending=None), timeline=Timeline(runs.ORIGIN, ()), requests=no_requests(), harvest=Harvest()
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_summary_keeps_its_schema_for_every_kind_of_run(name: str) -> None:
    for verdicts in (runs.verdicts(), ()):
        text = summary(RUNS[name](), verdicts, runs.assumptions())
        document = json.loads(text, parse_constant=pytest.fail)
        jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_summary_holds_the_figures_of_the_request_log() -> None:
    document = json.loads(summary(runs.record(requests_lost=4), runs.verdicts(), runs.assumptions()))
    log = runs.requests()
    assert document["load"]["requests"] == len(log)
    assert document["load"]["bad"] == (log["outcome"] != "ok").sum()
    assert document["load"]["lost"] == 4
    assert document["load"]["p95_s"] == pytest.approx(log["latency_s"].quantile(0.95))
    assert [fault["effect"] for fault in document["faults"]] == ["CONFIRMED", "CONFIRMED"]
    assert document["verdicts"][3]["figures"]["bound_ratio"] is None


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("outcomes", [(), ("PASS",), ("PASS", "INCONCLUSIVE"), ("INCONCLUSIVE", "FAIL"), ("FAIL",)])
def test_the_exit_status_of_reports_is_that_of_the_judge(name: str, outcomes: tuple[str, ...]) -> None:
    record = RUNS[name]()
    verdicts = tuple(Verdict(f"a{n}", "k", Outcome(o), "", "", "") for n, o in enumerate(outcomes))
    assert headlines.headline(record, verdicts).exit_status == exit_status(record, verdicts)


def test_nothing_judged_is_never_called_held() -> None:
    head = headlines.headline(runs.record(), ())
    assert head.outcome is Outcome.INCONCLUSIVE
    assert head.sentence == "Nothing can be told: nothing was judged."


def test_the_headline_names_what_broke_before_what_cannot_be_told() -> None:
    sentence = headlines.headline(runs.record(), runs.verdicts()).sentence
    assert sentence == "Broken: error-budget. Cannot be told: queue-backlog. Held: 3 of 5."


def test_the_headline_of_a_refused_run_says_so_before_it_lists_anything() -> None:
    untold = tuple(replace(v, outcome=Outcome.INCONCLUSIVE) for v in runs.verdicts())
    head = headlines.headline(refused(), untold)
    assert head.sentence == "Nothing can be told: the run was refused."
    assert head.circumstance == "The run was refused: refused (identity): kube-system uid differs"


@pytest.mark.parametrize("name", RUNS)
def test_junit_has_one_case_per_assertion_with_failure_error_and_figures(name: str) -> None:
    parsed = JUnitXml.fromstring(junit(RUNS[name](), runs.verdicts(), runs.assumptions()).encode())
    (suite,) = list(parsed)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 1, 1, 0)
    kinds = [type(case.result[0]).__name__ if case.result else "passed" for case in suite]
    assert kinds == ["passed", "passed", "Error", "Failure", "passed"]
    assert {p.name: p.value for p in suite.properties()}["seed"] == "4711"


def test_junit_survives_text_that_no_xml_may_hold() -> None:
    odd = replace(runs.verdicts()[3], reason="a\x00b <&> ]]>", evidence=("\ud800\x1b[31m",))
    parsed = JUnitXml.fromstring(junit(runs.record(), (odd,), {}).encode())
    assert "<&> ]]>" in next(iter(next(iter(parsed)))).result[0].message


def test_junit_without_verdicts_is_an_error_not_an_empty_suite() -> None:
    parsed = JUnitXml.fromstring(junit(refused(), (), {}).encode())
    assert (parsed.tests, parsed.errors) == (1, 1)


@pytest.mark.parametrize("name", RUNS)
def test_the_brief_starts_with_the_headline_and_tells_what_to_do(name: str) -> None:
    text = brief(RUNS[name](), runs.verdicts(), runs.assumptions())
    assert text.startswith("### ❌ Planner pods are killed under a burst: Broken: error-budget.")
    assert "→ look at the losses after +97 s" in text
    assert "gameday report 20261125-0141-pod-kill-under-burst-7f3a" in text


def test_the_brief_keeps_its_table_whatever_the_texts_hold() -> None:
    odd = replace(runs.verdicts()[0], observed="a | b\nc")
    row = next(line for line in brief(runs.record(), (odd,), {}).splitlines() if "autoscaler-response" in line)
    assert row.endswith("| a \\| b c |")


def printed(width: int, verdicts: tuple[Verdict, ...] = ()) -> str:
    """Return what the terminal shows."""
    out = io.StringIO()
    print_verdicts(Console(file=out, width=width), runs.record(), verdicts or runs.verdicts(), runs.assumptions())
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_terminal_table_is_plain_text_within_its_width_and_worst_first(width: int) -> None:
    text = printed(width)
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    assert text.index("FAIL") < text.index("INCONCLUSIVE") < text.index("PASS")
    for outcome in ("FAIL", "INCONCLUSIVE", "to do"):
        assert outcome in text


def test_terminal_texts_are_never_read_as_markup() -> None:
    odd = replace(runs.verdicts()[3], reason="[bold]x[/] [/nonsense]")
    assert "[bold]x[/] [/nonsense]" in printed(160, (odd,))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("success_ratio", 0.9912, "99.12 %"),
        ("ready_after_s", 4.0, "4.0 s"),
        ("p95_s", 0.0421, "42 ms"),
        ("drain_s", 301.0, "5 min 1 s"),
        ("size_bytes", 3 * 1024 * 1024, "3.0 MiB"),
        ("requests", 7012.0, "7,012"),
        ("peak_rps", 59.8, "59.8 rps"),
        ("bound_ratio", float("nan"), "not known"),
        ("age_s", float("inf"), "not known"),
    ],
)
def test_figures_carry_their_unit(name: str, value: float, text: str) -> None:
    assert figure_text(name, value) == text
