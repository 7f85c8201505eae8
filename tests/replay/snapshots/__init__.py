"""Snapshots of what judges say, word for word: reasons, figures, evidence and remedies in many situations.

They hold the wording and the figures still that the named tests leave open, and show a reviewer what a change of a
judge changes in what people read. A snapshot proves nothing by itself: it only tells that something changed. So a
difference must be *read*, line by line, before it is accepted, and an answer (PASS, FAIL, INCONCLUSIVE) that changes
needs a named test that says why. ``python -m tests.replay.snapshots`` prints the differences and stores them.

A file is ``NAME.txt``: per situation a head ``== TITLE`` and one fact a line, with a blank line after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from harness.model.verdict import Assumption, Verdict

FOLDER = Path(__file__).parent
Situations = dict[str, str]
collected: dict[str, Situations] | None = None
"""What is said now, by file and title, while snapshots are made anew; None while they are checked."""
heard: list[Verdict] = []
"""Verdicts of the running test, in the order in which it asked for them."""


def hear(verdict: Verdict) -> Verdict:
    """Keep a verdict for the snapshot of the running test."""
    heard.append(verdict)
    return verdict


def facts_of(verdict: Verdict) -> list[str]:
    """Return a verdict as lines: the answer first, then one fact a line, those that are empty left out."""
    facts = [
        ("expected", verdict.expected), ("observed", verdict.observed), ("reason", verdict.reason),
        ("remedy", verdict.remedy), ("coverage", verdict.coverage or ""),
        ("window", f"{verdict.window.start_s:.6g} to {verdict.window.end_s:.6g} s" if verdict.window else ""),
        ("rests on", "" if verdict.rests_on is None else ", ".join(verdict.rests_on) or "nothing"),
        *(("evidence", line) for line in verdict.evidence),
        *(("figure", f"{name} = {value:.6g}") for name, value in sorted(verdict.figures.items())),
    ]  # fmt: skip
    answer = f"{verdict.assertion} ({verdict.kind}): {verdict.outcome}"
    return [answer, *(f"  {key}: {text}" for key, text in facts if text != "")]


def facts_assumed(assumption: Assumption) -> list[str]:
    """Return an assumption as lines."""
    word = {True: "holds", False: "does not hold", None: "cannot be told"}[assumption.holds]
    facts = [("reason", assumption.reason), ("remedy", assumption.remedy)]
    return [f"assumed {assumption.name}: {word}"] + [f"  {key}: {text}" for key, text in facts if text]


def difference(new: list[str], old: list[str]) -> list[str]:
    """Return the answer, the facts that were not said before, and the evidence and figures that are gone."""
    gone = [f"  gone {line.strip()}" for line in old if line not in new and line.startswith(("  evidence", "  figure"))]
    return [new[0], *(line for line in new[1:] if line not in old), *gone]


def stored_file(name: str) -> Path:
    """Return where the snapshot of a name is."""
    return FOLDER / f"{name}.txt"


@cache
def stored(name: str) -> Situations:
    """Return the situations of a stored snapshot by title; none where there is no such file."""
    path = stored_file(name)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = (part.partition("\n") for part in text.removeprefix("== ").split("\n\n== ") if part)
    return {title: body.rstrip("\n") for title, _, body in parts}


def situations(name: str) -> Situations:
    """Return the situations of a snapshot: those collected while it is made anew, else those stored."""
    return stored(name) if collected is None else collected.get(name, {})


def as_text(told: Situations) -> str:
    """Return the text of a snapshot, sorted by title."""
    return "\n".join(f"== {title}\n{body}\n" for title, body in sorted(told.items()))


def compare(name: str, title: str, lines: Iterable[str]) -> None:
    """Hold what is said in a situation against its snapshot, or collect it while snapshots are made anew."""
    said = "\n".join(lines)
    if collected is not None:
        collected.setdefault(name, {})[title] = said
        return
    hint = f"{name}.txt differs: read the difference, then `python -m tests.replay.snapshots` accepts it"
    assert said == stored(name).get(title, "(not stored)"), hint
