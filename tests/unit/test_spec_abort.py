"""The live guard's block of an experiment file: what it becomes, and what is wrong with it."""

from typing import Any

import pytest

from harness.model.abort import AbortLimits
from harness.model.errors import SpecError
from tests.unit.test_spec import good, read, text_of


def with_abort(written: Any) -> Any:
    data = good()
    data["extensions"][0]["abort"] = written
    return read(text_of(data))


def test_without_the_block_there_is_no_live_guard() -> None:
    assert read(text_of(good())).abort is None


def test_durations_are_read_and_the_rest_has_defaults() -> None:
    found = with_abort({"burn_rate": 14.4, "window": "1m", "unsteady": "45s"}).abort
    assert found == AbortLimits(14.4, 0.995, window_s=60.0, unsteady_s=45.0)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({}, "burn_rate: missing"),
        ({"burn_rate": 0.5}, "burn_rate"),
        ({"burn_rate": 10, "window": "soon"}, "window"),
        ({"burn_rate": 10, "windows": "10s"}, "unknown key 'windows'"),
    ],
)
def test_a_wrong_block_is_one_clear_error_at_its_key(written: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        with_abort(written)
