"""What the nightly workflow asks about a night: which experiments there are, what one showed, whether all of them did.

`python -m testbed.kind.night plan|report|complete`. Standard library only: two of its jobs install nothing. A night
that left no verdict, or only yesterday's, is not a success.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
EXIT_OK = 0
EXIT_INCOMPLETE = 1


class NightError(Exception):
    """The night is not what it should be; the text says what is missing."""


def plan(expected: Sequence[str], folder: Path = EXPERIMENTS) -> str:
    """Return the expected experiments as a JSON list.

    Raises:
        NightError: They are not exactly those of the folder: one is gone, or would never be run.
    """
    there = {path.stem for path in folder.glob("*.yaml")}
    gone, new = sorted(set(expected) - there), sorted(there - set(expected))
    if gone or new:
        said = [f"gone: {', '.join(gone)}"] if gone else []
        said += [f"not in the nightly's EXPECTED: {', '.join(new)}"] if new else []
        raise NightError("; ".join(said))
    return json.dumps(sorted(expected))


def report(experiment: str, seed: int, runs: Path) -> str:
    """Return tonight's brief.

    Raises:
        NightError: The newest run is of another experiment or seed (last night's, from the cache), or was not judged.
    """
    run = runs / "latest"
    summary = _summary(run / "summary.json")
    if (summary["experiment"], summary["seed"]) != (experiment, seed):
        raise NightError(f"{run}: is {summary['experiment']} with seed {summary['seed']}: tonight left no run")
    if not summary["verdicts"]:
        raise NightError(f"{run}: nothing was judged")
    return (run / "brief.md").read_text(encoding="utf-8")


def complete(expected: Sequence[str], night: Path) -> str:
    """Return one line an experiment, as a Markdown table.

    Raises:
        NightError: One has left no summary, or nothing in it was judged.
    """
    lines, missing = ["| experiment | outcome | answers |", "|---|---|---|"], []
    for name in expected:
        try:
            summary = _summary(_found(night / f"gameday-{name}"))
        except NightError as error:
            missing.append(f"{name}: {error}")
            continue
        verdicts = summary["verdicts"]
        if summary["experiment"] != name or not verdicts:
            missing.append(f"{name}: its summary is of {summary['experiment']} and has {len(verdicts)} verdicts")
        lines.append(f"| {name} | {summary['outcome']} | {len(verdicts)} |")
    if missing:
        raise NightError("; ".join(missing))
    return "\n".join(lines)


def _found(folder: Path) -> Path:
    files = sorted(folder.rglob("summary.json"))
    if not files:
        raise NightError("no summary.json: it was never judged")
    return files[0]


def _summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NightError(f"{path}: {error}") from None
    missing = {"experiment", "seed", "outcome", "verdicts"} - set(found)
    if missing:
        raise NightError(f"{path}: lacks {', '.join(sorted(missing))}")
    return dict(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the answer; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m testbed.kind.night", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("plan").add_argument("expected", nargs="+")
    one = commands.add_parser("report")
    one.add_argument("experiment")
    one.add_argument("--seed", type=int, required=True)
    one.add_argument("--runs-dir", type=Path, default=Path("runs"))
    every = commands.add_parser("complete")
    every.add_argument("night", type=Path)
    every.add_argument("expected", nargs="+")
    try:
        sys.stdout.write(_answer(parser.parse_args(arguments)) + "\n")
    except NightError as error:
        sys.stderr.write(f"night: {error}\n")
        return EXIT_INCOMPLETE
    return EXIT_OK


def _answer(asked: argparse.Namespace) -> str:
    if asked.command == "plan":
        return plan(asked.expected)
    if asked.command == "report":
        return report(asked.experiment, asked.seed, asked.runs_dir)
    return complete(asked.expected, asked.night)


if __name__ == "__main__":
    sys.exit(main())
