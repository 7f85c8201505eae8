"""Journals that nobody of ours wrote: lines of any JSON, of entries' frames, and of entries that are nearly right."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from harness.drill.entry_shapes import UNIX_MAX_S
from tests.unit import drill_journals as drills

KINDS = ["opened", "state", "mark", "hint", "note", "step", "command", "page", "action", "steady", "stop", "trouble",
         "revealed", "ended", "else"]  # fmt: skip
KEYS = ["mark", "state", "text", "step", "command", "alert", "what", "end", "targets_s", "ok", "runbook", "limit_s",
        "done", "reason", "at_unix_s", "event", "source", "labels", "number", "implied", "run_dir"]  # fmt: skip
WORDS = ["detected", "mitigated", "running", "over", "firing", "acknowledged", "time limit", "human", "\ud800", "\x00"]

NUMBERS = st.integers(-5, 5) | st.floats() | st.sampled_from([1e300, 10**400, -1, 2**63, 1_800_000_000.5, 1e15])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.sampled_from(WORDS)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=6,
)
GOOD = [json.loads(line) for line in drills.journal(drills.whole()).splitlines()]


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@st.composite
def nearly(draw: st.DrawFn) -> dict[str, Any]:
    """Return an entry of a good journal, of which one part is something else."""
    entry = dict(draw(st.sampled_from(GOOD)))
    key = draw(st.sampled_from([*entry, *entry["detail"]]))
    if key in entry:
        return {**entry, key: draw(JUNK)}
    return {**entry, "detail": {**entry["detail"], key: draw(JUNK)}}


@st.composite
def framed(draw: st.DrawFn) -> dict[str, Any]:
    """Return an entry of some kind whose detail is anything."""
    frame = {"seq": draw(st.just(1) | JUNK), "at_unix_s": draw(st.floats(0, 2e9) | NUMBERS), "by": draw(SCALARS)}
    return {**frame, "kind": draw(st.sampled_from(KINDS)), "detail": draw(JUNK)}


@st.composite
def shuffled(draw: st.DrawFn) -> bytes:
    """Return a journal of good entries alone, in any order, any of them left out or said again, at any times."""
    some = draw(st.lists(st.sampled_from(GOOD), max_size=12))
    times = draw(st.lists(st.floats(0, UNIX_MAX_S), min_size=len(some), max_size=len(some)))
    numbered = zip(some, times, strict=True)
    return b"".join(_line({**one, "seq": n, "at_unix_s": at}) for n, (one, at) in enumerate(numbered, 1))


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Return a journal: good entries with strange ones among them, numbered or not."""
    some = draw(st.lists(st.sampled_from(GOOD) | nearly() | framed() | JUNK, max_size=8))
    numbered = draw(st.booleans())
    lines = [{**one, "seq": n} if numbered and isinstance(one, dict) else one for n, one in enumerate(some, 1)]
    return b"".join(draw(st.just(_line(one)) | st.binary(max_size=3)) if draw(st.integers(0, 9)) == 0 else _line(one)
                    for one in lines)  # fmt: skip


JOURNALS = broken() | shuffled()
