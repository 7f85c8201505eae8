"""Tries saboteurs: a run that is left alone must hold, the spoilt one must not, for the reason that is expected.

Decides who was caught; starts no run itself (a `Runner` does) and judges none (the run's own verdicts are read).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import exits
from harness.model.verdict import Outcome
from harness.sabotage.saboteurs import Expected, Saboteur

SCHEMA = "gameday.sabotage/1"
FILE_NAME = "sabotage.json"


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended.

    Attributes:
        exit_status: Its exit status.
        verdicts: ``(outcome, reason)`` by assertion.
        run_dir: Its folder; empty where it never came to be.
        error: Why it never came to be.
    """

    exit_status: int
    verdicts: dict[str, tuple[str, str]]
    run_dir: str = ""
    error: str = ""


class Runner(Protocol):
    """Runs experiments where a saboteur works."""

    def alone(self, experiment: str) -> Finished:
        """Run an experiment that nobody spoils."""

    def spoilt(self, saboteur: Saboteur) -> Finished:
        """Run an experiment that a saboteur spoils."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one saboteur.

    Attributes:
        name: Its name.
        does: What it does.
        experiment: What it spoilt.
        caught: Whether every expected verdict turned, for its reason.
        told: What the verdicts said, one line each; why it was missed, where it was.
        exit_status: Of the spoilt run.
        run_dir: Where that run is.
    """

    name: str
    does: str
    experiment: str
    caught: bool
    told: tuple[str, ...]
    exit_status: int
    run_dir: str


def try_all(
    saboteurs: Iterable[Saboteur], runner: Runner, show: Callable[[Trial], None] = lambda trial: None
) -> list[Trial]:
    """Try saboteurs in order; each experiment is run once without any of them first."""
    alone: dict[str, Finished] = {}
    trials = []
    for saboteur in saboteurs:
        if saboteur.experiment not in alone:
            alone[saboteur.experiment] = runner.alone(saboteur.experiment)
        trial = _try(saboteur, alone[saboteur.experiment], runner)
        show(trial)
        trials.append(trial)
    return trials


def _try(saboteur: Saboteur, alone: Finished, runner: Runner) -> Trial:
    if alone.exit_status != exits.HELD:
        return _made(saboteur, False, (f"left alone, it did not hold either: {_summary(alone)}",), alone)
    run = runner.spoilt(saboteur)
    told = [_told(expected, run) for expected in saboteur.expected]
    missed = [line for caught, line in told if not caught]
    if run.exit_status == exits.HELD:
        missed.append("the spoilt run ended with 0")
    return _made(saboteur, not missed, tuple(missed or (line for _, line in told)), run)


def _made(saboteur: Saboteur, caught: bool, told: tuple[str, ...], run: Finished) -> Trial:
    return Trial(saboteur.name, saboteur.does, saboteur.experiment, caught, told, run.exit_status, run.run_dir)


def _told(expected: Expected, run: Finished) -> tuple[bool, str]:
    outcome, reason = run.verdicts.get(expected.assertion, ("", run.error or "there is no such verdict"))
    caught = outcome == expected.outcome.value and expected.because in reason
    line = f"{expected.assertion} {outcome or 'is missing'}: {reason}"
    return caught, line if caught else f"{line} (expected {expected.outcome.value} because of {expected.because!r})"


def _summary(run: Finished) -> str:
    bad = [f"{name} {outcome}: {reason}" for name, (outcome, reason) in run.verdicts.items() if outcome != Outcome.PASS]
    return "; ".join(bad) or run.error or f"exit {run.exit_status}"


def finished(exit_status: int, run_dir: Path | None, error: str) -> Finished:
    """Read the verdicts of a run that has ended."""
    if run_dir is None:
        return Finished(exit_status, {}, error=error)
    document = json.loads((run_dir / "verdicts.json").read_text())
    verdicts = {one["assertion"]: (one["outcome"], one["reason"]) for one in document["verdicts"]}
    return Finished(exit_status, verdicts, str(run_dir), error)


def exit_status(trials: Sequence[Trial]) -> int:
    """Return 0 where all were caught, 1 where one was missed, 20 where none was tried."""
    if not trials:
        return exits.INCONCLUSIVE
    return exits.HELD if all(trial.caught for trial in trials) else exits.BROKEN


def document(where: str, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the table as plain JSON (``gameday.sabotage/1``)."""
    return {
        "schema": SCHEMA,
        "where": where,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "caught": sum(trial.caught for trial in trials),
        "tried": len(trials),
        "trials": [asdict(trial) for trial in trials],
    }
