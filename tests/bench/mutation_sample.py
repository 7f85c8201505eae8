"""`make mutation-sample`: the mutation score of the judges and the model from a random sample, with its 95 % interval.

A full run of `make mutation` takes hours; a sample of 300 says as much to within four points. Mutmut makes and runs the
mutants; this draws their names and counts. Only mutants that a test failed on, or hung on, count as noticed: one that
changes no answer (an equivalent mutant) counts as missed, like one in a line that no test reaches.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.model.proportion import wilson_interval

NOTICED = {"killed", "timeout"}
FIRST = "harness.model.verdict.x_at_most__mutmut_1"
"""Any one mutant: mutmut makes all of them, and asks which test reaches what, before it runs the first."""


def mutmut(*arguments: str) -> str:
    """Run mutmut beside this program and return what it printed; its failure ends the program."""
    program = str(Path(sys.executable).with_name("mutmut"))
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(f"{done.stdout[-4000:]}{done.stderr[-4000:]}\n")
        raise SystemExit(f"mutation-sample: `mutmut {arguments[0]}` failed; see above, and that the tests pass")
    return done.stdout


def statuses() -> dict[str, str]:
    """Return what became of every mutant, by name."""
    lines = (line.strip().partition(": ") for line in mutmut("results", "--all", "true").splitlines())
    return {name: status for name, found, status in lines if found and "__mutmut_" in name}


def module_of(mutant: str) -> str:
    """Return the module of a mutant: ``assertions.alerts.x_f__mutmut_3`` is in ``assertions.alerts``."""
    return mutant.rpartition(".")[0]


def survivors(found: dict[str, str]) -> Table:
    """Return the table of mutants that nothing noticed, by module."""
    table = Table("module", "noticed", "not noticed", title="by module")
    totals, missed = Counter(map(module_of, found)), {n: s for n, s in found.items() if s not in NOTICED}
    by_module = Counter(map(module_of, missed))
    for module, count in by_module.most_common():
        names = (
            f"{name.rpartition('.')[2]} ({status})" for name, status in missed.items() if module_of(name) == module
        )
        table.add_row(module, f"{totals[module] - count} of {totals[module]}", "\n".join(names))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, run and count; return 1 where the score is under the floor."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mutation_sample", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants to draw")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws others")
    parser.add_argument("--max-children", default="2", help="processes at a time")
    parser.add_argument("--floor", type=float, default=0.9, help="score below which the exit status is 1")
    asked = parser.parse_args(argv)
    children = ("--max-children", asked.max_children)
    mutmut("run", *children, FIRST)
    population = sorted(statuses())
    drawn = random.Random(asked.seed).sample(population, min(asked.sample, len(population)))  # noqa: S311 - repeats
    mutmut("run", *children, *drawn)
    told = statuses()
    found = {name: told[name] for name in drawn}
    noticed = sum(status in NOTICED for status in found.values())
    low, high = wilson_interval(noticed, len(found))
    console = Console(width=200)
    console.print(survivors(found))
    slow = sorted(name for name, status in found.items() if status == "timeout")
    if slow:
        console.print(f"counted as noticed though they only timed out (run them alone to be sure): {', '.join(slow)}")
    console.print(
        f"seed {asked.seed}: {noticed} of {len(found)} mutants noticed, drawn from {len(population):,}: "
        f"{noticed / len(found):.1%} ({low:.1%} to {high:.1%} at 95 % confidence)"
    )
    return int(noticed / len(found) < asked.floor)


if __name__ == "__main__":
    sys.exit(main())
