"""The report in a real headless Chromium: no console error, no request, verdict first, one zoom for all charts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reports.page import page as render
from tests.unit import stored_runs as runs

pytestmark = pytest.mark.browser

LIMIT_MS = 20_000
AXIS_RANGES = """() => Object.keys(document.getElementById('figure')._fullLayout)
    .filter(key => /^xaxis\\d*$/.test(key)).map(key => document.getElementById('figure')._fullLayout[key].range)"""
DRAWN_POINTS = """() => [...document.querySelectorAll('#figure .scatterlayer .trace .lines path')]
    .map(path => path.getAttribute('d'))"""


@dataclass
class Opened:
    """A page in the browser, with all that it said and asked for."""

    page: Any
    url: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(params=["light", "dark"])
def opened(browser: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """Open the report of a whole run from a file."""
    file = tmp_path / "report.html"
    file.write_text(render(runs.record(), runs.verdicts(), runs.assumptions()), "utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=request.param)
    context.set_default_timeout(LIMIT_MS)
    seen = Opened(context.new_page(), file.as_uri())
    seen.page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
    seen.page.on("request", lambda asked: seen.asked.append(asked.url))
    seen.page.goto(seen.url)
    seen.page.wait_for_selector("#figure[data-ready=true]")
    yield seen
    context.close()


def ranges(opened: Opened) -> list[list[float]]:
    """Return the range of every time axis."""
    found: list[list[float]] = opened.page.evaluate(AXIS_RANGES)
    return found


def test_the_page_loads_without_an_error_and_asks_for_nothing(opened: Opened) -> None:
    opened.page.wait_for_load_state("networkidle")
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [opened.url]


def test_the_verdict_is_what_one_sees_first(opened: Opened) -> None:
    heading = opened.page.locator("h1")
    assert "Broken: error-budget." in heading.inner_text()
    for words in ("Do first", "FAIL", "look at the losses after +97 s"):
        place = opened.page.get_by_text(words).first.bounding_box()
        assert place is not None and place["y"] < 900, words


def test_a_drag_over_one_chart_zooms_all_of_them_and_a_double_click_shows_the_whole_run(opened: Opened) -> None:
    whole, before = ranges(opened), opened.page.evaluate(DRAWN_POINTS)
    assert whole == [[0, 193]]
    opened.page.evaluate("() => document.getElementById('charts').scrollIntoView()")
    drags = opened.page.locator("#figure .draglayer .nsewdrag")
    box = drags.nth(3).bounding_box()
    mouse, middle_y = opened.page.mouse, box["y"] + box["height"] / 2
    mouse.move(box["x"] + box["width"] * 0.4, middle_y)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.7, middle_y, steps=5)
    mouse.up()
    opened.page.wait_for_function("() => document.getElementById('figure').layout.xaxis.range[0] > 1")
    ((start_s, end_s),) = ranges(opened)
    assert start_s == pytest.approx(193 * 0.4, abs=2) and end_s == pytest.approx(193 * 0.7, abs=2)
    opened.page.wait_for_timeout(300)
    after = opened.page.evaluate(DRAWN_POINTS)
    assert len(before) == len(after) >= 12
    assert all(a != b for a, b in zip(before, after, strict=True)), "every line is drawn anew"
    mouse.dblclick(box["x"] + box["width"] * 0.5, middle_y)
    opened.page.wait_for_function("() => document.getElementById('figure').layout.xaxis.range[1] > 190")
    assert ranges(opened) == whole


def test_buttons_zoom_by_keyboard_to_a_fault(opened: Opened) -> None:
    button = opened.page.get_by_role("button", name="kill-a-third-of-the-planners")
    button.focus()
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_function("() => document.getElementById('figure').layout.xaxis.range[0] > 1")
    ((start_s, end_s),) = ranges(opened)
    assert start_s < runs.KILL_S < end_s < runs.END_S
    assert button.get_attribute("aria-pressed") == "true"


def test_the_victims_of_a_fault_are_told_on_hover(opened: Opened) -> None:
    opened.page.evaluate("() => document.getElementById('charts').scrollIntoView()")
    marker = opened.page.locator("#figure .scatterlayer .points path").first.bounding_box()
    for offset in (-3, -1, 0, 1):
        opened.page.mouse.move(marker["x"] + marker["width"] / 2 + offset, marker["y"] + marker["height"] / 2)
        opened.page.wait_for_timeout(100)
    opened.page.wait_for_selector("#figure .hoverlayer .legend", state="attached")
    assert "planner-7c9f-x2x" in opened.page.locator("#figure .hoverlayer").text_content()


def test_the_page_is_as_wide_as_a_telephone(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 390, "height": 800})
    opened.page.wait_for_timeout(300)
    assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= 390
