"""The live guard's limits as an experiment's block ``abort`` writes them."""

from __future__ import annotations

from harness.model.abort import AbortLimits


def test_what_is_not_written_has_its_default() -> None:
    assert AbortLimits.of({"burn_rate": 10}, 0.995) == AbortLimits(10.0, 0.995, 30.0, 10.0, 10.0, None, 20)


def test_every_duration_may_be_written() -> None:
    written = {"burn_rate": 14.4, "window": "1m", "grace": "5s", "blind": 3, "unsteady": "1m30s"}
    assert AbortLimits.of(written, 0.99) == AbortLimits(14.4, 0.99, 60.0, 5.0, 3.0, 90.0)
