"""`make bench-run`: what a testbed costs here. Starts one of its own, watches it idle, ends it, prints a table.

Asserts nothing: the numbers depend on the machine. CPU is the processes' own user and system time, memory is PSS
(shared pages counted once, proc(5) smaps_rollup).
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import click
import psutil
from rich.console import Console
from rich.table import Table

from testbed.controlplane.console import Progress
from testbed.controlplane.lifecycle import UpRequest, down, up
from testbed.controlplane.processes import marked
from testbed.controlplane.state import read_state
from testbed.controlplane.supervision import Supervisor
from testbed.layout import Layout

_INSTANCE = "measure"


@dataclass(frozen=True)
class Usage:
    """What a group of processes has used.

    Attributes:
        cpu_s: user and system seconds since the processes began.
        memory_bytes: proportional set size.
    """

    cpu_s: float = 0.0
    memory_bytes: int = 0

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum of both."""
        return Usage(self.cpu_s + other.cpu_s, self.memory_bytes + other.memory_bytes)


def usage_by_program(layout: Layout) -> dict[str, Usage]:
    """Return what each program of the instance has used; what the node agent started counts as `pods`."""
    state = read_state(layout.instance_dir)
    if state is None:
        return {}
    programs = {info["pid"]: name for name, info in Supervisor(layout).processes().items()}
    totals: defaultdict[str, Usage] = defaultdict(Usage)
    for process in marked(state.marks(layout.instance_dir)):
        for usage in _usage(process):
            name = "supervisord" if state.supervisor and process.pid == state.supervisor.pid else "pods"
            name = programs.get(process.pid, name)
            totals[name] = totals[name].plus(usage)
    return dict(totals)


def _usage(process: psutil.Process) -> Iterator[Usage]:
    try:
        times = process.cpu_times()
        yield Usage(times.user + times.system, process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return


def idle_table(before: dict[str, Usage], after: dict[str, Usage], seconds: float) -> Table:
    """Return CPU (percent of one core over `seconds`) and memory of each program, and their sums."""
    table = Table("program", "CPU, % of one core", "memory, MiB (PSS)", title=f"idle for {seconds:.0f} s")
    total_cpu_s, total_bytes = 0.0, 0
    for name in sorted(after):
        cpu_s = after[name].cpu_s - before.get(name, Usage()).cpu_s
        total_cpu_s, total_bytes = total_cpu_s + cpu_s, total_bytes + after[name].memory_bytes
        table.add_row(name, f"{100 * cpu_s / seconds:.2f}", f"{after[name].memory_bytes / 2**20:.0f}")
    table.add_section()
    table.add_row("all", f"{100 * total_cpu_s / seconds:.2f}", f"{total_bytes / 2**20:.0f}")
    return table


@click.command()
@click.option("--component", "components", multiple=True, default=["platform"], show_default=True)
@click.option("--settle-s", default=30.0, show_default=True, help="Seconds to wait before watching.")
@click.option("--watch-s", default=30.0, show_default=True, help="Seconds to watch.")
def main(components: tuple[str, ...], settle_s: float, watch_s: float) -> None:
    """Measure a testbed with the given components."""
    console, progress = Console(), Progress(partial(click.echo, err=True))
    try:
        started_s = time.monotonic()
        result = up(UpRequest(_INSTANCE, components, owner_pid=os.getpid()), progress)
        up_s = time.monotonic() - started_s
        time.sleep(settle_s)
        before, began_s = usage_by_program(result.layout), time.monotonic()
        time.sleep(watch_s)
        after, watched_s = usage_by_program(result.layout), time.monotonic() - began_s
    finally:
        stopping_s = time.monotonic()
        down(_INSTANCE, progress)
    console.print(idle_table(before, after, watched_s))
    console.print(
        f"components {', '.join(result.components)}; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    console.print(f"up to Ready: {up_s:.1f} s; down: {time.monotonic() - stopping_s:.1f} s")


if __name__ == "__main__":
    main()
