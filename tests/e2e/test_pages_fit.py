"""No box of any page overflows at the widths that people have: the report, the debrief, both pages of a drill."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import TimeoutError

from harness.drill.debrief import write_debrief
from harness.drill.web import serve
from reports.page import page as render
from tests.e2e.boxes import WIDTHS_PX, overflowing
from tests.e2e.test_drill_pages import busy, curves
from tests.unit import drill_journals as drills
from tests.unit import stored_runs as runs
from tests.unit.drill_desk import DeskTwin
from tests.unit.drill_web import SECRETS

pytestmark = pytest.mark.browser

LIMIT_MS = 20_000
SHOTS = os.environ.get("GAMEDAY_SCREENSHOTS", "")
DRAWN = "#figure[data-ready=true]"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return where each page is; a drill in which everything happened is served."""
    folder = tmp_path_factory.mktemp("pages")
    report = folder / "report.html"
    report.write_text(render(runs.record(), runs.verdicts(), runs.assumptions()), "utf-8")
    run_dir = drills.store_run(folder, drills.record(), drills.verdicts())
    debrief = write_debrief(drills.folder(folder, drills.whole()), run_dir)
    desk = DeskTwin(curves=curves(time.time()))
    busy(desk)
    serving = serve(desk, secrets=SECRETS, folder=folder)
    yield {
        "report": report.as_uri(),
        "debrief": debrief.as_uri(),
        "participants": serving.url_participants,
        "facilitator": serving.url_facilitator,
    }
    serving.close()


@pytest.fixture(params=["report", "debrief", "participants", "facilitator"])
def page(browser: Any, addresses: dict[str, str], request: pytest.FixtureRequest) -> Iterator[Any]:
    context = browser.new_context()
    context.set_default_timeout(LIMIT_MS)
    found = context.new_page()
    found.goto(addresses[request.param])
    found.wait_for_selector(DRAWN if request.param in {"report", "debrief"} else "body[data-ready=true]")
    yield found
    context.close()


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_nothing_is_wider_than_its_box(page: Any, width_px: int, request: pytest.FixtureRequest) -> None:
    page.set_viewport_size({"width": width_px, "height": 900})
    page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.wait_for_function(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    )
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{request.node.name}.png"), full_page=True)
    assert overflowing(page) == []


HEADS_THAT_COLLIDE = """() => {
  const boxes = selector => [...document.querySelectorAll(selector)]
    .map(one => ({ text: one.textContent, box: one.getBoundingClientRect() })).filter(one => one.box.width > 0);
  const titles = boxes('#figure .annotation-text').filter(one => window.TITLES.includes(one.text));
  const labels = boxes('#figure g.traces text');
  const pairs = titles.flatMap(title => labels.map(label => [title, label])).filter(([a, b]) =>
    a.box.left < b.box.right - 1 && b.box.left < a.box.right - 1 &&
    a.box.top < b.box.bottom - 3 && b.box.top < a.box.bottom - 3);
  return { drawn: titles.length > 2 && labels.length > 2, pairs: pairs.map(([a, b]) => `${a.text} | ${b.text}`) };
}"""
TITLES = """() => { window.TITLES = JSON.parse(document.getElementById("figure-data").textContent).layout.annotations
  .map(one => one.text).filter(text => /^<b>/.test(text)).map(text => text.replace(/<[^>]*>/g, "")); }"""


@pytest.mark.parametrize("page", ["report", "debrief"], indirect=True)
@pytest.mark.parametrize("width_px", [*WIDTHS_PX, min(WIDTHS_PX)])
def test_no_title_of_a_chart_stands_in_its_legend(page: Any, width_px: int) -> None:
    page.evaluate(TITLES)
    page.set_viewport_size({"width": width_px, "height": 900})
    apart = f"() => {{ const seen = ({HEADS_THAT_COLLIDE})(); return seen.drawn && !seen.pairs.length; }}"
    try:
        page.wait_for_function(apart, timeout=5000)
    except TimeoutError:  # which pairs it is
        assert page.evaluate(HEADS_THAT_COLLIDE) == {"drawn": True, "pairs": []}
