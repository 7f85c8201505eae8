"""The two pages of a drill in a real headless Chromium, against the server on a real port."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.drill.web import Serving, serve
from harness.model.drill import DrillState, Mark
from tests.unit.drill_desk import CHANGE, HIDDEN, HINTS, OUTPUT, READ, DeskTwin
from tests.unit.drill_web import SECRETS, WORDS

pytestmark = pytest.mark.browser

LIMIT_MS = 20_000
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}
SHOTS = os.environ.get("GAMEDAY_SCREENSHOTS", "")
"""A folder to leave screenshots in, to be looked at."""

OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALL_TARGETS = """() => [...document.querySelectorAll('button, input:not([type=checkbox]), textarea, a.button')]
    .filter(one => one.getClientRects().length && one.getBoundingClientRect().height < 44)
    .map(one => one.outerHTML.slice(0, 80))"""
NAMELESS = """() => [...document.querySelectorAll('button, input, textarea, a, svg[role=img], progress')]
    .filter(one => !(one.innerText?.trim() || one.ariaLabel || one.labels?.length || one.textContent.trim()))
    .map(one => one.outerHTML.slice(0, 80))"""


DRAWN = """name => {
    const figures = [...document.querySelectorAll('#curves figure')];
    const path = figures.find(one => one.innerText.includes(name)).querySelector('path.curve');
    return [path.getAttribute('d').replace(/[^A-Z]/g, ''), Math.round(path.getBBox().width)];
}"""
"""The commands of a curve's path, and how wide it is of 600."""


@dataclass
class Opened:
    """A page in the browser, with all that it said, asked for and was sent."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def ready(self) -> None:
        """Wait until it shows a view."""
        self.page.wait_for_selector("body[data-ready=true]")

    def shows(self, selector: str, text: str) -> None:
        """Wait until a part of it has a text."""
        self.page.locator(selector).filter(has_text=text).first.wait_for()

    def shot(self, name: str) -> None:
        """Leave a screenshot where that was asked for."""
        if SHOTS:
            self.page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def curves(now: float) -> dict[str, dict[str, Any]]:
    """Return curves of five minutes with a hole and a fall."""
    times = [now - 300 + 2 * index for index in range(150)]
    good = [None if 60 < index < 66 else 0.999 - (0.2 if index > 110 else 0) for index in range(150)]
    return {
        "rate": {"unit": "rps", "points": [[at, 40 + 8 * math.sin(at / 20)] for at in times]},
        "success": {"unit": "ratio", "points": [[at, value] for at, value in zip(times, good, strict=True)]},
        "backlog_age": {
            "unit": "s",
            "points": [[at, max(0.0, index - 110) * 2.5] for index, at in enumerate(times)],
        },
        "planner_replicas": {"unit": "", "points": [[at, 3 + (index > 120)] for index, at in enumerate(times)]},
        "inference ready": {"unit": "pods", "held": True, "points": [[times[0], 2.0]]},
        "planner ready": {
            "unit": "pods",
            "held": True,
            "points": [[now - 2000, 3.0], [now - 150, 2.0], [now - 90, 3.0]],
        },
    }


@pytest.fixture
def desk() -> DeskTwin:
    """Return a desk with curves, whose drill is being prepared."""
    return DeskTwin(curves=curves(time.time()))


@pytest.fixture
def serving(desk: DeskTwin, tmp_path: Path) -> Iterator[Serving]:
    """Serve it."""
    started = serve(desk, secrets=SECRETS, folder=tmp_path)
    yield started
    started.close()


@pytest.fixture
def context(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return a browser's fresh profile; a dictionary as parameter is for its options."""
    context = browser.new_context(**{"viewport": DESKTOP, **getattr(request, "param", {})})
    context.set_default_timeout(LIMIT_MS)
    yield context
    context.close()


def opened(context: Any, url: str) -> Opened:
    """Open a link and wait for its view."""
    seen = Opened(context.new_page())
    seen.page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
    seen.page.on("request", lambda asked: seen.asked.append(asked.url))
    seen.page.on("response", lambda answer: seen.sent.append(_body(answer)))
    seen.page.goto(url)
    seen.ready()
    return seen


def _body(answer: Any) -> str:
    """Return what was sent; a stream is read in the page's text and by the server's own tests."""
    if answer.url.partition("?")[0].endswith("/api/events") or not answer.ok:
        return ""
    return str(answer.text())


@pytest.fixture
def participant(context: Any, serving: Serving) -> Opened:
    return opened(context, serving.url_participants)


def page_of(state: str, alert: str, event: str) -> dict[str, Any]:
    """Return a page's detail."""
    return {
        "source": "alertmanager", "event": event, "alert": alert, "state": state, "severity": "page",
        "labels": {"namespace": "agents"}, "summary": "The oldest request has waited for 3 min 34 s.",
    }  # fmt: skip


def test_the_link_signs_in_and_leaves_no_token_behind(participant: Opened, serving: Serving) -> None:
    assert participant.page.url == f"{serving.url}/participants"
    assert not [url for url in participant.asked if SECRETS.participants in url]
    assert {url.split("/")[2] for url in participant.asked if not url.startswith("data:")} == {
        f"127.0.0.1:{serving.port}"
    }
    assert [line for line in participant.said if "401" not in line] == []
    participant.shows("#state", "nothing is broken yet")


def test_a_wrong_token_is_told_and_the_right_one_typed_goes_on(context: Any, serving: Serving) -> None:
    page = context.new_page()
    page.goto(f"{serving.url}/participants#wrong-token")
    page.get_by_role("alert").filter(has_text="this is no token of the drill").wait_for()
    page.get_by_label("Token").fill(serving.url_participants)
    page.get_by_role("button", name="Enter").click()
    page.wait_for_selector("body[data-ready=true]")


def test_marks_by_button_and_by_key_survive_a_reload(participant: Opened, desk: DeskTwin) -> None:
    page = participant.page
    assert page.locator("#mark-detected").is_disabled()
    desk.go(DrillState.RUNNING)
    page.get_by_label("I am").fill("ana")
    page.get_by_role("button", name="Detected").click()
    participant.shows("#mark-detected.made", "ana")
    page.locator("body").click(position={"x": 5, "y": 400})
    page.keyboard.press("2")
    participant.shows("#mark-acknowledged.made", "ana")
    assert "acknowledged, by ana" in page.locator("#said").text_content()
    page.reload()
    participant.ready()
    participant.shows("#mark-acknowledged.made", "ana")
    assert page.get_by_label("I am").input_value() == "ana"
    assert list(desk.drill().marks) == [Mark.DETECTED, Mark.ACKNOWLEDGED]


def test_a_mark_out_of_order_is_refused_with_what_to_do(participant: Opened, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    participant.shows("#state", "Running")
    participant.page.keyboard.press("4")
    participant.shows("#error", "comes after detected, which nobody has marked")
    participant.shows("#error", "mark detected first")
    assert not desk.drill().marks
    participant.page.keyboard.press("1")
    participant.shows("#mark-detected.made", "participants")
    participant.page.locator("#error").wait_for(state="hidden")


def test_hints_and_notes_by_key(participant: Opened, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    participant.shows("#state", "Running")
    participant.page.keyboard.press("h")
    participant.shows("#hints", HINTS[0])
    participant.shows("#hint", "2 left")
    participant.page.keyboard.press("n")
    participant.page.keyboard.type("hunch: <b>the 1st queue</b>")
    participant.page.keyboard.press("Enter")
    participant.shows("#notes", "hunch: <b>the 1st queue</b>")
    assert len(desk.drill().of("hint")) == 1 and not desk.drill().marks, "keys that are typed are no shortcuts"
    participant.page.keyboard.press("Escape")
    participant.page.get_by_label("use keys").uncheck()
    participant.page.locator("body").click(position={"x": 5, "y": 400})
    participant.page.keyboard.press("h")
    participant.page.get_by_label("use keys").check()
    participant.page.keyboard.press("1")
    participant.shows("#mark-detected.made", "participants")
    assert len(desk.drill().of("hint")) == 1


def test_the_safety_stop_asks_once(participant: Opened, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    participant.shows("#state", "Running")
    participant.page.keyboard.press("s")
    participant.page.get_by_role("dialog", name="Stop the drill?").wait_for()
    participant.shot("stop")
    participant.page.keyboard.press("Escape")
    participant.page.get_by_role("dialog").wait_for(state="hidden")
    assert not desk.drill().of("stop")
    participant.page.evaluate("""async () => {  // left and opened again: that it was left is told late
      const dialog = document.getElementById("stop-dialog"), button = document.getElementById("stop");
      const told = new Promise((done) => dialog.addEventListener("close", () => setTimeout(done), {once: true}));
      button.click(); dialog.close("no"); button.click();
      document.getElementById("stop-reason").value = "customers are hit";
      await told; }""")
    participant.page.get_by_role("button", name="Stop the drill").click()
    participant.shows("#said", "The safety stop is pulled")
    assert [entry.detail["reason"] for entry in desk.drill().of("stop")] == ["customers are hit"]


def test_runbook_steps_and_commands(context: Any, participant: Opened, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    page = participant.page
    page.get_by_role("button", name="Done: Look at the pods").click()
    participant.shows(".step.done", "Look at the pods")
    page.get_by_role("button", name="Skip: Read the events").click()
    participant.shows(".step.skipped", "Read the events")
    page.get_by_role("button", name="Run").first.click()
    page.locator("#output-0-0 summary").click()
    participant.shows("#output-0-0 .output", "inference-0")
    assert page.locator("#output-0-0 .output").text_content() == OUTPUT
    page.get_by_role("button", name="Run").nth(1).click()
    page.get_by_role("dialog", name="Change the cluster?").filter(has_text=CHANGE).wait_for()
    page.get_by_role("button", name="Run it").click()
    participant.shows("#error", "would change the cluster")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").first.click()
    participant.shows("#said", "Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == READ


def test_a_new_page_is_seen_and_said_at_once(participant: Opened, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    desk.page(page_of("firing", "BacklogTooOld", "1"), "alertmanager")
    participant.shows(".page.firing", "BacklogTooOld")
    participant.shows("#said", "Page firing: BacklogTooOld")
    desk.page(page_of("acknowledged", "BacklogTooOld", "2"), "bo")
    participant.shows("#mark-acknowledged.made", "bo")
    participant.shows(".page.acknowledged", "firing")
    assert participant.page.locator(".page").count() == 1, "one card for each alert"


def test_a_restart_of_the_server_is_noticed_and_survived(participant: Opened, serving: Serving, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    desk.mark(Mark.DETECTED, "ana")
    participant.shows("#mark-detected.made", "ana")
    serving.close()
    participant.shows("#link", "Lost the drill's server")
    participant.page.keyboard.press("2")
    participant.shows("#error", "the drill's server does not answer")
    again = serve(DeskTwin(journal=desk.journal), secrets=SECRETS, port=serving.port)
    try:
        participant.page.locator("#link").wait_for(state="hidden")
        participant.page.locator("body").click(position={"x": 5, "y": 400})
        participant.page.keyboard.press("2")
        participant.shows("#mark-acknowledged.made", "participants")
        participant.shows("#mark-detected.made", "ana")
    finally:
        again.close()


def test_the_end_and_the_debrief(participant: Opened, desk: DeskTwin, tmp_path: Path) -> None:
    desk.go(DrillState.RUNNING)
    desk.finish("mitigated", "the steady state held for 10 s")
    participant.shows("#ended", "The drill is over. Mitigated.")
    participant.shows("#debrief", "being written")
    (tmp_path / "debrief.html").write_text(
        "<title>Debrief</title><h1>What it was</h1><script>document.title += '!'</script>"
    )
    desk.debrief = "debrief.html"
    participant.page.get_by_role("link", name="Open the debrief").click()
    participant.page.get_by_role("heading", name="What it was").wait_for()
    assert participant.page.title() == "Debrief!"
    assert participant.page.evaluate("() => self.origin") == "null", "a sandbox: neither cookies nor the API"


def test_participants_are_never_shown_what_is_hidden(participant: Opened, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    participant.page.keyboard.press("h")
    participant.page.get_by_role("button", name="Run").first.click()
    participant.shows("#steps", "exit status 0")
    participant.page.reload()
    participant.ready()
    view = participant.page.evaluate("() => fetch('/api/view').then(answer => answer.text())")
    told = participant.page.content() + "".join(participant.sent) + view + json.dumps(participant.said)
    assert [word for word in (*WORDS, SECRETS.facilitator) if word in told] == []
    assert participant.page.locator("#hidden, #faults, #copy-link").count() == 0


def test_the_facilitator_sees_everything_and_hands_out_the_link(context: Any, serving: Serving, desk: DeskTwin) -> None:
    desk.go(DrillState.RUNNING)
    facilitator = opened(context, serving.url_facilitator)
    for word in HIDDEN.values():
        facilitator.shows("#hidden", word)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    facilitator.page.get_by_role("button", name="Copy").first.click()
    facilitator.shows("#said", "Copied")
    link = facilitator.page.evaluate("() => navigator.clipboard.readText()")
    assert link == serving.url_participants
    participant = opened(context, link)
    assert participant.page.locator("#hidden").count() == 0
    assert not any(word in participant.page.content() for word in WORDS), "also in the facilitator's own browser"
    participant.page.keyboard.press("1")
    facilitator.shows("#mark-detected.made", "participants")


def test_what_is_told_when_it_changes_is_a_flat_line_until_it_does(participant: Opened, desk: DeskTwin) -> None:
    participant.shows("#curves figure", "inference ready")
    commands, width = participant.page.evaluate(DRAWN, "inference ready")
    assert commands == "MH" and 180 < width < 300, "from when it was told, up to now"
    assert participant.page.evaluate(DRAWN, "planner ready") == ["MHVHVH", 600]
    desk.curves = {"planner ready": {"unit": "pods", "held": True, "points": [[time.time(), 3.0]]}}
    desk.touch()
    participant.page.locator("#curves figure").filter(has_text="inference ready").wait_for(state="hidden")
    assert participant.page.evaluate(DRAWN, "planner ready")[0] == "MH", "told this moment"


LOOKS = [
    pytest.param({"viewport": size, "color_scheme": scheme}, id=f"{name}-{scheme}")
    for name, size in (("desktop", DESKTOP), ("phone", PHONE))
    for scheme in ("light", "dark")
]


@pytest.mark.parametrize("context", LOOKS, indirect=True)
@pytest.mark.parametrize("role", ["participants", "facilitator"])
def test_a_full_page_fits_is_labelled_and_has_large_targets(
    context: Any, serving: Serving, desk: DeskTwin, role: str, request: pytest.FixtureRequest
) -> None:
    busy(desk)
    seen = opened(context, serving.url_participants if role == "participants" else serving.url_facilitator)
    seen.shows("#curves figure", "success")
    seen.shows(".markdown pre code", "sum(rate(")
    assert seen.page.evaluate(OVERFLOW) <= 0
    assert seen.page.evaluate(SMALL_TARGETS) == []
    assert seen.page.evaluate(NAMELESS) == []
    assert [line for line in seen.said if "401" not in line] == []
    seen.shot(request.node.name.replace("/", "-"))


@pytest.mark.parametrize("context", LOOKS[2:], indirect=True)
def test_the_sign_in_fits_a_phone(context: Any, serving: Serving, request: pytest.FixtureRequest) -> None:
    seen = Opened(context.new_page())
    seen.page.goto(f"{serving.url}/participants")
    assert seen.page.evaluate(OVERFLOW) <= 0 and seen.page.evaluate(SMALL_TARGETS) == []
    seen.shot(request.node.name)


def busy(desk: DeskTwin) -> None:
    """Make a drill in which everything happened."""
    start = time.time() - 200
    desk.now = lambda: start
    desk.go(DrillState.RUNNING)
    desk.now = lambda: start + 70
    desk.page(page_of("firing", "BacklogTooOld", "1"), "alertmanager")
    desk.mark(Mark.DETECTED, "ana")
    desk.now = lambda: start + 101
    desk.page(page_of("acknowledged", "BacklogTooOld", "2"), "bo")
    desk.page(page_of("firing", "GpuPodsPending", "3"), "alertmanager")
    desk.page({**page_of("resolved", "PlannerSaturated", "4"), "severity": ""}, "alertmanager")
    desk.hint("ana")
    desk.note("Inference pods are Pending for two minutes, and the queue grows.\nAsking the batch team.", "ana")
    desk.note("A very long word: " + "inference" * 16, "bo")
    desk.step("look", True, "ana")
    desk.step("events", False, "bo")
    desk.run_command("look", 1, "ana")
    action = {"object": "Deployment agents/planner", "what": "replicas 3 → 8", "manager": "kubectl", "origin": "human"}
    desk.say("action", "cluster", **action)
    desk.say("steady", "drill", ok=False, reason="success ratio 0.80 is below 0.99")
    desk.say("trouble", "drill", message="Prometheus did not answer for 12 s", remedy="see `gameday doctor`")
    desk.now = time.time
