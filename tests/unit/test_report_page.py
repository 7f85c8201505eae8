"""The page is one file: nothing in it can reach a network, run a foreign script, or read text as markup."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.model.verdict import Outcome
from reports.page import page
from reports.registry import REPORTERS
from tests.unit import stored_runs as runs
from tests.unit.test_reports_text import RUNS

SIZE_MAX_BYTES = 6_000_000


class Document(HTMLParser):
    """Collects what a browser would fetch or run, and the text it would show."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.fetched: list[str] = []
        self.scripts: list[str] = []
        self.links: list[str] = []
        self.policy = ""
        self.text = ""
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self._in = tag if tag in {"script", "style"} and told.get("type") != "application/json" else ""
        if self._in == "script":
            self.scripts.append("")
        if tag != "a":
            self.fetched += [str(told[key]) for key in ("src", "href", "data") if key in told]
        elif told.get("href"):
            self.links.append(str(told["href"]))
        if told.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(told["content"])

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif not self._in:
            self.text += data


def opened(name: str = "whole") -> Document:
    """Return the page of a kind of run."""
    return Document(page(RUNS[name](), runs.verdicts(), runs.assumptions()))


@pytest.mark.parametrize("name", RUNS)
def test_the_page_fetches_nothing_and_stays_under_six_megabytes(name: str) -> None:
    html = page(RUNS[name](), runs.verdicts(), runs.assumptions())
    document = Document(html)
    assert document.fetched == ["data:,"]
    assert all(not re.match(r"(?i)https?:|//", link) for link in document.links)
    assert len(html.encode()) <= SIZE_MAX_BYTES


def test_only_our_own_scripts_may_run_and_nothing_may_be_asked() -> None:
    document = opened()
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in document.scripts]
    assert len(digests) == 2
    assert document.policy.startswith("default-src 'none'; script-src ")
    assert all(f"'sha256-{digest}'" in document.policy for digest in digests)
    assert "unsafe-eval" not in document.policy and "connect-src" not in document.policy


def test_the_verdict_comes_first_then_what_to_do_then_the_cards_worst_first() -> None:
    text = opened().text
    order = ["Broken: error-budget.", "Exit status", "Do first", "✗ FAIL", "? INCONCLUSIVE", "✓ PASS",
             "✗ does not hold", "Phase by phase", "asked for 3 → 6", "gameday report 20261125"]  # fmt: skip
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_texts_of_a_run_are_shown_and_never_read_as_markup() -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    verdict = replace(runs.verdicts()[3], reason=evil, observed=evil, evidence=(evil,), assertion=evil)
    event = replace(runs.timeline().events[-1], kind="fault", subject=evil, detail={"step": "permit", "reason": evil})
    line = replace(runs.timeline(), events=(*runs.timeline().events, replace(event, seq=9999)))
    record = runs.record(header=runs.header(reason=evil, facts={"x": evil}), timeline=line)
    document = Document(page(record, (verdict,), {}))
    assert len(document.scripts) == 2
    assert document.fetched == ["data:,"]
    assert document.text.count(evil) >= 5


@pytest.mark.parametrize("name", ["refused", "empty"])
def test_a_run_without_anything_to_draw_carries_no_charts_but_the_reasons(name: str) -> None:
    document = opened(name)
    assert document.scripts == []
    assert "There is nothing to draw" in document.text
    assert "No request was sent" in document.text


def test_a_run_that_held_says_so_and_has_nothing_to_do_first() -> None:
    verdicts = tuple(replace(v, outcome=Outcome.PASS, remedy="") for v in runs.verdicts())
    text = Document(page(runs.record(), verdicts, {})).text
    assert "Everything held: 5 of 5." in text
    assert "Do first" not in text


@pytest.mark.parametrize("name", REPORTERS)
@pytest.mark.parametrize("kind", RUNS)
def test_every_reporter_writes_every_kind_of_run(name: str, kind: str) -> None:
    file_name, report = REPORTERS[name]
    assert "." in file_name
    for verdicts in (runs.verdicts(), ()):
        assert report(RUNS[kind](), verdicts, runs.assumptions())
