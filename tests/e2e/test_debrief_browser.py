"""The debrief in a real headless Chromium: no console error, no request, one axis, light and dark, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.drill.debrief import write_debrief
from tests.unit import drill_journals as drills

pytestmark = pytest.mark.browser

LIMIT_MS = 20_000
LANES = ["fault", "detected", "acknowledged", "diagnosed", "mitigated", "pages", "people", "runbook"]


@pytest.fixture(params=["light", "dark"])
def page(browser: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Open the debrief of a whole drill from its file; a word on the console, or a request, fails the test."""
    run_dir = drills.store_run(tmp_path, drills.record(), drills.verdicts())
    file = write_debrief(drills.folder(tmp_path, drills.whole()), run_dir)
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    context.set_default_timeout(LIMIT_MS)
    found, said, asked = context.new_page(), [], []
    found.on("console", lambda message: said.append(message.text))
    found.on("pageerror", lambda error: said.append(str(error)))
    found.on("request", lambda one: asked.append(one.url))
    found.goto(file.as_uri())
    found.wait_for_selector("#figure[data-ready=true]")
    yield found
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]


def test_marks_and_curves_share_one_axis(page: Any) -> None:
    assert "Mitigated, and every target was met" in page.locator("h1").inner_text()
    layout = "() => document.getElementById('figure')._fullLayout"
    assert page.evaluate(f"() => ({layout})().yaxis.ticktext") == LANES
    axes = page.evaluate(f"() => Object.keys(({layout})()).filter(key => /^xaxis\\d*$/.test(key))")
    assert axes == ["xaxis"]
    page.get_by_role("button", name="From the fault to the last mark").click()
    page.wait_for_function("() => document.getElementById('figure').layout.xaxis.range[0] > 1")
    start_s, end_s = page.evaluate("() => document.getElementById('figure').layout.xaxis.range")
    assert start_s < drills.EFFECT_S < 144.0 < end_s


def test_it_is_as_wide_as_a_telephone_and_prints_all_of_it(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("() => document.documentElement.scrollWidth <= 390")
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#timeline tbody tr").count() > 30
    assert page.locator("nav").is_hidden()
