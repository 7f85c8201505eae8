"""The one sentence of each error: where, what, and what to do, as a user reads it."""

from __future__ import annotations

import pytest

from harness.model.errors import (
    Aborted,
    ChangedMeanwhileError,
    GameDayError,
    PortError,
    Refusal,
    SpecError,
    Stopped,
)
from harness.model.lease import LeaseState


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SpecError("a.yaml", "load.scale", "is negative", "use 1"), "a.yaml: load.scale: is negative — use 1"),
        (SpecError("a.yaml", "load.scale", "is negative"), "a.yaml: load.scale: is negative"),
        (SpecError("a.yaml", "", "is empty", "write it"), "a.yaml: is empty — write it"),
        (Refusal("lease-held", "run x holds it", "wait"), "refused (lease-held): run x holds it — wait"),
        (Refusal("identity", "another cluster"), "refused (identity): another cluster"),
        (PortError("kubernetes", "get pod", "HTTP 500", "try later"), "kubernetes: get pod: HTTP 500 — try later"),
        (PortError("kubernetes", "get pod", "HTTP 500"), "kubernetes: get pod: HTTP 500"),
        (ChangedMeanwhileError("kubernetes", "patch", "HTTP 409"), "kubernetes: patch: HTTP 409"),
        (Aborted("budget spent"), "aborted: budget spent"),
        (Stopped("SIGTERM"), "stopped: SIGTERM"),
    ],
)
def test_an_error_is_one_sentence(error: GameDayError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("holder", "age_s", "alive"), [("run-1", 14.9, True), ("run-1", 15.0, False), ("", 1.0, False)]
)
def test_a_lease_lives_while_somebody_renews_it(holder: str, age_s: float, alive: bool) -> None:
    assert LeaseState(holder, age_s, 15.0, 1_800_000_000.0).alive is alive
