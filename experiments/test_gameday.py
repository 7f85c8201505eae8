"""The one generic test of game days: one item per experiment and assertion (`harness.plugin` makes them)."""

from collections.abc import Callable

import pytest

from harness.model.verdict import Outcome, Verdict

pytestmark = pytest.mark.gameday


def test_assertion_holds(gameday_verdict: Verdict, verdict_text: Callable[[Verdict], str]) -> None:
    """Pass where the assertion held; fail where it is broken; an inconclusive one is an error of the fixture."""
    assert gameday_verdict.outcome is Outcome.PASS, verdict_text(gameday_verdict)  # noqa: S101 - a pytest item
