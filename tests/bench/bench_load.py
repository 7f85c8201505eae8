"""`make bench-load`: our load engine beside stock Locust, wrk, k6 and vegeta, in one run. Prints tables.

Generators run on the first core, servers and our driver on the second. 1 where a limit is not kept or not measured; a
generator that cannot be had is shown with its reason. ``--short`` looks less closely; ``--write`` puts the tables into
docs/performance.md. Loopback only, and every load is bounded in time.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.load_bench import BUSY_CORES, FULL, SHORT, Bench, Pace
from tests.bench.load_cost import OURS, Cost, cost_section, steady_section
from tests.bench.load_envoy import envoy
from tests.bench.load_table import Limit, Table, limits_table, markdown, missed, placed
from tests.bench.load_tools import PROJECT_DIR
from tests.bench.load_truth import latency_section, stall_section
from tests.bench.load_volume import log_section, volume_section, workers_section
from tests.bench.load_window import Others, ToolError

DOCUMENT = PROJECT_DIR / "docs" / "performance.md"
Section = Callable[[Bench, Callable[[str], None]], tuple[list[Table], list[Limit]]]
SECTIONS = ("cost", "steady", "stall", "latency", "workers", "log", "volume")


def facts(bench: Bench) -> str:
    """Return what machine it was, and how idle."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    most = max(bench.others_cores.values(), default=0.0)
    busy = f"other work took at most {most:.2f} cores (mean of a section)"
    if most > BUSY_CORES:
        told = ", ".join(f"{name} {cores:.2f}" for name, cores in bench.others_cores.items())
        busy += f"; **not an idle machine**, its figures are no figures of ours: {told}"
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, Python {platform.python_version()}; {busy}."


def run(bench: Bench, chosen: list[str]) -> tuple[list[Table], list[Limit]]:
    """Measure the chosen sections in order; one that fails is a limit that is missed, and the others go on."""
    began_s = time.monotonic()
    costs: dict[tuple[str, str], Cost] = {}

    def say(what: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - began_s:6.0f} s] {what}\n")
        sys.stderr.flush()

    def cost(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
        tables, limits, found = cost_section(bench, say)
        costs.update(found)
        return tables, limits

    def volume(bench: Bench, say: Callable[[str], None]) -> tuple[list[Table], list[Limit]]:
        highest_rps = costs[OURS, "GET"].highest_rps if costs else bench.carried_rps("Get")
        return volume_section(bench, highest_rps, say)

    sections: dict[str, Section] = {
        "cost": cost, "steady": steady_section, "stall": stall_section, "latency": latency_section,
        "workers": workers_section, "log": log_section, "volume": volume,
    }  # fmt: skip
    tables: list[Table] = []
    limits: list[Limit] = []
    for name in chosen:
        others = Others()
        try:
            more, held = sections[name](bench, say)
        except ToolError as error:
            more, held = [Table(name, ("not measured",), [(str(error),)])], [Limit(f"section {name}", float("nan"), 0)]
        bench.others_cores[name] = others.cores()
        tables += more
        limits += held
    return tables, limits


def text_of(tables: list[Table], limits: list[Limit], command: str, machine: str) -> str:
    """Return the whole as Markdown."""
    return f"`{command}`, in one run, on {machine}\n\n{markdown([limits_table(limits), *tables])}"


def measured(pace: Pace, chosen: list[str], command: str) -> tuple[str, list[str]]:
    """Measure; return the text and the limits that were missed."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("bench-load: needs two cores, one for the generators and one for the servers")
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder, envoy(Path(folder), cores[1]) as server:
        os.sched_setaffinity(0, {cores[1]})
        bench = Bench(server, cores[0], cores[1], Path(folder), pace)
        tables, limits = run(bench, chosen)
        return text_of(tables, limits, command, facts(bench)), missed(limits)


def main() -> int:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="minutes instead of half an hour; numbers are rougher")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.relative_to(PROJECT_DIR)}")
    parser.add_argument("--only", choices=SECTIONS, nargs="+", default=list(SECTIONS), help="some sections")
    options = parser.parse_args()
    if options.write and options.only != list(SECTIONS):
        parser.error("--write needs all sections: what is written was made in one run")
    command = "make bench-load" + (" ARGS=--short" if options.short else "")
    text, failed = measured(SHORT if options.short else FULL, options.only, command)
    sys.stdout.write(f"{text}\n")
    if options.write:
        DOCUMENT.write_text(placed(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")
    for line in failed:
        sys.stderr.write(f"missed: {line}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
