"""`make bench-kill`: the kill matrix. Somebody is killed at a drawn moment of a real run; nothing may be left.

Prints a table by who and signal, writes every run as JSON, and ends with 1 where anything is violated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, Queue

from rich.console import Console
from rich.table import Table

from tests.bench.kill_lane import Lane
from tests.bench.kill_run import Draw, Outcome, draw, one_run

REDRAWS = 2.0
"""Runs that are started at most for each one that counts: a moment may come after its run has ended."""


class Matrix:
    """Runs until enough of them count.

    Attributes:
        outcomes: What came out, in the order in which the runs ended.
    """

    def __init__(self, wanted: int, seeds: Sequence[int], work: Path, *, full: bool) -> None:
        self._wanted, self._work, self._full = wanted, work, full
        self._seeds: Queue[int] = Queue()
        for seed in seeds:
            self._seeds.put(seed)
        self._lock = threading.Lock()
        self._console = Console(stderr=True)
        self.outcomes: list[Outcome] = []
        self._known: set[int] = set()
        if len(seeds) > 1:
            self._resume()

    @property
    def counted(self) -> list[Outcome]:
        """Runs in which somebody was killed."""
        return [outcome for outcome in self.outcomes if outcome.counted]

    def _resume(self) -> None:
        """Take what an earlier call left in the folder: a matrix takes long, and may be cut short."""
        path = self._work / "outcomes.json"
        for told in json.loads(path.read_text()) if path.exists() else ():
            made = Outcome(**{**told, "draw": Draw(**told["draw"])})
            self.outcomes.append(made)
            self._known.add(made.draw.seed)

    def run(self, lanes: int) -> None:
        """Run in several lanes, each on a testbed of its own."""
        threads = [threading.Thread(target=self._lane, args=(number,)) for number in range(1, lanes + 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _lane(self, number: int) -> None:
        lane = Lane(number, self._full, self._work / f"lane-{number}")
        try:
            lane.up()
            while len(self.counted) < self._wanted:
                try:
                    seed = self._seeds.get_nowait()
                except Empty:
                    return
                if seed in self._known:
                    continue
                self._take(one_run(lane, draw(seed, full=self._full)))
        finally:
            lane.down()

    def _take(self, outcome: Outcome) -> None:
        with self._lock:
            self.outcomes.append(outcome)
            (self._work / "outcomes.json").write_text(json.dumps([o.told() for o in self.outcomes], indent=1))
            d = outcome.draw
            what = f"{len(self.counted)}: seed {d.seed} {d.signal} {d.who} {d.delay_s:g} s after {d.subject}/{d.step}"
            said = (
                "not counted" if not outcome.counted else f"exit {outcome.exit_status}, restored {outcome.restored_s} s"
            )
            bad = f"  VIOLATED: {'; '.join(outcome.violations)}" if outcome.violations else ""
            self._console.print(f"{what}: {said}{bad}", soft_wrap=True, highlight=False)


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the matrix: a row for each part and signal."""
    rows: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome.draw.who, outcome.draw.signal].append(outcome)
    found = Table("killed", "by", "runs", "broken then", "residues", "passed", "later faults", "restored p50", "max")
    for (who, number), mine in sorted(rows.items()):
        times = [o.restored_s for o in mine if o.restored_s is not None and (o.broken or o.restored_s)]
        middle, most = (f"{statistics.median(times):.1f} s", f"{max(times):.1f} s") if times else ("-", "-")
        counts = (
            len(mine), sum(bool(o.broken) for o in mine), sum(bool(o.residue) for o in mine),
            sum(o.exit_status == 0 for o in mine), sum(o.further_faults for o in mine),
        )  # fmt: skip
        found.add_row(who, number, *(str(count) for count in counts), middle, most)
    return found


def main() -> int:
    """Run the matrix; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="runs that count (200)")
    parser.add_argument("--lanes", type=int, default=4, help="light testbeds side by side (4)")
    parser.add_argument("--seed", type=int, default=1, help="first seed (1)")
    parser.add_argument("--only", type=int, help="repeat the run of one seed")
    parser.add_argument("--full", action="store_true", help="on full testbeds, experiment cascade")
    parser.add_argument("--work", type=Path, help="folder for everything that is left to read")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="gameday-kill-"))
    seeds = [options.only] if options.only else range(options.seed, options.seed + int(options.runs * REDRAWS))
    matrix = Matrix(1 if options.only else options.runs, list(seeds), work, full=options.full)
    matrix.run(1 if options.only else options.lanes)
    Console().print(table(matrix.counted))
    bad = [outcome for outcome in matrix.outcomes if outcome.violations]
    said = f"{len(matrix.counted)} runs counted, {len(bad)} violated; every run: {work / 'outcomes.json'}"
    Console().print(said, soft_wrap=True, highlight=False)
    return 1 if bad or len(matrix.counted) < (1 if options.only else options.runs) else 0


if __name__ == "__main__":
    sys.exit(main())
