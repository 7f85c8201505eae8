"""Recorded loads: what is played of a recording at a scale, and what no file may do to a run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.load_trace import RATES_MAX, Trace, read_trace
from harness.model.errors import SpecError
from harness.model.load import LoadProfile, Stage
from loadprofiles import arrivals

Write = Callable[[str], Path]
_instants = st.lists(st.floats(0.0, 500.0), min_size=1, max_size=60).map(lambda found: np.sort(np.array(found)))
RECORDED = LoadProfile("recorded", (Stage("burst", 500.0, 1.0, 1.0),), {"a": 1.0}, arrivals="trace", trace_file="given")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(text: str) -> Path:
        path = tmp_path / "recorded.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return made


def _played(recorded: npt.NDArray[np.float64], scale: float, seed: int) -> npt.NDArray[np.float64]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "read_trace", lambda path: Trace(recorded))
        chunks = list(arrivals.arrival_chunks(replace(RECORDED, trace_scale=scale), seed))
    return np.concatenate([np.empty(0), *chunks])


@given(_instants, st.integers(0, 2**70))
def test_a_recording_at_its_own_scale_is_played_to_the_last_bit(recorded: npt.NDArray[np.float64], seed: int) -> None:
    assert _played(recorded, 1.0, seed).tolist() == recorded.tolist()


@given(_instants, st.floats(0.01, 1.0), st.integers(0, 2**70))
def test_a_thinned_recording_is_nowhere_one_off_by_chance(
    recorded: npt.NDArray[np.float64], scale: float, seed: int
) -> None:
    played = _played(recorded, scale, seed)
    assert set(played.tolist()) <= set(recorded.tolist())
    for t_s in np.unique(recorded):
        until = np.searchsorted(recorded, t_s, side="right") * scale
        assert abs(np.searchsorted(played, t_s, side="right") - until) < 1 + 1e-6


@given(_instants, st.integers(2, 5), st.integers(0, 2**70))
def test_a_multiplied_recording_keeps_every_instant_and_lasts_no_longer(
    recorded: npt.NDArray[np.float64], scale: int, seed: int
) -> None:
    played = _played(recorded, float(scale), seed)
    assert len(played) == scale * len(recorded)
    assert (np.diff(played) >= 0).all()
    assert set(recorded.tolist()) <= set(played.tolist())
    assert played[-1] == recorded[-1]


def test_copies_are_dealt_out_alike_across_blocks() -> None:
    recorded = np.arange(5 * arrivals.BLOCK + 7) / 10.0
    for scale in (0.1, 0.37, 1.5):
        played = _played(recorded, scale, 9)
        counts = np.histogram(played, bins=np.arange(0, recorded[-1], 10.0))[0]
        assert np.abs(counts - 100 * scale).max() <= 2


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("t_s\n0\n1700000000\n", 3, "1700000000 s is more than a day"),
        ("t_s\n1_000\n", 2, "'1_000' is not 1 numbers"),
        ("t_s,rps\n5,1\n9,1\n", 2, "begins at 5 s"),
        ("t_s,rps\n0,1\n0,5\n", 3, "needs two instants"),
        ("t_s,rps\n0,0\n9,0\n", 3, "every rate is 0"),
        ("t_s,rps\n0,1\n9,1e999\n", 3, "is not 2 numbers"),
        ("t_s,rps\n" + "0,1\n" * (RATES_MAX + 1), RATES_MAX + 2, f"more than {RATES_MAX} rows"),
    ],
)
def test_a_file_that_would_make_nonsense_of_a_run_is_refused_with_its_line(
    write: Write, text: str, line: int, what: str
) -> None:
    path = write(text)
    with pytest.raises(SpecError) as caught:
        read_trace(str(path))
    assert (caught.value.where, caught.value.key) == (str(path), f"line {line}")
    assert what in caught.value.problem
    assert caught.value.remedy


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_column(write: Write) -> None:
    assert read_trace(str(write("\ufefft_s\r\n1.5\r\n2\r\n"))).due_s.tolist() == [1.5, 2.0]


@given(st.sampled_from(["t_s\n", "t_s,rps\n", ""]), st.text(alphabet='t_sr,0123456789.-+e\n "xNaif', max_size=60))
def test_whatever_stands_in_a_file_is_a_trace_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, header: str, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.csv"
    path.write_text(header + text, encoding="utf-8")
    try:
        found = read_trace(str(path))
    except SpecError as error:
        assert error.problem
        assert error.remedy
    else:
        assert len(found.due_s) or len(found.curve) > 1
