"""Rows of a request log for tests, drawn and plain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from harness.model.load import REQUEST_COLUMNS, RequestOutcome
from harness.request_log import batch_of

TIMES = ("intended_s", "start_s", "latency_s")
DRAWN = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
Row = tuple[Any, ...]


def row(number: int = 0, **changes: Any) -> Row:
    """Return a row in the order of `REQUEST_COLUMNS`."""
    usual = {
        "intended_s": 1.0 + number, "start_s": 1.001 + number, "latency_s": 0.02, "status": 200, "outcome": "ok",
        "endpoint": "POST /v1/plan", "worker": 0, "seq": number, "pod": "planner-a",
    }  # fmt: skip
    return tuple({**usual, **changes}.values())


def batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return a batch of rows."""
    return batch_of(list(zip(*rows, strict=True)))


def numbered(first: int, count: int, worker: int = 0) -> pa.RecordBatch:
    """Return the rows ``[first, first + count)`` of a worker."""
    return batch([row(seq, worker=worker) for seq in range(first, first + count)])


seconds = st.floats(-1e6, 1e6)
rows_drawn = st.lists(
    st.tuples(
        seconds, seconds, st.one_of(st.none(), st.just(float("nan")), st.floats(0, 1e4)), st.integers(0, 999),
        st.sampled_from([o.value for o in RequestOutcome]), st.text(max_size=8), st.integers(0, 300),
        st.integers(0, 2**60), st.text(max_size=8),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


def as_frame(rows: Sequence[Row]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(REQUEST_COLUMNS)).astype(dict.fromkeys(TIMES, float))
