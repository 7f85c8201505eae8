"""Claims about signals: true, false, or open; and a kind of one's own in ten lines with its two records."""

from __future__ import annotations

import numpy as np
import pytest

from assertions.claims import claimed
from assertions.registry import ASSERTIONS
from assertions.signal import SCHEMA
from harness.model.verdict import Outcome
from harness.spec_document import Document, schema_errors
from tests.replay.builders import Run, asserting, good_run, judged

KIND = "signal"
PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def run_with(values: dict[float, float], **params: object) -> Run:
    """Return a run whose signal ``depth`` is 10 every 2 s, but for some instants; NaN leaves a sample out."""
    run = good_run()
    t_s = np.arange(0.0, 200.0, 2.0)
    level = np.full(len(t_s), 10.0)
    for at_s, value in values.items():
        level[int(at_s // 2)] = value
    keep = np.isfinite(level)
    run.add_series("depth", t_s[keep], level[keep])
    return asserting(run, KIND, signal="depth", **params)


def hole(from_s: float, to_s: float) -> dict[float, float]:
    return dict.fromkeys(np.arange(from_s, to_s, 2.0), np.nan)


@pytest.mark.parametrize(
    ("values", "params", "outcome"),
    [
        ({}, {"at_most": 50}, PASS),
        ({80.0: 51}, {"at_most": 50}, FAIL),
        (hole(80, 120), {"at_most": 50}, OPEN),
        (hole(80, 120) | {70.0: 51}, {"at_most": 50}, FAIL),
        ({}, {"mode": "never", "at_least": 50}, PASS),
        ({80.0: 51}, {"mode": "never", "at_least": 50}, FAIL),
        ({80.0: 51}, {"mode": "sometimes", "at_least": 50}, PASS),
        ({}, {"mode": "sometimes", "at_least": 50}, FAIL),
        (hole(80, 120), {"mode": "sometimes", "at_least": 50}, OPEN),
        ({60.0: 51}, {"mode": "eventually", "at_least": 50, "within": "20s"}, PASS),
        ({90.0: 51}, {"mode": "eventually", "at_least": 50, "within": "20s"}, FAIL),
        (hole(54, 90) | {100.0: 51}, {"mode": "eventually", "at_least": 50, "within": "30s"}, OPEN),
        ({}, {"mode": "for-at-least", "at_most": 50, "duration": "30s"}, PASS),
        ({float(t): 51 for t in range(40, 200, 10)}, {"mode": "for-at-least", "at_most": 50, "duration": "30s"}, FAIL),
        (hole(60, 190), {"mode": "for-at-least", "at_most": 50, "duration": "60s"}, OPEN),
    ],
)
def test_each_mode_is_true_false_or_open(
    values: dict[float, float], params: dict[str, object], outcome: Outcome
) -> None:
    verdict = judged(run_with(values, **params), KIND)
    assert verdict.outcome is outcome, verdict.reason


def test_a_claim_says_which_series_broke_it_and_its_figures() -> None:
    verdict = judged(run_with({80.0: 51}, at_most=50), KIND)
    assert "always: depth is at most 50" in verdict.expected
    assert "10 to 51" in verdict.reason
    assert (verdict.figures["value_min"], verdict.figures["value_max"]) == (10, 51)


def test_c01_c02_c11_nothing_a_value_that_is_no_number_and_a_partial_answer_stay_open() -> None:
    missing = asserting(good_run(), KIND, signal="depth", at_most=50)
    assert judged(missing, KIND).outcome is OPEN
    spoilt = run_with({}, at_most=50)
    spoilt.reshape("depth", lambda t, v: (t, np.where((t > 80) & (t < 84), np.nan, v)))
    assert judged(spoilt, KIND).outcome is OPEN


def test_a_stage_that_was_not_reached_stays_open() -> None:
    assert judged(run_with({}, at_most=50, stage="afterglow"), KIND).outcome is OPEN


def test_a_file_gives_one_bound_not_none_and_not_both() -> None:
    document = Document("x.yaml", {}, {})
    assert schema_errors(document, (), {"signal": "depth"}, SCHEMA)
    assert schema_errors(document, (), {"signal": "depth", "at_most": 1, "at_least": 2}, SCHEMA)
    assert not schema_errors(document, (), {"signal": "depth", "at_most": 1}, SCHEMA)


def test_a_kind_of_ones_own_takes_ten_lines_and_two_records() -> None:
    quiet = claimed(
        kind="quiet_queue",
        question="Did the queue stay short?",
        signal="depth",
        mode="always",
        text="at most {limit}",
        holds=lambda values, limit: values <= limit,
        limit={"type": "number", "default": 20},
    )
    must_fail, must_be_open = run_with({80.0: 21}), run_with(hole(80, 120))
    spec = asserting(good_run(), "quiet_queue").experiment.assertions[0]
    assert quiet.check(run_with({}).record(), spec).outcome is PASS
    assert quiet.check(must_fail.record(), spec).outcome is FAIL
    assert quiet.check(must_be_open.record(), spec).outcome is OPEN
    assert KIND in ASSERTIONS
