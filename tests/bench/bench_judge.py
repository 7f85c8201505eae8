"""`make bench-judge`: how long judging and reporting a stored run takes, and how much memory. Prints a table.

Each record is judged in a process of its own, as `gameday report` does it; 1 where a limit is not kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.synthetic_record import LARGE, NORMAL, Size, write_record

GIB = 2**30

MEASURED = """
import json, sys, time
from pathlib import Path
started_s = time.perf_counter()
from harness.judgement import judge_run, write_reports
imported_s = time.perf_counter()
judged = judge_run(Path(sys.argv[1]))
judged_s = time.perf_counter()
write_reports(judged)
ended_s = time.perf_counter()
outcomes = {v.assertion: [v.outcome.value, v.reason] for v in judged.verdicts}
peak_kib = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
print(json.dumps({"import_s": imported_s - started_s, "judge_s": judged_s - imported_s, "report_s": ended_s - judged_s,
                  "peak_bytes": peak_kib * 1024, "outcomes": outcomes}))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A record and its limits."""

    name: str
    size: Size
    limit_s: float
    limit_bytes: int


CASES = (
    Case("an hour at 1,200 requests/s", LARGE, 10.0, GIB),
    Case("a normal run", NORMAL, 2.0, GIB),
)


def measured(run_dir: Path) -> dict[str, float]:
    """Judge and report a run in a process of its own; return its seconds and bytes."""
    started_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(run_dir)], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise SystemExit(f"judging failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"wall_s": time.perf_counter() - started_s}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--normal", action="store_true", help="the normal run only")
    options = parser.parse_args()
    table = Table("record", "load code", "judge", "report", "all", "limit", "peak", "verdicts", box=None)
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES[1:] if options.normal else CASES:
            found = measured(write_record(case.size, Path(folder) / str(case.size.nodes)))
            kept &= found["wall_s"] <= case.limit_s and found["peak_bytes"] <= case.limit_bytes
            outcomes: dict[str, list[str]] = found["outcomes"]  # type: ignore[assignment]
            said = "; ".join(f"{k} {o}" + ("" if o == "PASS" else f" ({r[:90]})") for k, (o, r) in outcomes.items())
            seconds = [f"{found[key]:.2f} s" for key in ("import_s", "judge_s", "report_s", "wall_s")]
            table.add_row(case.name, *seconds, f"{case.limit_s:g} s", f"{found['peak_bytes'] / GIB:.2f} GiB", said)
    Console(width=200).print(table)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
