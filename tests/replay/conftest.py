"""Holds what judges say in the tests here against their snapshots (see `tests.replay.snapshots`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.replay import snapshots


@pytest.fixture(autouse=True)
def _what_judges_say(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare every verdict that a test asked for; drawn situations (Hypothesis) are others each time."""
    snapshots.heard.clear()
    failed_before = request.session.testsfailed
    yield
    drawn = getattr(request.function, "is_hypothesis_test", False)
    if snapshots.heard and not drawn and request.session.testsfailed == failed_before:
        lines = [line for verdict in snapshots.heard for line in snapshots.facts_of(verdict)]
        snapshots.compare(request.path.stem.removeprefix("test_"), request.node.name, lines)
